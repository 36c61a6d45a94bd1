/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Channels: opening them, and queues in both directions. The partner's queues are numbered and
 * named like those of the peer under test.
 */
#include "channel.h"

#include <errno.h>
#include <string.h>

#define MANY 2000

CHANNEL_CASE(sections)
{
	int id = ivs_peer_id(c->peer);

	EXPECT(c, ivs_channels_sections(own.channels) == SECTIONS_N, "%u sections",
	       ivs_channels_sections(own.channels));
	EXPECT(c, ivs_channels_section(own.channels) == (id < 0 ? OWN_SECTION : (uint32_t)id),
	       "peer %d has section %u", id, ivs_channels_section(own.channels));
}

static void other_content(struct conform *c)
{
	struct ivs_error err = {""};
	uint64_t first;

	pattern_write(c->memory, PAGE, 90);
	EXPECT_RESULT(c, channel_open(c, &err), IVS_CHANNEL_E_LAYOUT);
	EXPECT(c, *err.text, "the error has no text");
	EXPECT(c, !pattern_check(c->memory, PAGE, 90, &first), "the content was changed");
}

static void no_section(struct conform *c)
{
	struct ivs_channels_options opts = IVS_CHANNELS_OPTIONS_INIT;
	struct ivs_error err = {""};

	channel_clear(c);
	opts.sections_n = SECTIONS_N;
	if (can(c, IVS_CAP_ID))
		opts.section = SECTIONS_N;
	EXPECT_RESULT(c, ivs_channels_open(c->peer, &opts, &own.channels, &err),
		      IVS_CHANNEL_E_SECTION);
	EXPECT(c, *err.text && !own.channels, "the error has no text, or there are channels");
}

CHANNEL_CASE(open_again)
{
	struct ivs_error err;

	EXPECT_OK(channel_receive_from(c, 0, 4));
	EXPECT_OK(channel_ask_send(c, 0, 0, 2));
	EXPECT_OK(channel_receive(c, 0, 0, 2));
	channel_close();
	EXPECT_RESULT(c, channel_open(c, &err), 0);
	EXPECT_OK(channel_receive_from(c, 0, 4));
	EXPECT_OK(channel_ask_send(c, 0, 5, 2));
	EXPECT_OK(channel_receive(c, 0, 5, 2));
}

CHANNEL_CASE(from_partner)
{
	EXPECT_OK(channel_receive_from(c, 0, 16));
	channel_begin(c, ASK_SEND, 0, 0, MANY, 0);
	EXPECT_OK(channel_receive(c, 0, 0, MANY));
	EXPECT_OK(channel_end(c, MANY));
	EXPECT(c, ivs_queue_peers(own.queues[0]) == 1, "%u senders",
	       ivs_queue_peers(own.queues[0]));
}

CHANNEL_CASE(to_partner)
{
	EXPECT_OK(channel_send_to(c, 0, 16));
	channel_begin(c, ASK_RECEIVE, 0, 0, MANY, 0);
	EXPECT_OK(channel_send(c, 0, 0, MANY));
	EXPECT_OK(channel_end(c, MANY));
	EXPECT_RESULT(c, ivs_queue_flush(own.queues[0], LONG_MS), 0);
	EXPECT(c, ivs_queue_peers(own.queues[0]) == 1, "%u receivers",
	       ivs_queue_peers(own.queues[0]));
}

/* Each message is an answer to the one before. */
CHANNEL_CASE(there_and_back)
{
	EXPECT_OK(channel_send_to(c, 0, 2));
	EXPECT_OK(channel_receive_from(c, 1, 2));
	for (unsigned int i = 0; i < 50; i++) {
		EXPECT_OK(channel_send(c, 0, i, 1));
		EXPECT_OK(channel_ask_receive(c, 0, i, 1));
		EXPECT_OK(channel_ask_send(c, 1, 100 + i, 1));
		EXPECT_OK(channel_receive(c, 1, 100 + i, 1));
	}
}

/* The receiver exists first, and the other way round. */
CHANNEL_CASE(any_order)
{
	EXPECT_OK(channel_ask_receiver(c, 0, 0));
	EXPECT_OK(channel_send_to(c, 1, 4));
	EXPECT_OK(channel_send(c, 1, 0, 3));
	EXPECT_OK(channel_ask_receive(c, 1, 0, 3));
	EXPECT_OK(channel_ask_sender(c, 0, 0, 4));
	EXPECT_OK(channel_ask_send(c, 0, 0, 3));
	EXPECT_RESULT(c, ivs_queue_open_receiver(own.channels, "queue 0", &own.queues[0]), 0);
	EXPECT_OK(channel_receive(c, 0, 0, 3));
}

