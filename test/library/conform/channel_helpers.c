/* SPDX-License-Identifier: BSD-3-Clause */
#include "channel.h"

#include <errno.h>
#include <string.h>

#define LAYOUT_LEN PAGE
#define SECTION_LEN (15 * PAGE)
#define HEADER_LEN 256 /* of a section */
#define JOINS_MAX 1000

struct own own;

void channel_clear(struct conform *c)
{
	memset(c->memory, 0, LAYOUT_LEN);
	for (unsigned int i = 0; i < SECTIONS_N; i++)
		memset(c->memory + LAYOUT_LEN + i * SECTION_LEN, 0, HEADER_LEN);
}

int channel_open(struct conform *c, struct ivs_error *err)
{
	struct ivs_channels_options opts = IVS_CHANNELS_OPTIONS_INIT;

	opts.sections_n = SECTIONS_N;
	if (!can(c, IVS_CAP_ID))
		opts.section = OWN_SECTION;
	return ivs_channels_open(c->peer, &opts, &own.channels, err);
}

void channel_close(void)
{
	for (unsigned int i = 0; i < OWN_QUEUES_MAX; i++)
		ivs_queue_close(own.queues[i]);
	for (unsigned int i = 0; i < OWN_TOPICS_MAX; i++)
		ivs_topic_close(own.topics[i]);
	for (unsigned int i = 0; i < OWN_STREAMS_MAX; i++)
		ivs_stream_close(own.streams[i]);
	for (unsigned int i = 0; i < OWN_LISTENERS_MAX; i++)
		ivs_stream_listener_close(own.listeners[i]);
	ivs_channels_close(own.channels);
	own = (struct own){0};
}

const char *channel_result(int result)
{
	return result < 0 ? conform_result(result) : ivs_channel_strerror(result);
}

bool channel_answer(struct conform *c, int wanted)
{
	if (ask_end(c) && ask_result(c, 0) != wanted)
		conform_fail(c, "the partner's request %u: expected \"%s\", got \"%s\"",
			     c->mailbox->request, channel_result(wanted),
			     channel_result((int)ask_result(c, 0)));
	return !c->failed;
}

bool channel_was_woken(struct conform *c, int64_t start)
{
	int64_t ms = conform_now_ms() - start;

	if (ms >= SOON_MS)
		conform_fail(c, "the wait was not ended: it took %ld ms", (long)ms);
	return ms < SOON_MS;
}

void channel_pass_time(void)
{
	int64_t end = conform_now_ms() + SHORT_MS;

	while (conform_now_ms() < end)
		take_a_breath();
}

/* Expect the partner's result to be 0. */
static bool is_done(struct conform *c, bool answered, const char *what)
{
	if (answered && ask_result(c, 0))
		conform_fail(c, "the partner cannot %s: %s", what,
			     ask_result(c, 0) < 0 ? conform_result((int)ask_result(c, 0))
						  : ivs_channel_strerror((int)ask_result(c, 0)));
	return !c->failed;
}

bool channel_ask_open(struct conform *c, unsigned int slot)
{
	return is_done(c, ASK(c, ASK_CHANNELS_OPEN, {slot, PARTNER_SECTION + slot}),
		       "open channels");
}

static int64_t other_id; /* of the partner's peer in slot 1 */

bool channel_other_comes(struct conform *c)
{
	if (!ASK(c, ASK_JOIN, {1}))
		return false;
	other_id = ask_result(c, 1);
	return channel_ask_open(c, 1);
}

void channel_other_leaves(struct conform *c)
{
	(void)ASK(c, ASK_CHANNELS_CLOSE, {1});
	(void)ASK(c, ASK_LEAVE, {1});
}

/* The next peer gets another id if the server has not processed the leave when it joins. */
bool channel_other_dies(struct conform *c)
{
	int64_t former = other_id;

	if (!ASK(c, ASK_LEAVE, {1}))
		return false;
	for (unsigned int i = 0; !can(c, IVS_CAP_ROSTER) && i < JOINS_MAX; i++) {
		if (!channel_other_comes(c))
			return false;
		if (other_id == former)
			return true;
		channel_other_leaves(c);
		take_a_breath();
	}
	if (!can(c, IVS_CAP_ROSTER))
		conform_fail(c, "no other peer gets the id %ld", (long)former);
	return !c->failed;
}

