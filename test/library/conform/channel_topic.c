/* SPDX-License-Identifier: BSD-3-Clause */
/* Topics: publishers and subscribers in both directions, which copy messages, and mistakes. */
#include "channel.h"

#include <string.h>

#define MANY 2000

static const struct ivs_topic_options small = {.messages_n = 4, .message_len = TOPIC_MESSAGE_MAX};

/* The publisher does not wait, so the subscriber misses messages. */
CHANNEL_CASE(to_partner)
{
	EXPECT_OK(topic_open_publisher(c, 0, &small));
	EXPECT_OK(topic_ask_subscriber(c, 0, 0, 0));
	ask_begin(c, &(const struct ask){ASK_TOPIC_RECEIVE, {0, 0, MANY - 1, LONG_MS}});
	EXPECT_OK(topic_publish(c, 0, 0, MANY));
	EXPECT_OK(channel_answer(c, 0));
	EXPECT(c, ask_result(c, 1) + ask_result(c, 2) == MANY, "received %ld, missed %ld of %d",
	       (long)ask_result(c, 1), (long)ask_result(c, 2), MANY);
}

CHANNEL_CASE(from_partner)
{
	uint64_t received;
	uint64_t missed;

	EXPECT_OK(topic_ask_publisher(c, 0, 0, &small));
	EXPECT_OK(topic_open_subscriber(c, 0, 0));
	ask_begin(c, &(const struct ask){ASK_PUBLISH, {0, 0, 0, MANY}});
	received = topic_receive_until(c, 0, MANY - 1);
	missed = ivs_topic_missed(own.topics[0]);
	EXPECT_OK(channel_answer(c, 0));
	EXPECT(c, received + missed == MANY, "received %lu, missed %lu of %d",
	       (unsigned long)received, (unsigned long)missed, MANY);
}

/* A subscriber that keeps up misses nothing. */
CHANNEL_CASE(there_and_back)
{
	EXPECT_OK(topic_open_publisher(c, 0, &small));
	EXPECT_OK(topic_ask_subscriber(c, 0, 0, 0));
	EXPECT_OK(topic_ask_publisher(c, 0, 1, &small));
	EXPECT_OK(topic_open_subscriber(c, 1, 0));
	for (unsigned int i = 0; i < 20; i++) {
		EXPECT_OK(topic_publish(c, 0, i, 1));
		EXPECT_OK(topic_ask_receive(c, 0, 0, i, 1));
		EXPECT_OK(topic_ask_publish(c, 0, 1, 100 + i, 1));
		EXPECT_OK(topic_receive(c, 1, 100 + i, 1));
	}
	EXPECT(c, !ivs_topic_missed(own.topics[1]), "%lu messages were missed",
	       (unsigned long)ivs_topic_missed(own.topics[1]));
}

/* A subscriber that is further behind than the number of kept messages misses some. */
CHANNEL_CASE(kept)
{
	const struct ivs_topic_options opts = {.messages_n = 5, .message_len = TOPIC_MESSAGE_MAX};
	uint64_t received;

	EXPECT_OK(topic_ask_publisher(c, 0, 0, &opts));
	EXPECT_OK(topic_open_subscriber(c, 0, 0));
	EXPECT_OK(topic_ask_publish(c, 0, 0, 0, 5));
	EXPECT_OK(topic_receive(c, 0, 0, 5));
	EXPECT(c, !ivs_topic_missed(own.topics[0]), "messages were missed");
	EXPECT_OK(topic_ask_publish(c, 0, 0, 5, 30));
	received = topic_receive_until(c, 0, 34);
	EXPECT(c, received >= 2 && received + ivs_topic_missed(own.topics[0]) == 30,
	       "received %lu, missed %lu of 30", (unsigned long)received,
	       (unsigned long)ivs_topic_missed(own.topics[0]));
}

