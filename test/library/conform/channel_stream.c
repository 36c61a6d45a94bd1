/* SPDX-License-Identifier: BSD-3-Clause */
/* Streams: listening, connecting, and bytes in both directions. */
#include "channel.h"

#define MANY (40u << 10) /* bytes, many times the length of a buffer */

/* Expect the other side of a stream to be in the partner's section. */
static bool is_partners(struct conform *c, unsigned int stream)
{
	uint32_t section = ivs_stream_section(own.streams[stream]);
	uint32_t wanted = c->partner < 0 ? PARTNER_SECTION : (uint32_t)c->partner;

	if (section != wanted)
		conform_fail(c, "the other side has section %u instead of %u", section, wanted);
	return !c->failed;
}

/* A few bytes in both directions. */
static bool is_open(struct conform *c, unsigned int stream)
{
	return stream_write(c, stream, 0, 100) && stream_ask_read(c, 0, stream, 0, 100) &&
	       stream_ask_write(c, 0, stream, 200, 100) && stream_read(c, stream, 200, 100) &&
	       is_partners(c, stream);
}

CHANNEL_CASE(partner_connects)
{
	EXPECT_OK(stream_listen(c, 0));
	EXPECT_OK(stream_from(c, 0, 1));
	EXPECT(c, ivs_stream_is_connected(own.streams[1]), "the stream is not connected");
	EXPECT_OK(is_open(c, 1));
}

CHANNEL_CASE(partner_listens)
{
	EXPECT_OK(stream_ask_listen(c, 0, 0));
	EXPECT_OK(stream_to(c, 0, 1));
	EXPECT(c, ivs_stream_is_connected(own.streams[1]), "the stream is not connected");
	EXPECT_OK(is_open(c, 1));
}

/* Connecting waits for the listener. */
CHANNEL_CASE(any_order)
{
	int64_t start = conform_now_ms();

	ask_begin(c, &(const struct ask){ASK_LISTEN, {0, 0, halves(BUFFER_LEN, SHORT_MS)}});
	EXPECT_CHANNEL(c, stream_connect_result(0, 0, LONG_MS), 0);
	EXPECT_OK(channel_answer(c, 0));
	EXPECT_OK(stream_ask_accept(c, 0, 0, 0));
	EXPECT_OK(is_open(c, 0));
	ask_begin(c, &(const struct ask){ASK_CONNECT, {0, 1, 1, LONG_MS, BUFFER_LEN}});
	channel_pass_time();
	EXPECT_OK(stream_listen(c, 1));
	EXPECT_OK(stream_accept(c, 1, 1));
	EXPECT_OK(channel_answer(c, 0));
	EXPECT_OK(is_open(c, 1));
	EXPECT_OK(channel_was_woken(c, start));
}

/* Let the partner accept a stream that this peer has begun to connect. */
static bool becomes_connected(struct conform *c, unsigned int stream)
{
	int64_t end = conform_now_ms() + LONG_MS;

	ask_begin(c, &(const struct ask){ASK_ACCEPT, {0, stream, 0, LONG_MS}});
	while (!ivs_stream_is_connected(own.streams[stream])) {
		int result = ivs_channels_wait(own.channels, LONG_MS);

		if (result || conform_now_ms() > end) {
			conform_fail(c, "stream %u is not connected: %s", stream,
				     channel_result(result));
			return false;
		}
	}
	return channel_answer(c, 0);
}

/* A stream that is connected by a call that waits for it. */
CHANNEL_CASE(begin_connect)
{
	EXPECT_CHANNEL(c, stream_begin_connect(0, 0), 0);
	EXPECT(c, !ivs_stream_is_connected(own.streams[0]), "the stream is connected");
	EXPECT_CHANNEL(c, stream_read_result(0, 0), IVS_CHANNEL_E_TIMEOUT);
	EXPECT_CHANNEL(c, stream_write_result(0, SHORT_MS), IVS_CHANNEL_E_TIMEOUT);
	EXPECT_OK(stream_ask_listen(c, 0, 0));
	EXPECT_OK(becomes_connected(c, 0));
	EXPECT_OK(is_open(c, 0));
	EXPECT_CHANNEL(c, stream_begin_connect(1, 0), 0);
	ask_begin(c, &(const struct ask){ASK_ACCEPT, {0, 1, 0, LONG_MS}});
	EXPECT_OK(stream_write(c, 1, 0, 100)); /* waits for the connection */
	EXPECT_OK(channel_answer(c, 0));
	EXPECT_OK(stream_ask_read(c, 0, 1, 0, 100));
}

