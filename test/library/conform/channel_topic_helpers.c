/* SPDX-License-Identifier: BSD-3-Clause */
#include "channel.h"

bool topic_open_publisher(struct conform *c, unsigned int topic,
			  const struct ivs_topic_options *opts)
{
	char name[CHANNEL_NAME_LEN];
	int result;

	topic_name(name, topic);
	result = ivs_topic_open_publisher(own.channels, name, opts, &own.topics[topic]);
	if (result)
		conform_fail(c, "cannot open a publisher: %s", channel_result(result));
	return !result;
}

bool topic_open_subscriber(struct conform *c, unsigned int topic, unsigned int flags)
{
	const struct ivs_subscriber_options opts = {
		.newest = flags & SUBSCRIBER_NEWEST,
		.last = flags & SUBSCRIBER_LAST,
		.borrows = flags & SUBSCRIBER_BORROWS,
	};
	char name[CHANNEL_NAME_LEN];
	int result;

	topic_name(name, topic);
	result = ivs_topic_open_subscriber(own.channels, name, flags ? &opts : NULL,
					   &own.topics[topic]);
	if (result)
		conform_fail(c, "cannot open a subscriber: %s", channel_result(result));
	return !result;
}

bool topic_ask_publisher(struct conform *c, unsigned int slot, unsigned int topic,
			 const struct ivs_topic_options *opts)
{
	const struct ivs_topic_options defaults = {0};

	opts = opts ? opts : &defaults;
	return ASK_EXPECT(c, 0, ASK_TOPIC_OPEN,
			  {slot, topic, 1, halves(opts->messages_n, opts->message_len),
			   halves(opts->borrowers_n, opts->loans_n)});
}

bool topic_ask_subscriber(struct conform *c, unsigned int slot, unsigned int topic,
			  unsigned int flags)
{
	return ASK_EXPECT(c, 0, ASK_TOPIC_OPEN, {slot, topic, 0, flags});
}

bool topic_publish(struct conform *c, unsigned int topic, uint64_t first, uint64_t n)
{
	uint64_t message[TOPIC_MESSAGE_MAX / sizeof(uint64_t)];
	int result = 0;

	for (uint64_t number = first; number < first + n && !result; number++) {
		topic_message_write(message, topic_message_len(number), number);
		result = ivs_topic_publish(own.topics[topic], message, topic_message_len(number));
		if (result)
			conform_fail(c, "publishing message %lu: %s", (unsigned long)number,
				     channel_result(result));
	}
	return !result;
}

bool topic_ask_publish(struct conform *c, unsigned int slot, unsigned int topic, uint64_t first,
		       uint64_t n)
{
	return ASK_EXPECT(c, 0, ASK_PUBLISH, {slot, topic, first, n, 0});
}

/* Receive a message, also if the publisher is fast. Return: its number; -1 after a failure. */
static int64_t receive_one(struct conform *c, unsigned int topic)
{
	uint64_t message[TOPIC_MESSAGE_MAX / sizeof(uint64_t)];
	int64_t end = conform_now_ms() + LONG_MS;
	size_t len = 0;
	int64_t number;
	int result;

	do {
		result = ivs_topic_receive(own.topics[topic], message, sizeof(message), &len,
					   LONG_MS);
	} while (result == IVS_CHANNEL_E_TIMEOUT && conform_now_ms() < end);
	if (result) {
		conform_fail(c, "receiving a message: %s", channel_result(result));
		return -1;
	}
	number = topic_message_number(message, len);
	if (number < 0)
		conform_fail(c, "a message of %zu bytes is wrong", len);
	return number;
}

bool topic_receive(struct conform *c, unsigned int topic, uint64_t first, uint64_t n)
{
	int result;

	for (uint64_t number = first; number < first + n && !c->failed; number++) {
		int64_t came = receive_one(c, topic);

		if (came != (int64_t)number)
			conform_fail(c, "received message %ld instead of %lu", (long)came,
				     (unsigned long)number);
	}
	if (c->failed)
		return false;
	result = topic_result(topic, 0);
	if (result != IVS_CHANNEL_E_TIMEOUT)
		conform_fail(c, "after message %lu: %s", (unsigned long)(first + n - 1),
			     channel_result(result));
	return !c->failed;
}

bool topic_ask_receive(struct conform *c, unsigned int slot, unsigned int topic, uint64_t first,
		       uint64_t n)
{
	if (!ASK_EXPECT(c, 0, ASK_TOPIC_RECEIVE, {slot, topic, first + n - 1, LONG_MS}))
		return false;
	if (ask_result(c, 1) != (int64_t)n || ask_result(c, 2))
		conform_fail(c, "the partner received %ld messages instead of %lu, and missed %ld",
			     (long)ask_result(c, 1), (unsigned long)n, (long)ask_result(c, 2));
	return !c->failed;
}

uint64_t topic_receive_until(struct conform *c, unsigned int topic, uint64_t last)
{
	int64_t before = -1;
	uint64_t n = 0;

	while (before != (int64_t)last) {
		int64_t number = receive_one(c, topic);

		if (number <= before || number > (int64_t)last) {
			conform_fail(c, "message %ld after message %ld", (long)number,
				     (long)before);
			return 0;
		}
		before = number;
		n++;
	}
	return n;
}

bool topic_look(struct conform *c, unsigned int topic)
{
	int result = topic_result(topic, 0);

	if (result != IVS_CHANNEL_E_TIMEOUT)
		conform_fail(c, "looking for a publisher: %s", channel_result(result));
	return !c->failed;
}

bool topic_ask_look(struct conform *c, unsigned int slot, unsigned int topic)
{
	return ASK_EXPECT(c, IVS_CHANNEL_E_TIMEOUT, ASK_TOPIC_RECEIVE, {slot, topic, 0, 0});
}

int topic_result(unsigned int topic, int timeout_ms)
{
	uint8_t message[TOPIC_MESSAGE_MAX];
	size_t len;

	return ivs_topic_receive(own.topics[topic], message, sizeof(message), &len, timeout_ms);
}

void topic_close(unsigned int topic)
{
	ivs_topic_close(own.topics[topic]);
	own.topics[topic] = NULL;
}