CHANNEL_CASE(newest)
{
	EXPECT_OK(topic_ask_publisher(c, 0, 0, NULL));
	EXPECT_OK(topic_open_subscriber(c, 0, SUBSCRIBER_NEWEST));
	EXPECT_OK(topic_ask_publish(c, 0, 0, 0, 1));
	EXPECT_OK(topic_receive(c, 0, 0, 1));
	EXPECT_OK(topic_ask_publish(c, 0, 0, 1, 4));
	EXPECT_OK(topic_receive(c, 0, 4, 1));
	EXPECT(c, ivs_topic_missed(own.topics[0]) == 3, "%lu messages instead of 3 were skipped",
	       (unsigned long)ivs_topic_missed(own.topics[0]));
	EXPECT_OK(topic_ask_publish(c, 0, 0, 5, 40)); /* more than are kept */
	EXPECT_OK(topic_receive(c, 0, 44, 1));
	EXPECT(c, ivs_topic_missed(own.topics[0]) == 42, "%lu messages instead of 42 were skipped",
	       (unsigned long)ivs_topic_missed(own.topics[0]));
}

/* With and without the message that was published before the subscriber was opened. */
CHANNEL_CASE(late)
{
	EXPECT_OK(topic_ask_publisher(c, 0, 0, NULL));
	EXPECT_OK(topic_ask_publisher(c, 0, 1, NULL));
	for (unsigned int i = 0; i < 2; i++)
		EXPECT_OK(topic_ask_publish(c, 0, i, 0, 3));
	EXPECT_OK(topic_open_subscriber(c, 0, SUBSCRIBER_LAST));
	EXPECT_OK(topic_open_subscriber(c, 1, 0));
	EXPECT_OK(topic_receive(c, 0, 2, 1));
	for (unsigned int i = 0; i < 2; i++) {
		EXPECT_OK(topic_ask_publish(c, 0, i, 3, 2));
		EXPECT_OK(topic_receive(c, i, 3, 2));
		EXPECT(c, !ivs_topic_missed(own.topics[i]), "messages were missed");
	}
}

CHANNEL_CASE(late_at_partner)
{
	EXPECT_OK(topic_open_publisher(c, 0, NULL));
	EXPECT_OK(topic_open_publisher(c, 1, NULL));
	for (unsigned int i = 0; i < 2; i++)
		EXPECT_OK(topic_publish(c, i, 0, 3));
	EXPECT_OK(topic_ask_subscriber(c, 0, 0, SUBSCRIBER_LAST | SUBSCRIBER_NEWEST));
	EXPECT_OK(topic_ask_subscriber(c, 0, 1, 0));
	EXPECT_OK(topic_ask_receive(c, 0, 0, 2, 1));
	for (unsigned int i = 0; i < 2; i++) {
		EXPECT_OK(topic_publish(c, i, 3, 1));
		EXPECT_OK(topic_ask_receive(c, 0, i, 3, 1));
	}
}

/* The subscriber exists first, and the option "last" has no effect if there is no message yet. */
CHANNEL_CASE(any_order)
{
	EXPECT_OK(topic_open_subscriber(c, 0, SUBSCRIBER_LAST));
	EXPECT_CHANNEL(c, topic_result(0, 0), IVS_CHANNEL_E_TIMEOUT);
	EXPECT_OK(topic_ask_subscriber(c, 0, 1, 0));
	EXPECT_OK(topic_open_publisher(c, 1, &small));
	EXPECT_OK(topic_ask_look(c, 0, 1));
	EXPECT_OK(topic_publish(c, 1, 0, 3));
	EXPECT_OK(topic_ask_receive(c, 0, 1, 0, 3));
	EXPECT_OK(topic_ask_publisher(c, 0, 0, &small));
	EXPECT_OK(topic_look(c, 0));
	EXPECT_OK(topic_ask_publish(c, 0, 0, 0, 3));
	EXPECT_OK(topic_receive(c, 0, 0, 3));
}

