/* SPDX-License-Identifier: BSD-3-Clause */
/* Ends of streams and listeners, and mistakes. */
#include "channel.h"

#define UNCLOSED_MAX 16 /* streams of a peer that were closed at the other side only */

/* One direction ends, and the other continues. */
CHANNEL_CASE(half_closed)
{
	EXPECT_OK(stream_listen(c, 0));
	EXPECT_OK(stream_from(c, 0, 1));
	EXPECT_OK(stream_write(c, 1, 0, 300));
	ivs_stream_shutdown(own.streams[1]);
	EXPECT_CHANNEL(c, stream_write_result(1, 0), IVS_CHANNEL_E_ENDED);
	EXPECT_OK(stream_ask_read(c, 0, 1, 0, 300));
	EXPECT_OK(stream_ask_sees_end(c, 1, true));
	EXPECT(c, !ivs_stream_is_complete(own.streams[1]), "an end was seen too early");
	EXPECT_OK(stream_ask_write(c, 0, 1, 0, 500));
	EXPECT_OK(stream_ask_end(c, 0, 1, STREAM_SHUTDOWN));
	EXPECT(c, !ivs_stream_is_complete(own.streams[1]), "the end was seen before the bytes");
	EXPECT_OK(stream_read(c, 1, 0, 500));
	EXPECT_OK(stream_sees_end(c, 1, true));
}

/* The partner's shutdown first; then this side can still write. */
CHANNEL_CASE(partner_half_closes)
{
	EXPECT_OK(stream_ask_listen(c, 0, 0));
	EXPECT_OK(stream_to(c, 0, 1));
	EXPECT_OK(stream_ask_end(c, 0, 1, STREAM_SHUTDOWN));
	EXPECT_OK(stream_sees_end(c, 1, true));
	EXPECT_OK(stream_write(c, 1, 0, 300));
	EXPECT_OK(stream_ask_read(c, 0, 1, 0, 300));
	stream_close(1);
	EXPECT_OK(stream_ask_sees_end(c, 1, false));
}

/* What was written can still be read. */
CHANNEL_CASE(partner_closes)
{
	EXPECT_OK(stream_listen(c, 0));
	EXPECT_OK(stream_from(c, 0, 1));
	EXPECT_OK(stream_ask_write(c, 0, 1, 0, 300));
	EXPECT_OK(stream_ask_end(c, 0, 1, STREAM_CLOSE));
	EXPECT_OK(stream_is_ended(c, 1));
	EXPECT_OK(stream_read(c, 1, 0, 300));
	EXPECT_OK(stream_sees_end(c, 1, false));
	EXPECT_OK(stream_from(c, 0, 2));
	EXPECT_OK(stream_ask_write(c, 0, 2, 0, 300));
	EXPECT_OK(stream_ask_end(c, 0, 2, STREAM_SHUTDOWN));
	EXPECT_OK(stream_ask_end(c, 0, 2, STREAM_CLOSE));
	EXPECT_OK(stream_read(c, 2, 0, 300));
	EXPECT_OK(stream_sees_end(c, 2, true));
	EXPECT_OK(stream_is_ended(c, 2));
}

CHANNEL_CASE(this_peer_closes)
{
	EXPECT_OK(stream_ask_listen(c, 0, 0));
	EXPECT_OK(stream_to(c, 0, 1));
	EXPECT_OK(stream_write(c, 1, 0, 300));
	stream_close(1);
	EXPECT_OK(stream_ask_read(c, 0, 1, 0, 300));
	EXPECT_OK(stream_ask_sees_end(c, 1, false));
	/* The end is noticed when the buffer is full, at the latest. */
	EXPECT_OK(ASK_EXPECT(c, IVS_CHANNEL_E_ENDED, ASK_STREAM_WRITE,
			     {0, 1, halves(1, 0), 2 * BUFFER_LEN, LONG_MS}));
	ivs_stream_close(NULL);
	ivs_stream_abort(NULL);
}

CHANNEL_CASE(aborted)
{
	EXPECT_OK(stream_ask_listen(c, 0, 0));
	EXPECT_OK(stream_to(c, 0, 1));
	EXPECT_OK(stream_ask_end(c, 0, 1, STREAM_ABORT));
	EXPECT_OK(stream_sees_end(c, 1, false));
	EXPECT_OK(stream_is_ended(c, 1));
	EXPECT_OK(stream_to(c, 0, 2));
	ivs_stream_abort(own.streams[2]);
	own.streams[2] = NULL;
	EXPECT_OK(stream_ask_sees_end(c, 2, false));
}