/* Streams that are ended before they are connected. */
CHANNEL_CASE(ended_early)
{
	EXPECT_CHANNEL(c, stream_begin_connect(0, 0), 0);
	stream_close(0);
	EXPECT_OK(stream_ask_listen(c, 0, 0));
	EXPECT_OK(ASK_EXPECT(c, IVS_CHANNEL_E_TIMEOUT, ASK_ACCEPT, {0, 0, 0, 0}));
	EXPECT_CHANNEL(c, stream_begin_connect(1, 0), 0);
	ivs_stream_shutdown(own.streams[1]);
	EXPECT_OK(becomes_connected(c, 1));
	EXPECT_OK(stream_ask_sees_end(c, 1, true));
	EXPECT_OK(stream_ask_write(c, 0, 1, 0, 100));
	EXPECT_OK(stream_read(c, 1, 0, 100));
	EXPECT_CHANNEL(c, stream_begin_connect(2, 0), 0);
	ivs_stream_abort(own.streams[2]);
	own.streams[2] = NULL;
	EXPECT_OK(ASK_EXPECT(c, IVS_CHANNEL_E_TIMEOUT, ASK_ACCEPT, {0, 2, 0, 0}));
}

CHANNEL_CASE(many_bytes)
{
	EXPECT_OK(stream_ask_listen(c, 0, 0));
	EXPECT_OK(stream_to(c, 0, 1));
	ask_begin(c, &(const struct ask){ASK_STREAM_READ, {0, 1, halves(1, 0), MANY, LONG_MS}});
	EXPECT_OK(stream_write(c, 1, 0, MANY));
	EXPECT_OK(channel_answer(c, 0));
	ask_begin(c, &(const struct ask){ASK_STREAM_WRITE, {0, 1, halves(1, 5), MANY, LONG_MS}});
	EXPECT_OK(stream_read(c, 1, 5, MANY));
	EXPECT_OK(channel_answer(c, 0));
}

static bool write_in_place(struct conform *c, unsigned int stream, size_t len)
{
	size_t n;

	for (size_t done = 0; done < len; done += n) {
		struct iovec parts[3];
		unsigned int parts_n = 3;
		int result = ivs_stream_reserve(own.streams[stream], parts, &parts_n, LONG_MS);

		if (result || !parts_n || parts_n > 3) {
			conform_fail(c, "reserving at %zu: %s, %u parts", done,
				     channel_result(result), parts_n);
			return false;
		}
		n = 0;
		for (unsigned int part = 0; part < parts_n; part++) {
			for (size_t i = 0; i < parts[part].iov_len && done + n < len; i++, n++)
				((uint8_t *)parts[part].iov_base)[i] = pattern_byte(stream,
										    done + n);
		}
		ivs_stream_commit(own.streams[stream], n);
	}
	return true;
}

/* Read in place, half of what is found at a time. */
static bool read_in_place(struct conform *c, unsigned int stream, size_t len)
{
	size_t n;

	for (size_t done = 0; done < len; done += n) {
		struct iovec parts[3];
		unsigned int parts_n = 3;
		int result = ivs_stream_peek(own.streams[stream], parts, &parts_n, LONG_MS);

		if (result || !parts_n || parts_n > 3) {
			conform_fail(c, "peeking at %zu: %s, %u parts", done,
				     channel_result(result), parts_n);
			return false;
		}
		n = 0;
		for (unsigned int part = 0; part < parts_n; part++) {
			for (size_t i = 0; i < parts[part].iov_len; i++, n++) {
				if (((const uint8_t *)parts[part].iov_base)[i] !=
				    pattern_byte(stream, done + n))
					conform_fail(c, "byte %zu is wrong", done + n);
			}
		}
		n = (n + 1) / 2;
		result = ivs_stream_release(own.streams[stream], n);
		if (result)
			conform_fail(c, "releasing at %zu: %s", done, channel_result(result));
		if (c->failed)
			return false;
	}
	return true;
}