/* A peer subscribes to its own topic, and to that of another peer, as several can. */
CHANNEL_CASE(two_subscribers)
{
	struct ivs_topic **second = &own.topics[1];
	size_t len = 1;

	EXPECT_OK(topic_open_publisher(c, 0, &small));
	EXPECT_CHANNEL(c, ivs_topic_open_subscriber(own.channels, "topic 0", NULL, second), 0);
	EXPECT_OK(topic_ask_subscriber(c, 0, 0, 0));
	EXPECT_OK(topic_publish(c, 0, 0, 3));
	EXPECT_OK(topic_receive(c, 1, 0, 3));
	EXPECT_OK(topic_ask_receive(c, 0, 0, 0, 3));
	EXPECT_CHANNEL(c, ivs_topic_publish(own.topics[0], "", 0), 0);
	EXPECT_CHANNEL(c, ivs_topic_receive(*second, &len, 0, &len, LONG_MS), 0);
	EXPECT(c, !len, "an empty message has %zu bytes", len);
}

CHANNEL_CASE(written_in_place)
{
	for (unsigned int i = 0; i < 10; i++) {
		uint8_t *memory;
		size_t len = topic_message_len(i);

		if (!i) {
			EXPECT_OK(topic_open_publisher(c, 0, &small));
			EXPECT_OK(topic_ask_subscriber(c, 0, 0, 0));
		}
		memory = ivs_topic_reserve(own.topics[0]);
		EXPECT(c, memory > c->memory && memory + len < c->memory + c->size,
		       "the memory is not in the region");
		EXPECT(c, !((uintptr_t)memory % 64), "the memory is not aligned");
		EXPECT(c, ivs_topic_reserve(own.topics[0]) == memory,
		       "a second call returned other memory");
		topic_message_write(memory, len, i);
		ivs_topic_commit(own.topics[0], len);
		EXPECT_OK(topic_ask_receive(c, 0, 0, i, 1));
	}
}

CHANNEL_CASE(too_long)
{
	uint64_t message[TOPIC_MESSAGE_MAX / sizeof(uint64_t) + 1] = {0};
	size_t len = 0;

	EXPECT_OK(topic_open_publisher(c, 0, &small));
	EXPECT_CHANNEL(c, ivs_topic_publish(own.topics[0], message, TOPIC_MESSAGE_MAX + 1),
		       IVS_CHANNEL_E_TOO_LONG);
	EXPECT_CHANNEL(c, ivs_topic_publish(own.topics[0], message, TOPIC_MESSAGE_MAX), 0);
	EXPECT_OK(topic_ask_publisher(c, 0, 1, &small));
	EXPECT_OK(topic_open_subscriber(c, 1, 0));
	EXPECT_OK(topic_ask_publish(c, 0, 1, 9, 1));
	EXPECT_CHANNEL(
		c,
		ivs_topic_receive(own.topics[1], message, topic_message_len(9) - 1, &len, LONG_MS),
		IVS_CHANNEL_E_TOO_LONG);
	EXPECT(c, len == topic_message_len(9), "%zu bytes", len);
	EXPECT_OK(topic_receive(c, 1, 9, 1));
}

CHANNEL_CASE(time_limits)
{
	int64_t start = conform_now_ms();
	const void *message;
	size_t len;
	int64_t ms;

	EXPECT_OK(topic_open_subscriber(c, 0, SUBSCRIBER_BORROWS));
	EXPECT_CHANNEL(c, topic_result(0, 0), IVS_CHANNEL_E_TIMEOUT);
	EXPECT_CHANNEL(c, topic_result(0, SHORT_MS), IVS_CHANNEL_E_TIMEOUT);
	EXPECT_OK(topic_ask_publisher(c, 0, 0, NULL));
	EXPECT_CHANNEL(c, ivs_topic_borrow(own.topics[0], &message, &len, 0),
		       IVS_CHANNEL_E_TIMEOUT);
	EXPECT_CHANNEL(c, ivs_topic_borrow(own.topics[0], &message, &len, SHORT_MS),
		       IVS_CHANNEL_E_TIMEOUT);
	ms = conform_now_ms() - start;
	EXPECT(c, ms >= 2 * SHORT_MS && ms < 2 * SHORT_MS + SOON_MS, "%ld ms", (long)ms);
}