CHANNEL_CASE(in_place)
{
	const void *message = NULL;
	const void *again = NULL;
	uint64_t first;
	size_t len = 0;

	EXPECT_OK(channel_receive_from(c, 0, 4));
	EXPECT_OK(channel_ask_send(c, 0, 9, 4));
	EXPECT_RESULT(c, ivs_queue_peek(own.queues[0], &message, &len, LONG_MS), 0);
	EXPECT(c,
	       (const uint8_t *)message > c->memory &&
		       (const uint8_t *)message + len < c->memory + c->size,
	       "the message is not in the region");
	EXPECT(c, len == message_len(9) && !pattern_check(message, len, 9, &first),
	       "the message is wrong");
	EXPECT_RESULT(c, ivs_queue_peek(own.queues[0], &again, &len, 0), 0);
	EXPECT(c, again == message, "a second call returned another message");
	ivs_queue_release(own.queues[0]);
	EXPECT_OK(channel_receive(c, 0, 10, 3));
}

CHANNEL_CASE(written_in_place)
{
	void *memory = NULL;
	void *again = NULL;

	EXPECT_OK(channel_send_to(c, 0, 4));
	EXPECT_RESULT(c, ivs_queue_reserve(own.queues[0], &memory, 0), 0);
	EXPECT(c, (uint8_t *)memory > c->memory && (uint8_t *)memory < c->memory + c->size,
	       "the memory is not in the region");
	EXPECT(c, !((uintptr_t)memory % 8), "the memory is not aligned");
	pattern_write(memory, message_len(3), 3);
	EXPECT_RESULT(c, ivs_queue_reserve(own.queues[0], &again, 0), 0);
	EXPECT(c, again == memory, "a second call returned other memory");
	ivs_queue_commit(own.queues[0], message_len(3));
	EXPECT_OK(channel_ask_receive(c, 0, 3, 1));
}

CHANNEL_CASE(too_long)
{
	uint8_t message[MESSAGE_MAX + 1] = {0};
	size_t len = 0;

	EXPECT_OK(channel_send_to(c, 0, 2));
	EXPECT_RESULT(c, ivs_queue_send(own.queues[0], message, sizeof(message), 0),
		      IVS_CHANNEL_E_TOO_LONG);
	EXPECT_OK(channel_receive_from(c, 1, 2));
	EXPECT_OK(channel_ask_send(c, 1, 9, 1));
	EXPECT_RESULT(c,
		      ivs_queue_receive(own.queues[1], message, message_len(9) - 1, &len, LONG_MS),
		      IVS_CHANNEL_E_TOO_LONG);
	EXPECT(c, len == message_len(9), "%zu bytes", len);
	EXPECT_OK(channel_receive(c, 1, 9, 1));
}

CHANNEL_CASE(full)
{
	EXPECT_OK(channel_send_to(c, 0, 4));
	EXPECT_OK(channel_send(c, 0, 0, 4));
	EXPECT_RESULT(c, ivs_queue_send(own.queues[0], "", 0, 0), IVS_CHANNEL_E_TIMEOUT);
	EXPECT_RESULT(c, ivs_queue_flush(own.queues[0], 0), IVS_CHANNEL_E_TIMEOUT);
	EXPECT_OK(channel_ask_receive(c, 0, 0, 2));
	EXPECT_OK(channel_send(c, 0, 4, 2));
	EXPECT_RESULT(c, ivs_queue_send(own.queues[0], "", 0, 0), IVS_CHANNEL_E_TIMEOUT);
	EXPECT_OK(channel_ask_receive(c, 0, 2, 4));
	EXPECT_RESULT(c, ivs_queue_flush(own.queues[0], LONG_MS), 0);
}

CHANNEL_CASE(time_limits)
{
	int64_t start = conform_now_ms();
	int64_t ms;

	EXPECT_OK(channel_receive_from(c, 0, 2));
	EXPECT_RESULT(c, channel_receive_result(0, 0), IVS_CHANNEL_E_TIMEOUT);
	EXPECT_RESULT(c, channel_receive_result(0, SHORT_MS), IVS_CHANNEL_E_TIMEOUT);
	EXPECT_OK(channel_send_to(c, 1, 2));
	EXPECT_OK(channel_send(c, 1, 0, 2));
	EXPECT_RESULT(c, ivs_queue_send(own.queues[1], "", 0, SHORT_MS), IVS_CHANNEL_E_TIMEOUT);
	EXPECT_RESULT(c, ivs_queue_flush(own.queues[1], SHORT_MS), IVS_CHANNEL_E_TIMEOUT);
	ms = conform_now_ms() - start;
	EXPECT(c, ms >= 3 * SHORT_MS && ms < 3 * SHORT_MS + SOON_MS, "%ld ms", (long)ms);
}