void channel_run(struct conform *c, void (*run)(struct conform *c))
{
	struct ivs_error err = {""};
	int result;

	channel_clear(c);
	result = channel_open(c, &err);
	if (result)
		conform_fail(c, "cannot open channels: %s", err.text);
	else if (channel_ask_open(c, 0))
		run(c);
	channel_close();
	if (c->mailbox)
		(void)ASK(c, ASK_CHANNELS_CLOSE, {0});
}

bool channel_ask_sender(struct conform *c, unsigned int slot, unsigned int name,
			uint32_t messages_n)
{
	return is_done(c,
		       ASK(c, ASK_QUEUE_OPEN, {slot, name, name, 1 | (uint64_t)messages_n << 32}),
		       "open a sender");
}

bool channel_ask_receiver(struct conform *c, unsigned int slot, unsigned int name)
{
	return is_done(c, ASK(c, ASK_QUEUE_OPEN, {slot, name, name, 0}), "open a receiver");
}

bool channel_send_to(struct conform *c, unsigned int name, uint32_t messages_n)
{
	const struct ivs_queue_options opts = {messages_n, MESSAGE_MAX};
	char text[CHANNEL_NAME_LEN];
	int result;

	queue_name(text, name);
	result = ivs_queue_open_sender(own.channels, text, &opts, &own.queues[name]);
	if (result)
		conform_fail(c, "cannot open a sender: %s", ivs_channel_strerror(result));
	return !result && channel_ask_receiver(c, 0, name);
}

bool channel_receive_from(struct conform *c, unsigned int name, uint32_t messages_n)
{
	char text[CHANNEL_NAME_LEN];
	int result;

	queue_name(text, name);
	result = ivs_queue_open_receiver(own.channels, text, &own.queues[name]);
	if (result)
		conform_fail(c, "cannot open a receiver: %s", ivs_channel_strerror(result));
	return !result && channel_ask_sender(c, 0, name, messages_n);
}

void channel_begin(struct conform *c, enum request request, unsigned int name, uint64_t first,
		   uint64_t n, unsigned int delay_ms)
{
	ask_begin(c, &(const struct ask){request,
					 {0, name, first, n, LONG_MS | (uint64_t)delay_ms << 32}});
}

bool channel_end(struct conform *c, uint64_t n)
{
	if (!is_done(c, ask_end(c), "send or receive"))
		return false;
	if ((uint64_t)ask_result(c, 1) != n)
		conform_fail(c, "the partner has sent or received %ld messages instead of %lu",
			     (long)ask_result(c, 1), (unsigned long)n);
	return !c->failed;
}

bool channel_ask_send(struct conform *c, unsigned int name, uint64_t first, uint64_t n)
{
	channel_begin(c, ASK_SEND, name, first, n, 0);
	return channel_end(c, n);
}

bool channel_ask_receive(struct conform *c, unsigned int name, uint64_t first, uint64_t n)
{
	channel_begin(c, ASK_RECEIVE, name, first, n, 0);
	return channel_end(c, n);
}

bool channel_send(struct conform *c, unsigned int name, uint64_t first, uint64_t n)
{
	uint8_t message[MESSAGE_MAX];
	int result = 0;

	for (uint64_t number = first; number < first + n && !result; number++) {
		pattern_write(message, message_len(number), number);
		result = ivs_queue_send(own.queues[name], message, message_len(number), LONG_MS);
		if (result)
			conform_fail(c, "sending message %lu: %s", (unsigned long)number,
				     ivs_channel_strerror(result));
	}
	return !result;
}

int channel_receive_result(unsigned int name, int timeout_ms)
{
	uint8_t message[MESSAGE_MAX];
	size_t len;

	return ivs_queue_receive(own.queues[name], message, sizeof(message), &len, timeout_ms);
}

bool channel_receive(struct conform *c, unsigned int name, uint64_t first, uint64_t n)
{
	uint8_t message[MESSAGE_MAX];
	uint64_t wrong_at = 0;
	size_t len;

	for (uint64_t number = first; number < first + n; number++) {
		int result = ivs_queue_receive(own.queues[name], message, sizeof(message), &len,
					       LONG_MS);

		if (result) {
			conform_fail(c, "receiving message %lu: %s", (unsigned long)number,
				     result < 0 ? conform_result(result)
						: ivs_channel_strerror(result));
			return false;
		}
		if (len != message_len(number) || pattern_check(message, len, number, &wrong_at)) {
			conform_fail(c,
				     "message %lu has %zu bytes instead of %zu, or a wrong byte at "
				     "%lu",
				     (unsigned long)number, len, message_len(number),
				     (unsigned long)wrong_at);
			return false;
		}
	}
	return true;
}