CHANNEL_CASE(woken)
{
	int64_t start = conform_now_ms();
	int result;

	EXPECT_OK(topic_open_subscriber(c, 0, 0));
	EXPECT_OK(topic_ask_publisher(c, 0, 0, NULL));
	EXPECT_OK(topic_look(c, 0));
	for (unsigned int i = 0; i < 3; i++) {
		ask_begin(c, &(const struct ask){ASK_PUBLISH, {0, 0, i, 1, halves(0, SHORT_MS)}});
		EXPECT_OK(topic_receive(c, 0, i, 1));
		EXPECT_OK(channel_answer(c, 0));
	}
	ask_begin(c, &(const struct ask){ASK_PUBLISH, {0, 0, 3, 1, halves(0, SHORT_MS)}});
	while ((result = topic_result(0, 0)) == IVS_CHANNEL_E_TIMEOUT)
		EXPECT_CHANNEL(c, ivs_channels_wait(own.channels, LONG_MS), 0);
	EXPECT_CHANNEL(c, result, 0);
	EXPECT_OK(channel_answer(c, 0));
	EXPECT_OK(channel_was_woken(c, start));
}

/* The subscriber waits for a publisher, and then for messages. */
CHANNEL_CASE(wakes_partner)
{
	int64_t start = conform_now_ms();
	uint64_t number = 0;

	EXPECT_OK(topic_ask_subscriber(c, 0, 0, 0));
	ask_begin(c, &(const struct ask){ASK_BORROW, {0, 0, 1, LONG_MS}});
	channel_pass_time();
	EXPECT_OK(topic_open_publisher(c, 0, NULL));
	while (c->mailbox->answered != c->mailbox->asked) {
		EXPECT_OK(topic_publish(c, 0, number++, 1));
		channel_pass_time();
	}
	EXPECT_OK(channel_answer(c, 0));
	ask_begin(c, &(const struct ask){ASK_TOPIC_RECEIVE, {0, 0, number, LONG_MS}});
	channel_pass_time();
	EXPECT_OK(topic_publish(c, 0, number, 1));
	EXPECT_OK(channel_answer(c, 0));
	EXPECT_OK(channel_was_woken(c, start));
}

/* Expect the subscriber to see the end once. */
static bool sees_end(struct conform *c, unsigned int topic)
{
	int result = topic_result(topic, LONG_MS);

	if (result != IVS_CHANNEL_E_ENDED)
		conform_fail(c, "the subscriber sees no end: %s", channel_result(result));
	else if (topic_result(topic, 0) != IVS_CHANNEL_E_TIMEOUT)
		conform_fail(c, "the end is reported again");
	return !c->failed;
}

/* The subscriber receives the last messages, and then those of another publisher. */
CHANNEL_CASE(publisher_closes)
{
	EXPECT_OK(topic_ask_publisher(c, 0, 0, &small));
	EXPECT_OK(topic_open_subscriber(c, 0, 0));
	EXPECT_OK(topic_ask_publish(c, 0, 0, 0, 1));
	EXPECT_OK(topic_receive(c, 0, 0, 1));
	EXPECT_OK(topic_ask_publish(c, 0, 0, 1, 3));
	EXPECT_OK(ASK_EXPECT(c, 0, ASK_TOPIC_CLOSE, {0, 0}));
	for (unsigned int i = 1; i <= 3; i++)
		EXPECT_CHANNEL(c, topic_result(0, LONG_MS), 0);
	EXPECT_OK(sees_end(c, 0));
	EXPECT_OK(topic_ask_publisher(c, 0, 0, &small));
	EXPECT_OK(topic_look(c, 0));
	EXPECT_OK(topic_ask_publish(c, 0, 0, 7, 2));
	EXPECT_OK(topic_receive(c, 0, 7, 2));
	EXPECT(c, !ivs_topic_missed(own.topics[0]), "messages were missed");
}

CHANNEL_CASE(own_publisher_closes)
{
	EXPECT_OK(topic_ask_subscriber(c, 0, 0, 0));
	for (unsigned int i = 0; i < 3; i++) {
		EXPECT_OK(topic_open_publisher(c, 0, &small));
		EXPECT_OK(topic_ask_look(c, 0, 0));
		EXPECT_OK(topic_publish(c, 0, 0, 2));
		EXPECT_OK(topic_ask_receive(c, 0, 0, 0, 2));
		topic_close(0);
		EXPECT_OK(
			ASK_EXPECT(c, IVS_CHANNEL_E_ENDED, ASK_TOPIC_RECEIVE, {0, 0, 0, LONG_MS}));
		EXPECT_OK(topic_ask_look(c, 0, 0)); /* the end is not reported again */
	}
}

