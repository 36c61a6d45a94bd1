/* SPDX-License-Identifier: BSD-3-Clause */
/* Ends of queues, several senders, and mistakes. */
#include "channel.h"

#include <errno.h>
#include <string.h>

/* Expect the receiver to see the end once. */
static bool sees_end(struct conform *c, unsigned int name)
{
	int result = channel_receive_result(name, LONG_MS);

	if (result != IVS_CHANNEL_E_ENDED)
		conform_fail(c, "the receiver sees no end: %s", ivs_channel_strerror(result));
	else if (channel_receive_result(name, 0) != IVS_CHANNEL_E_TIMEOUT)
		conform_fail(c, "the end is reported again");
	else if (ivs_queue_peers(own.queues[name]))
		conform_fail(c, "%u senders", ivs_queue_peers(own.queues[name]));
	return !c->failed;
}

/* Wait until a sender sees that its receiver has ended. */
static bool is_ended(struct conform *c, unsigned int name)
{
	int64_t end = conform_now_ms() + LONG_MS;
	int result = 0;

	while (result != IVS_CHANNEL_E_ENDED && conform_now_ms() < end)
		result = ivs_queue_send(own.queues[name], "", 0, SHORT_MS);
	if (result != IVS_CHANNEL_E_ENDED)
		conform_fail(c, "the sender sees no end: %s", ivs_channel_strerror(result));
	else if (ivs_queue_flush(own.queues[name], 0) != IVS_CHANNEL_E_ENDED)
		conform_fail(c, "a flush sees no end");
	else if (ivs_queue_peers(own.queues[name]))
		conform_fail(c, "the sender still has a receiver");
	return !c->failed;
}

CHANNEL_CASE(sender_closes)
{
	EXPECT_OK(channel_receive_from(c, 0, 4));
	EXPECT_OK(channel_ask_send(c, 0, 0, 1));
	EXPECT_OK(channel_receive(c, 0, 0, 1));
	EXPECT_OK(channel_ask_send(c, 0, 1, 3));
	EXPECT_OK(ASK(c, ASK_QUEUE_CLOSE, {0, 0}));
	EXPECT_OK(channel_receive(c, 0, 1, 3));
	EXPECT_OK(sees_end(c, 0));
	EXPECT_OK(channel_ask_sender(c, 0, 0, 4));
	EXPECT_OK(channel_ask_send(c, 0, 7, 1));
	EXPECT_OK(channel_receive(c, 0, 7, 1));
}

CHANNEL_CASE(receiver_closes)
{
	EXPECT_OK(channel_send_to(c, 0, 4));
	EXPECT_OK(channel_send(c, 0, 0, 1));
	EXPECT_OK(channel_ask_receive(c, 0, 0, 1));
	EXPECT_OK(ASK(c, ASK_QUEUE_CLOSE, {0, 0}));
	EXPECT_OK(is_ended(c, 0));
	ivs_queue_close(own.queues[0]);
	own.queues[0] = NULL;
	EXPECT_OK(channel_send_to(c, 0, 4));
	EXPECT_OK(channel_send(c, 0, 5, 1));
	EXPECT_OK(channel_ask_receive(c, 0, 5, 1));
}

/* The end is noticed while this peer waits. */
CHANNEL_CASE(partner_leaves)
{
	int64_t start = conform_now_ms();

	EXPECT_OK(channel_receive_from(c, 0, 4));
	EXPECT_OK(channel_send_to(c, 1, 4));
	EXPECT_OK(channel_send(c, 1, 0, 1));
	EXPECT_OK(channel_ask_receive(c, 1, 0, 1));
	EXPECT_OK(channel_ask_send(c, 0, 0, 2));
	EXPECT_RESULT(c, channel_receive_result(0, LONG_MS), 0);
	ask_begin(c, &(const struct ask){ASK_CHANNELS_CLOSE, {0}});
	EXPECT_OK(channel_receive(c, 0, 1, 1));
	EXPECT_OK(sees_end(c, 0));
	EXPECT_OK(is_ended(c, 1));
	EXPECT_OK(ask_end(c));
	EXPECT(c, conform_now_ms() - start < SOON_MS, "it took %ld ms",
	       (long)(conform_now_ms() - start));
}

static void partner_dies_in_slot(struct conform *c)
{
	EXPECT_OK(channel_other_comes(c));
	EXPECT_RESULT(c, ivs_queue_open_receiver(own.channels, "queue 0", &own.queues[0]), 0);
	EXPECT_OK(channel_ask_sender(c, 1, 0, 4));
	ask_begin(c, &(const struct ask){ASK_SEND, {1, 0, 0, 2, LONG_MS}});
	EXPECT_OK(channel_receive(c, 0, 0, 1));
	EXPECT_OK(channel_end(c, 2));
	EXPECT_OK(ASK(c, ASK_LEAVE, {1}));
	/* Without a roster only the next holder of the section shows that this one is gone. */
	if (!can(c, IVS_CAP_ROSTER)) {
		EXPECT_OK(channel_receive(c, 0, 1, 1));
		EXPECT_RESULT(c, channel_receive_result(0, SHORT_MS), IVS_CHANNEL_E_TIMEOUT);
		EXPECT_OK(channel_other_comes(c));
	} else {
		EXPECT_OK(channel_receive(c, 0, 1, 1));
	}
	EXPECT_OK(sees_end(c, 0));
}

CHANNEL_CASE(partner_dies)
{
	partner_dies_in_slot(c);
	channel_other_leaves(c);
}