CHANNEL_CASE(in_place)
{
	EXPECT_OK(stream_ask_listen(c, 0, 0));
	EXPECT_OK(stream_to(c, 0, 1));
	ask_begin(c, &(const struct ask){ASK_STREAM_READ, {0, 1, halves(1, 0), MANY, LONG_MS}});
	EXPECT_OK(write_in_place(c, 1, MANY));
	EXPECT_OK(channel_answer(c, 0));
	ask_begin(c, &(const struct ask){ASK_STREAM_WRITE, {0, 1, halves(1, 0), MANY, LONG_MS}});
	EXPECT_OK(read_in_place(c, 1, MANY));
	EXPECT_OK(channel_answer(c, 0));
}

/* Write what fits, and read what comes back. *idle: neither was possible. */
static bool pump(struct conform *c, size_t *written, size_t *got, bool *idle)
{
	uint8_t bytes[500];
	size_t n = 0;
	int result = IVS_CHANNEL_E_TIMEOUT;

	*idle = true;
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = pattern_byte(1, *written + i);
	if (*written < MANY)
		result = ivs_stream_write(own.streams[1], bytes, sizeof(bytes), &n, 0);
	if (result && result != IVS_CHANNEL_E_TIMEOUT)
		conform_fail(c, "writing: %s", channel_result(result));
	*written += n;
	*idle &= result != 0;
	result = ivs_stream_read(own.streams[1], bytes, sizeof(bytes), &n, 0);
	if (result && result != IVS_CHANNEL_E_TIMEOUT)
		conform_fail(c, "reading: %s", channel_result(result));
	for (size_t i = 0; i < n; i++) {
		if (bytes[i] != pattern_byte(1, *got + i))
			conform_fail(c, "byte %zu is wrong", *got + i);
	}
	*got += n;
	*idle &= result != 0;
	return !c->failed;
}

/* Bytes in both directions at the same time, with one wait for both. */
CHANNEL_CASE(both_ways)
{
	size_t written = 0;
	size_t got = 0;
	bool idle;

	EXPECT_OK(stream_listen(c, 0));
	EXPECT_OK(stream_from(c, 0, 1));
	ask_begin(c, &(const struct ask){ASK_STREAM_ECHO, {0, 1, LONG_MS}});
	while (got < MANY) {
		EXPECT_OK(pump(c, &written, &got, &idle));
		if (idle)
			EXPECT_CHANNEL(c, ivs_channels_wait(own.channels, LONG_MS), 0);
	}
	ivs_stream_shutdown(own.streams[1]);
	while (got < written) {
		EXPECT_OK(stream_read(c, 1, got, written - got));
		got = written;
	}
	EXPECT_OK(stream_sees_end(c, 1, true));
	EXPECT_OK(channel_answer(c, 0));
	EXPECT(c, (size_t)ask_result(c, 1) == written && ask_result(c, 2) == 1,
	       "the partner has read %ld of %zu bytes", (long)ask_result(c, 1), written);
}

/* Several streams in both directions do not affect each other. */
CHANNEL_CASE(several)
{
	EXPECT_OK(stream_listen(c, 0));
	for (unsigned int i = 0; i < 3; i++)
		EXPECT_OK(stream_from(c, 0, i));
	stream_listener_close(0); /* those that were accepted continue */
	EXPECT_OK(stream_ask_listen(c, 0, 0));
	for (unsigned int i = 3; i < 6; i++)
		EXPECT_OK(stream_to(c, 0, i));
	EXPECT_OK(ASK_EXPECT(c, 0, ASK_LISTENER_CLOSE, {0, 0}));
	(void)stream_fill(c, 0);
	for (unsigned int i = 1; i < 6; i++)
		EXPECT_OK(stream_write(c, i, 0, 200 + i));
	for (unsigned int i = 5; i > 0; i--) {
		EXPECT_OK(stream_ask_write(c, 0, i, 9, 100 * i));
		EXPECT_OK(stream_ask_read(c, 0, i, 0, 200 + i));
	}
	stream_close(2);
	for (unsigned int i = 1; i < 6; i++) {
		if (i == 2)
			continue;
		EXPECT_OK(stream_read(c, i, 9, 100 * i));
		EXPECT_CHANNEL(c, stream_read_result(i, 0), IVS_CHANNEL_E_TIMEOUT);
	}
}