/* The ends are noticed while this peer waits. */
CHANNEL_CASE(partner_leaves)
{
	int64_t start = conform_now_ms();

	EXPECT_OK(stream_listen(c, 0));
	EXPECT_OK(stream_from(c, 0, 1));
	EXPECT_OK(stream_from(c, 0, 2));
	(void)stream_fill(c, 2);
	EXPECT_OK(stream_ask_write(c, 0, 1, 0, 300));
	ask_begin(c, &(const struct ask){ASK_CHANNELS_CLOSE, {0}});
	EXPECT_OK(stream_read(c, 1, 0, 300));
	EXPECT_OK(stream_sees_end(c, 1, false));
	EXPECT_CHANNEL(c, stream_write_result(2, LONG_MS), IVS_CHANNEL_E_ENDED);
	EXPECT_OK(stream_is_ended(c, 1));
	EXPECT_OK(ask_end(c));
	EXPECT_OK(channel_was_woken(c, start));
}

static void partner_dies_in_slot(struct conform *c)
{
	EXPECT_OK(channel_other_comes(c));
	EXPECT_OK(stream_ask_listen(c, 1, 0));
	EXPECT_OK(stream_to(c, 1, 1));
	EXPECT_OK(stream_ask_write(c, 1, 1, 0, 300));
	EXPECT_OK(stream_read(c, 1, 0, 200));
	EXPECT_OK(channel_other_dies(c));
	/* Without a roster, another peer has taken the section, and the bytes may be lost. */
	if (can(c, IVS_CAP_ROSTER))
		EXPECT_OK(stream_read(c, 1, 200, 100));
	EXPECT_OK(stream_sees_end(c, 1, false));
	EXPECT_OK(stream_is_ended(c, 1));
	/* This side had written nothing that was not read. */
	EXPECT_CHANNEL(c, ivs_stream_flush(own.streams[1], 0), 0);
}

CHANNEL_CASE(partner_dies)
{
	partner_dies_in_slot(c);
	channel_other_leaves(c);
}

static void unaccepted_in_slot(struct conform *c)
{
	EXPECT_OK(channel_other_comes(c));
	EXPECT_OK(stream_ask_listen(c, 1, 0));
	EXPECT_CHANNEL(c, stream_connect_result(1, 0, LONG_MS), 0);
	EXPECT_OK(channel_other_dies(c));
	EXPECT_OK(stream_sees_end(c, 1, false));
	EXPECT_OK(stream_is_ended(c, 1));
	EXPECT_CHANNEL(c, stream_begin_connect(2, 0), 0);
	EXPECT_CHANNEL(c, stream_read_result(2, 0), IVS_CHANNEL_E_TIMEOUT);
	EXPECT_OK(stream_ask_listen(c, 0, 0));
	ask_begin(c, &(const struct ask){ASK_ACCEPT, {0, 2, 0, LONG_MS}});
	EXPECT_OK(stream_write(c, 2, 0, 100)); /* waits for the connection */
	EXPECT_OK(channel_answer(c, 0));
	EXPECT_OK(stream_ask_read(c, 0, 2, 0, 100));
}

/* A listener dies that has offered a stream; its successor accepts the next one. */
CHANNEL_CASE(listener_dies)
{
	unaccepted_in_slot(c);
	channel_other_leaves(c);
}

/* A stream that was offered, but not accepted, ends with the listener. */
CHANNEL_CASE(listener_closes)
{
	EXPECT_OK(stream_ask_listen(c, 0, 0));
	EXPECT_CHANNEL(c, stream_connect_result(1, 0, LONG_MS), 0);
	EXPECT_OK(ASK_EXPECT(c, 0, ASK_LISTENER_CLOSE, {0, 0}));
	EXPECT_OK(stream_sees_end(c, 1, false));
	EXPECT_OK(stream_is_ended(c, 1));
	EXPECT_CHANNEL(c, stream_connect_result(2, 0, SHORT_MS), IVS_CHANNEL_E_TIMEOUT);
	EXPECT_OK(stream_ask_listen(c, 0, 0));
	EXPECT_OK(stream_to(c, 0, 2));
	EXPECT_OK(stream_write(c, 2, 0, 100));
	EXPECT_OK(stream_ask_read(c, 0, 2, 0, 100));
}