/* A subscriber that is opened before its publisher gets all messages, without looking for it. */
CHANNEL_CASE(early)
{
	EXPECT_OK(topic_open_subscriber(c, 0, 0));
	EXPECT_OK(topic_ask_subscriber(c, 0, 1, SUBSCRIBER_LAST));
	for (unsigned int i = 0; i < 2; i++) {
		EXPECT_OK(topic_ask_publisher(c, 0, 0, &small));
		EXPECT_OK(topic_ask_publish(c, 0, 0, 0, 3));
		EXPECT_OK(topic_receive(c, 0, 0, 3));
		EXPECT_OK(ASK_EXPECT(c, 0, ASK_TOPIC_CLOSE, {0, 0}));
		EXPECT_OK(sees_end(c, 0));
	}
	EXPECT_OK(topic_open_publisher(c, 1, &small));
	EXPECT_OK(topic_publish(c, 1, 0, 3));
	EXPECT_OK(topic_ask_receive(c, 0, 1, 0, 3));
	EXPECT_OK(topic_ask_publisher(c, 0, 0, &small));
	EXPECT_OK(topic_ask_publish(c, 0, 0, 0, 100));
	EXPECT(c, topic_receive_until(c, 0, 99) + ivs_topic_missed(own.topics[0]) == 100,
	       "%lu of 100 messages were missed", (unsigned long)ivs_topic_missed(own.topics[0]));
}

/* The end is noticed while this peer waits. */
CHANNEL_CASE(publisher_leaves)
{
	int64_t start = conform_now_ms();

	EXPECT_OK(topic_ask_publisher(c, 0, 0, &small));
	EXPECT_OK(topic_open_subscriber(c, 0, 0));
	EXPECT_OK(topic_ask_publish(c, 0, 0, 0, 2));
	EXPECT_OK(topic_receive(c, 0, 0, 2));
	ask_begin(c, &(const struct ask){ASK_CHANNELS_CLOSE, {0}});
	EXPECT_OK(sees_end(c, 0));
	EXPECT_OK(ask_end(c));
	EXPECT_OK(channel_was_woken(c, start));
}

static void publisher_dies_in_slot(struct conform *c)
{
	EXPECT_OK(channel_other_comes(c));
	EXPECT_OK(topic_ask_publisher(c, 1, 0, &small));
	EXPECT_OK(topic_open_subscriber(c, 0, 0));
	EXPECT_OK(topic_ask_publish(c, 1, 0, 0, 2));
	EXPECT_OK(topic_receive(c, 0, 0, 2));
	EXPECT_OK(channel_other_dies(c));
	EXPECT_OK(sees_end(c, 0));
	EXPECT_OK(topic_ask_publisher(c, 0, 0, &small));
	EXPECT_OK(topic_look(c, 0));
	EXPECT_OK(topic_ask_publish(c, 0, 0, 5, 2));
	EXPECT_OK(topic_receive(c, 0, 5, 2));
	EXPECT(c, !ivs_topic_missed(own.topics[0]), "messages were missed");
}

CHANNEL_CASE(publisher_dies)
{
	publisher_dies_in_slot(c);
	channel_other_leaves(c);
}