/* A buffer has at least the requested length. */
CHANNEL_CASE(full)
{
	size_t len;

	EXPECT_OK(stream_listen(c, 0));
	EXPECT_OK(stream_from(c, 0, 1));
	len = stream_fill(c, 1);
	EXPECT(c, len >= BUFFER_LEN, "%zu bytes fit", len);
	EXPECT_CHANNEL(c, ivs_stream_flush(own.streams[1], 0), IVS_CHANNEL_E_TIMEOUT);
	EXPECT_OK(stream_ask_read(c, 0, 1, 0, len));
	EXPECT_CHANNEL(c, ivs_stream_flush(own.streams[1], LONG_MS), 0);
	EXPECT_OK(!c->failed);
	len = stream_fill(c, 1);
	EXPECT(c, len >= BUFFER_LEN, "%zu bytes fit again", len);
}

CHANNEL_CASE(nothing_written)
{
	size_t n = 1;

	EXPECT_OK(stream_ask_listen(c, 0, 0));
	EXPECT_OK(stream_to(c, 0, 1));
	EXPECT_CHANNEL(c, ivs_stream_write(own.streams[1], NULL, 0, &n, LONG_MS), 0);
	EXPECT(c, !n, "%zu bytes were written", n);
	(void)stream_fill(c, 1);
	EXPECT_CHANNEL(c, ivs_stream_write(own.streams[1], NULL, 0, &n, 0), 0);
	EXPECT_OK(stream_ask_end(c, 0, 1, STREAM_SHUTDOWN));
	EXPECT_OK(stream_sees_end(c, 1, true));
	EXPECT_CHANNEL(c, ivs_stream_write(own.streams[1], NULL, 0, &n, 0), 0);
	EXPECT_OK(stream_ask_end(c, 0, 1, STREAM_CLOSE));
	EXPECT_OK(stream_is_ended(c, 1));
}

CHANNEL_CASE(time_limits)
{
	int64_t start = conform_now_ms();
	int64_t ms;

	EXPECT_OK(stream_listen(c, 0));
	for (int i = 0; i < 2; i++) {
		int limit = i ? SHORT_MS : 0;

		EXPECT_CHANNEL(c, ivs_stream_accept(own.listeners[0], &own.streams[0], limit),
			       IVS_CHANNEL_E_TIMEOUT);
		EXPECT_CHANNEL(c, stream_connect_result(1, 1, limit), IVS_CHANNEL_E_TIMEOUT);
	}
	EXPECT(c, !own.streams[0] && !own.streams[1], "a call that failed has stored a stream");
	EXPECT_OK(stream_from(c, 0, 0));
	(void)stream_fill(c, 0);
	for (int i = 0; i < 2; i++) {
		int limit = i ? SHORT_MS : 0;

		EXPECT_CHANNEL(c, stream_read_result(0, limit), IVS_CHANNEL_E_TIMEOUT);
		EXPECT_CHANNEL(c, stream_write_result(0, limit), IVS_CHANNEL_E_TIMEOUT);
		EXPECT_CHANNEL(c, ivs_stream_flush(own.streams[0], limit), IVS_CHANNEL_E_TIMEOUT);
	}
	ms = conform_now_ms() - start;
	EXPECT(c, ms >= 5 * SHORT_MS && ms < 5 * SHORT_MS + SOON_MS, "%ld ms", (long)ms);
}

CHANNEL_CASE(woken)
{
	int64_t start = conform_now_ms();
	size_t len;

	EXPECT_OK(stream_listen(c, 0));
	ask_begin(c, &(const struct ask){ASK_CONNECT,
					 {0, 1, 0, halves(LONG_MS, SHORT_MS), BUFFER_LEN}});
	EXPECT_OK(stream_accept(c, 1, 0));
	EXPECT_OK(channel_answer(c, 0));
	for (unsigned int i = 0; i < 3; i++) {
		ask_begin(c,
			  &(const struct ask){ASK_STREAM_WRITE,
					      {0, 1, halves(1, i), 1, halves(LONG_MS, SHORT_MS)}});
		EXPECT_OK(stream_read(c, 1, i, 1));
		EXPECT_OK(channel_answer(c, 0));
	}
	len = stream_fill(c, 1);
	ask_begin(c, &(const struct ask){ASK_STREAM_READ,
					 {0, 1, halves(1, 0), len, halves(LONG_MS, SHORT_MS)}});
	EXPECT_OK(stream_write(c, 1, len, 1));
	EXPECT_OK(channel_answer(c, 0));
	ask_begin(c, &(const struct ask){
			     ASK_STREAM_READ,
			     {0, 1, halves(1, (uint32_t)len), 1, halves(LONG_MS, SHORT_MS)}});
	EXPECT_CHANNEL(c, ivs_stream_flush(own.streams[1], LONG_MS), 0);
	EXPECT_OK(channel_answer(c, 0));
	EXPECT_OK(channel_was_woken(c, start));
}