CHANNEL_CASE(woken_by_message)
{
	int64_t start = conform_now_ms();

	EXPECT_OK(channel_receive_from(c, 0, 2));
	for (unsigned int i = 0; i < 3; i++) {
		channel_begin(c, ASK_SEND, 0, i, 1, SHORT_MS);
		EXPECT_OK(channel_receive(c, 0, i, 1));
		EXPECT_OK(channel_end(c, 1));
	}
	EXPECT_OK(channel_was_woken(c, start));
}

CHANNEL_CASE(woken_by_room)
{
	int64_t start = conform_now_ms();

	EXPECT_OK(channel_send_to(c, 0, 4));
	EXPECT_OK(channel_send(c, 0, 0, 4));
	channel_begin(c, ASK_RECEIVE, 0, 0, 4, SHORT_MS);
	EXPECT_OK(channel_send(c, 0, 4, 1));
	EXPECT_OK(channel_end(c, 4));
	channel_begin(c, ASK_RECEIVE, 0, 4, 1, SHORT_MS);
	EXPECT_RESULT(c, ivs_queue_flush(own.queues[0], LONG_MS), 0);
	EXPECT_OK(channel_end(c, 1));
	EXPECT_OK(channel_was_woken(c, start));
}

CHANNEL_CASE(wakes_partner)
{
	int64_t start = conform_now_ms();

	EXPECT_OK(channel_send_to(c, 0, 2));
	channel_begin(c, ASK_RECEIVE, 0, 0, 1, 0);
	channel_pass_time();
	EXPECT_OK(channel_send(c, 0, 0, 1));
	EXPECT_OK(channel_end(c, 1));
	EXPECT_OK(channel_receive_from(c, 1, 2));
	channel_begin(c, ASK_SEND, 1, 0, 3, 0);
	channel_pass_time();
	EXPECT_OK(channel_receive(c, 1, 0, 3));
	EXPECT_OK(channel_end(c, 3));
	EXPECT_OK(channel_was_woken(c, start));
}

/* One wait for a message, a queue that has room, and a new sender. */
CHANNEL_CASE(one_wait)
{
	int64_t start = conform_now_ms();
	int result;

	EXPECT_OK(channel_receive_from(c, 0, 2));
	EXPECT_OK(channel_send_to(c, 1, 2));
	channel_begin(c, ASK_SEND, 0, 0, 1, SHORT_MS);
	while ((result = channel_receive_result(0, 0)) == IVS_CHANNEL_E_TIMEOUT)
		EXPECT_RESULT(c, ivs_channels_wait(own.channels, LONG_MS), 0);
	EXPECT_RESULT(c, result, 0);
	EXPECT_OK(channel_end(c, 1));
	EXPECT_OK(channel_send(c, 1, 0, 2));
	channel_begin(c, ASK_RECEIVE, 1, 0, 2, SHORT_MS);
	while ((result = ivs_queue_send(own.queues[1], "", 0, 0)) == IVS_CHANNEL_E_TIMEOUT)
		EXPECT_RESULT(c, ivs_channels_wait(own.channels, LONG_MS), 0);
	EXPECT_RESULT(c, result, 0);
	EXPECT_OK(channel_end(c, 2));
	EXPECT_OK(channel_was_woken(c, start));
	do { /* doorbells and joins may be pending */
		result = ivs_channels_wait(own.channels, SHORT_MS);
	} while (!result && can(c, IVS_CAP_WAIT) && conform_now_ms() < start + LONG_MS);
	/* Without doorbells each pause ends the wait. */
	EXPECT_RESULT(c, result, can(c, IVS_CAP_WAIT) ? IVS_CHANNEL_E_TIMEOUT : 0);
}

const struct conform_case channel_cases[] = {
	{"channel: sections", sections},
	{"channel: a region with other content is not divided", other_content},
	{"channel: a section that does not exist, or none", no_section},
	{"channel: closed and opened again", open_again},
	{"channel: messages from the partner", from_partner},
	{"channel: messages to the partner", to_partner},
	{"channel: messages and answers", there_and_back},
	{"channel: sender and receiver in any order", any_order},
	{"channel: a message is read in place", in_place},
	{"channel: a message is written in place", written_in_place},
	{"channel: a message that is too long", too_long},
	{"channel: a full queue", full},
	{"channel: time limits", time_limits},
	{"channel: a wait ended by a message", woken_by_message},
	{"channel: a wait ended by room", woken_by_room},
	{"channel: the partner's waits", wakes_partner},
	{"channel: one wait for several queues", one_wait},
	{0},
};