CHANNEL_CASE(mistakes)
{
	const struct ivs_topic_options longest = {.message_len = IVS_CHANNEL_MESSAGE_MAX + 1};
	const struct ivs_topic_options large = {.message_len = 1 << 20};
	const struct ivs_topic_options many = {.messages_n = UINT32_MAX};
	const struct ivs_topic_options borrowers = {.message_len = 1,
						    .borrowers_n = IVS_TOPIC_BORROWERS_MAX + 1};
	const struct ivs_topic_options loans = {.message_len = 1,
						.loans_n = IVS_TOPIC_LOANS_MAX + 1};
	const struct ivs_topic_options most = {.message_len = 1,
					       .borrowers_n = IVS_TOPIC_BORROWERS_MAX,
					       .loans_n = IVS_TOPIC_LOANS_MAX};
	static const char too_long_name[] = "1234567890123456789012345678901234567890";
	struct ivs_topic **topic = &own.topics[0];

	EXPECT_CHANNEL(c, ivs_topic_open_publisher(own.channels, "", NULL, topic),
		       IVS_CHANNEL_E_NAME);
	EXPECT_CHANNEL(c, ivs_topic_open_subscriber(own.channels, too_long_name, NULL, topic),
		       IVS_CHANNEL_E_NAME);
	EXPECT_CHANNEL(c, ivs_topic_open_subscriber(own.channels, "a\nb", NULL, topic),
		       IVS_CHANNEL_E_NAME);
	EXPECT_CHANNEL(c, ivs_topic_open_publisher(own.channels, "t", &longest, topic),
		       IVS_CHANNEL_E_TOO_LONG);
	EXPECT_CHANNEL(c, ivs_topic_open_publisher(own.channels, "t", &large, topic),
		       IVS_CHANNEL_E_FULL);
	EXPECT_CHANNEL(c, ivs_topic_open_publisher(own.channels, "t", &many, topic),
		       IVS_CHANNEL_E_FULL);
	EXPECT_CHANNEL(c, ivs_topic_open_publisher(own.channels, "t", &borrowers, topic),
		       IVS_CHANNEL_E_FULL);
	EXPECT_CHANNEL(c, ivs_topic_open_publisher(own.channels, "t", &loans, topic),
		       IVS_CHANNEL_E_FULL);
	EXPECT(c, !*topic, "a call that failed has stored a topic");
	EXPECT_CHANNEL(c, ivs_topic_open_publisher(own.channels, "t", &most, topic), 0);
	EXPECT_OK(topic_open_subscriber(c, 1, 0));
	ivs_topic_give_back(own.topics[1], NULL);
	ivs_topic_close(NULL);
}

/* A publisher writes no more after it has noticed that its section was taken. */
static void section_taken(struct conform *c)
{
	struct ivs_channels *former;
	struct ivs_topic *topic = NULL;
	struct ivs_error err;
	int result;

	channel_clear(c);
	EXPECT_CHANNEL(c, channel_open(c, &err), 0);
	former = own.channels;
	result = ivs_topic_open_publisher(former, "topic 0", NULL, &topic);
	if (!result)
		result = channel_open(c, &err);
	if (result) {
		conform_fail(c, "cannot open a topic, or channels: %s", channel_result(result));
	} else {
		if (ivs_channels_wait(former, 0) != IVS_CHANNEL_E_SECTION ||
		    ivs_topic_reserve(topic))
			conform_fail(c, "the publisher can reserve memory");
		result = ivs_topic_publish(topic, "", 0);
		if (result != IVS_CHANNEL_E_SECTION)
			conform_fail(c, "the publisher goes on: %s", channel_result(result));
	}
	ivs_topic_close(topic);
	if (own.channels != former)
		ivs_channels_close(former);
	channel_close();
}

const struct conform_case channel_topic_cases[] = {
	{"topic: many messages to the partner", to_partner},
	{"topic: many messages from the partner", from_partner},
	{"topic: messages and answers", there_and_back},
	{"topic: the messages that are kept", kept},
	{"topic: only the newest message", newest},
	{"topic: a late subscriber", late},
	{"topic: a late subscriber at the partner", late_at_partner},
	{"topic: publisher and subscriber in any order", any_order},
	{"topic: a subscriber that is opened before its publisher", early},
	{"topic: two subscribers", two_subscribers},
	{"topic: a message is written in place", written_in_place},
	{"topic: a message that is too long", too_long},
	{"topic: time limits", time_limits},
	{"topic: a wait ended by a message", woken},
	{"topic: the partner's waits", wakes_partner},
	{"topic: the publisher closes the topic", publisher_closes},
	{"topic: this peer closes the topic", own_publisher_closes},
	{"topic: the publisher leaves", publisher_leaves},
	{"topic: the publisher dies", publisher_dies},
	{"topic: mistakes", mistakes},
	{"topic: another peer takes the section", section_taken},
	{0},
};