CHANNEL_CASE(wakes_partner)
{
	int64_t start = conform_now_ms();

	EXPECT_OK(stream_ask_listen(c, 0, 0));
	ask_begin(c, &(const struct ask){ASK_ACCEPT, {0, 1, 0, LONG_MS}});
	channel_pass_time();
	EXPECT_CHANNEL(c, stream_connect_result(1, 0, LONG_MS), 0);
	EXPECT_OK(channel_answer(c, 0));
	ask_begin(c, &(const struct ask){ASK_STREAM_READ, {0, 1, halves(1, 0), 1, LONG_MS}});
	channel_pass_time();
	EXPECT_OK(stream_write(c, 1, 0, 1));
	EXPECT_OK(channel_answer(c, 0));
	ask_begin(c, &(const struct ask){ASK_STREAM_WRITE,
					 {0, 1, halves(1, 0), 4 * BUFFER_LEN, LONG_MS}});
	channel_pass_time();
	EXPECT_OK(stream_read(c, 1, 0, 4 * BUFFER_LEN));
	EXPECT_OK(channel_answer(c, 0));
	EXPECT_OK(channel_was_woken(c, start));
}

/* Return: the result of a wait that does not wait. */
static int wait_result(void)
{
	int ms;
	int result = ivs_channels_begin_wait(own.channels, &ms);
	int ended = ivs_channels_end_wait(own.channels);

	return ended ? ended : result;
}

/* Bytes that this side does not want to read do not end a wait. */
CHANNEL_CASE(set_reading)
{
	EXPECT_OK(stream_ask_listen(c, 0, 0));
	EXPECT_OK(stream_to(c, 0, 1));
	EXPECT_CHANNEL(c, wait_result(), IVS_CHANNEL_E_TIMEOUT);
	EXPECT_OK(stream_ask_write(c, 0, 1, 0, 2));
	EXPECT_CHANNEL(c, wait_result(), 0);
	ivs_stream_set_reading(own.streams[1], false);
	EXPECT_CHANNEL(c, wait_result(), IVS_CHANNEL_E_TIMEOUT);
	EXPECT_OK(stream_read(c, 1, 0, 1)); /* reading is possible */
	EXPECT_CHANNEL(c, wait_result(), IVS_CHANNEL_E_TIMEOUT);
	ivs_stream_set_reading(own.streams[1], true);
	EXPECT_CHANNEL(c, wait_result(), 0);
	EXPECT_OK(stream_read(c, 1, 1, 1));
	EXPECT_CHANNEL(c, wait_result(), IVS_CHANNEL_E_TIMEOUT);
	EXPECT_OK(stream_ask_end(c, 0, 1, STREAM_SHUTDOWN));
	EXPECT_OK(stream_sees_end(c, 1, true));
	EXPECT_CHANNEL(c, wait_result(), 0); /* the end continues to be reported */
	ivs_stream_set_reading(own.streams[1], false);
	EXPECT_CHANNEL(c, wait_result(), IVS_CHANNEL_E_TIMEOUT);
}

const struct conform_case channel_stream_cases[] = {
	{"stream: the partner connects", partner_connects},
	{"stream: the partner listens", partner_listens},
	{"stream: connecting before the other side listens", any_order},
	{"stream: connected without waiting", begin_connect},
	{"stream: ended before it is connected", ended_early},
	{"stream: many bytes", many_bytes},
	{"stream: bytes in place", in_place},
	{"stream: bytes in both directions at the same time", both_ways},
	{"stream: several streams", several},
	{"stream: a full buffer", full},
	{"stream: nothing is written", nothing_written},
	{"stream: time limits", time_limits},
	{"stream: waits ended by a connection, bytes and room", woken},
	{"stream: the partner's waits", wakes_partner},
	{"stream: bytes that are not wanted", set_reading},
	{0},
};