static void two_senders_and_slot(struct conform *c)
{
	EXPECT_OK(channel_receive_from(c, 0, 4));
	EXPECT_OK(channel_other_comes(c));
	EXPECT_OK(channel_ask_sender(c, 1, 0, 4));
	EXPECT_OK(channel_ask_send(c, 0, 0, 1));
	ask_begin(c, &(const struct ask){ASK_SEND, {1, 0, 0, 1, LONG_MS}});
	EXPECT_OK(channel_end(c, 1));
	EXPECT_OK(channel_receive(c, 0, 0, 1));
	EXPECT_RESULT(c, channel_receive_result(0, LONG_MS), 0);
	EXPECT(c, ivs_queue_peers(own.queues[0]) == 2, "%u senders",
	       ivs_queue_peers(own.queues[0]));
	EXPECT_OK(ASK(c, ASK_CHANNELS_CLOSE, {1}));
	EXPECT_RESULT(c, channel_receive_result(0, SHORT_MS), IVS_CHANNEL_E_TIMEOUT);
	EXPECT(c, ivs_queue_peers(own.queues[0]) == 1, "%u senders after one has left",
	       ivs_queue_peers(own.queues[0]));
}

CHANNEL_CASE(two_senders)
{
	two_senders_and_slot(c);
	channel_other_leaves(c);
}

CHANNEL_CASE(one_receiver)
{
	EXPECT_OK(channel_ask_receiver(c, 0, 0));
	EXPECT_RESULT(c, ivs_queue_open_receiver(own.channels, "queue 0", &own.queues[0]),
		      IVS_CHANNEL_E_BUSY);
	EXPECT_OK(ASK(c, ASK_QUEUE_CLOSE, {0, 0}));
	EXPECT_OK(channel_receive_from(c, 0, 4));
	EXPECT_OK(channel_ask_send(c, 0, 0, 1));
	EXPECT_OK(channel_receive(c, 0, 0, 1));
}

CHANNEL_CASE(mistakes)
{
	const struct ivs_queue_options longest = {2, IVS_CHANNEL_MESSAGE_MAX + 1};
	const struct ivs_queue_options large = {2, 1 << 20};
	static const char too_long_name[] = "1234567890123456789012345678901234567890";
	struct ivs_queue **queue = &own.queues[0];

	EXPECT_RESULT(c, ivs_queue_open_sender(own.channels, "", NULL, queue), IVS_CHANNEL_E_NAME);
	EXPECT_RESULT(c, ivs_queue_open_receiver(own.channels, too_long_name, queue),
		      IVS_CHANNEL_E_NAME);
	EXPECT_RESULT(c, ivs_queue_open_sender(own.channels, "q", &longest, queue),
		      IVS_CHANNEL_E_TOO_LONG);
	EXPECT_RESULT(c, ivs_queue_open_sender(own.channels, "q", &large, queue),
		      IVS_CHANNEL_E_FULL);
	EXPECT(c, !*queue, "a call that failed has stored a queue");
	EXPECT_RESULT(c, ivs_queue_open_sender(own.channels, "q", NULL, queue), 0);
}

/* Two peers with the same section see each other, and both stop. */
static void same_section(struct conform *c)
{
	struct ivs_channels *former;
	struct ivs_error err;

	channel_clear(c);
	EXPECT_RESULT(c, channel_open(c, &err), 0);
	former = own.channels;
	EXPECT_RESULT(c, channel_open(c, &err), 0);
	if (ivs_channels_wait(former, 0) != IVS_CHANNEL_E_SECTION ||
	    ivs_channels_wait(own.channels, 0) != IVS_CHANNEL_E_SECTION)
		conform_fail(c, "one of two peers with the same section goes on");
	ivs_channels_close(former);
	channel_close();
}

static void stopped(struct conform *c)
{
	struct ivs_error err;

	channel_clear(c);
	EXPECT_RESULT(c, channel_open(c, &err), 0);
	EXPECT_RESULT(c, ivs_queue_open_receiver(own.channels, "q", &own.queues[0]), 0);
	ivs_peer_stop(c->peer);
	EXPECT_CHANNEL(c, channel_receive_result(0, LONG_MS), IVS_CHANNEL_E_PEER);
	EXPECT_CHANNEL(c, channel_receive_result(0, -1), IVS_CHANNEL_E_PEER);
	channel_close();
	conform_close(c);
}

static void descriptions(struct conform *c)
{
	for (int i = 0; i <= IVS_CHANNEL_E_PEER; i++) {
		EXPECT(c, *ivs_channel_strerror(i), "result %d has no description", i);
		for (int j = 0; j < i; j++)
			EXPECT(c, strcmp(ivs_channel_strerror(i), ivs_channel_strerror(j)) != 0,
			       "results %d and %d have the same description", i, j);
	}
	EXPECT(c, ivs_channel_strerror(-ENOMEM) && ivs_channel_strerror(1000),
	       "an unknown result has no description");
}

const struct conform_case channel_end_cases[] = {
	{"channel: the sender closes the queue", sender_closes},
	{"channel: the receiver closes the queue", receiver_closes},
	{"channel: the partner leaves", partner_leaves},
	{"channel: another peer dies", partner_dies},
	{"channel: two senders", two_senders},
	{"channel: one receiver", one_receiver},
	{"channel: mistakes", mistakes},
	{"channel: two peers with one section", same_section},
	{"channel: the peer is stopped", stopped},
	{"channel: descriptions of results", descriptions},
	{0},
};