CHANNEL_CASE(one_listener)
{
	EXPECT_OK(stream_ask_listen(c, 0, 0));
	EXPECT_CHANNEL(c, ivs_stream_listen(own.channels, "stream 0", NULL, &own.listeners[0]),
		       IVS_CHANNEL_E_BUSY);
	EXPECT(c, !own.listeners[0], "a call that failed has stored a listener");
	EXPECT_OK(stream_listen(c, 1)); /* another name */
	EXPECT_OK(ASK_EXPECT(c, IVS_CHANNEL_E_BUSY, ASK_LISTEN, {0, 1, BUFFER_LEN}));
	EXPECT_OK(ASK_EXPECT(c, 0, ASK_LISTENER_CLOSE, {0, 0}));
	EXPECT_OK(stream_listen(c, 0));
	EXPECT_OK(stream_from(c, 0, 1));
}

/* A peer that closes none of its streams can connect only a few times. */
CHANNEL_CASE(unclosed)
{
	EXPECT_CHANNEL(c,
		       ivs_stream_listen(own.channels, "stream 0",
					 &(const struct ivs_stream_options){64}, &own.listeners[0]),
		       0);
	for (unsigned int i = 0; i < UNCLOSED_MAX; i++) {
		ask_begin(c, &(const struct ask){ASK_CONNECT, {0, i, 0, LONG_MS, 64}});
		EXPECT_OK(stream_accept(c, i, 0));
		EXPECT_OK(channel_answer(c, 0));
		stream_close(i);
	}
	ask_begin(c, &(const struct ask){ASK_CONNECT, {0, UNCLOSED_MAX, 0, SHORT_MS, 64}});
	EXPECT_CHANNEL(c, ivs_stream_accept(own.listeners[0], &own.streams[0], 2 * SHORT_MS),
		       IVS_CHANNEL_E_TIMEOUT);
	EXPECT_OK(channel_answer(c, IVS_CHANNEL_E_TIMEOUT));
	EXPECT_OK(stream_ask_end(c, 0, 3, STREAM_CLOSE));
	ask_begin(c, &(const struct ask){ASK_CONNECT, {0, 3, 0, LONG_MS, 64}});
	EXPECT_OK(stream_accept(c, 3, 0));
	EXPECT_OK(channel_answer(c, 0));
	EXPECT_OK(stream_write(c, 3, 0, 100));
	EXPECT_OK(stream_ask_read(c, 0, 3, 0, 100));
}

CHANNEL_CASE(mistakes)
{
	static const char too_long_name[] = "1234567890123456789012345678901234567890";
	const struct ivs_stream_options large = {MIB};
	struct ivs_stream **stream = &own.streams[0];

	EXPECT_CHANNEL(c, ivs_stream_listen(own.channels, "", NULL, &own.listeners[0]),
		       IVS_CHANNEL_E_NAME);
	EXPECT_CHANNEL(c, ivs_stream_connect(own.channels, too_long_name, NULL, stream, LONG_MS),
		       IVS_CHANNEL_E_NAME);
	EXPECT_CHANNEL(c, ivs_stream_begin_connect(own.channels, "a\tb", NULL, stream),
		       IVS_CHANNEL_E_NAME);
	EXPECT_CHANNEL(c, ivs_stream_connect(own.channels, "s", &large, stream, LONG_MS),
		       IVS_CHANNEL_E_FULL);
	EXPECT_CHANNEL(c, ivs_stream_begin_connect(own.channels, "s", &large, stream),
		       IVS_CHANNEL_E_FULL);
	EXPECT(c, !own.listeners[0] && !*stream, "a call that failed has stored something");
	ivs_stream_listener_close(NULL);
}

const struct conform_case channel_stream_end_cases[] = {
	{"stream: one direction ends", half_closed},
	{"stream: the partner's direction ends", partner_half_closes},
	{"stream: the partner closes the stream", partner_closes},
	{"stream: this peer closes the stream", this_peer_closes},
	{"stream: a stream is aborted", aborted},
	{"stream: the partner leaves", partner_leaves},
	{"stream: another peer dies", partner_dies},
	{"stream: a listener dies", listener_dies},
	{"stream: the listener is closed", listener_closes},
	{"stream: one listener", one_listener},
	{"stream: streams that the other side does not close", unclosed},
	{"stream: mistakes", mistakes},
	{0},
};
