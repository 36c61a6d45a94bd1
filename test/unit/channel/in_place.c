/* SPDX-License-Identifier: BSD-3-Clause */
/* Tests of bytes of a stream that are written and read in place, and of a side that leaves then. */
#include <criterion/criterion.h>
#include <string.h>

#include "channel/shared.h"
#include "channel/stream.h"
#include "support/c/channel_pair.h"

#define BUFFER_LEN 1600 /* 16 slots of 100 bytes */
#define TRIES 10

static struct test_channels all;
static struct ivs_stream_listener *listener;
static struct ivs_stream *client;
static struct ivs_stream *server;
static uint64_t leaves_at; /* client's peer leaves when so many messages have been released */

static uint64_t released(void)
{
	void *section = ivs_channels_own(all.channels[1]);

	return ivs_shared_load(ivs_section_endpoint(section, server->inlet.index) +
			       IVS_ENDPOINT_POSITION);
}

/* The client's peer leaves as soon as everything has been read, and another takes its section. */
void ivs_shared_step(void)
{
	uint64_t at = leaves_at;

	leaves_at = 0;
	if (at && released() == at)
		test_channels_reopen(&all, 0);
	else
		leaves_at = at;
}

static void open_pair(void)
{
	const struct ivs_stream_options opts = {BUFFER_LEN};
	int result = IVS_CHANNEL_E_TIMEOUT;
	size_t n;

	all = test_channels_open(1u << 20, 2);
	cr_assert_eq(ivs_stream_listen(all.channels[1], "s", &opts, &listener), 0);
	cr_assert_eq(ivs_stream_begin_connect(all.channels[0], "s", &opts, &client), 0);
	for (unsigned int i = 0; i < TRIES && result; i++) {
		result = ivs_stream_accept(listener, &server, 0);
		(void)!ivs_stream_write(client, NULL, 0, &n, 0);
	}
	cr_assert_eq(result, 0);
	cr_assert(ivs_stream_is_connected(client));
}

static void close_pair(void)
{
	ivs_stream_close(client);
	ivs_stream_close(server);
	ivs_stream_listener_close(listener);
	test_channels_close(&all);
}

TestSuite(channel_in_place, .init = open_pair, .fini = close_pair);

static void write_in_place(const char *text)
{
	struct iovec part;
	unsigned int n = 1;

	cr_assert_eq(ivs_stream_reserve(client, &part, &n, 0), 0);
	cr_assert_eq(n, 1);
	cr_assert_leq(strlen(text), part.iov_len);
	memcpy(part.iov_base, text, strlen(text));
	ivs_stream_commit(client, strlen(text));
}

static void expect_in_place(const char *text, size_t used)
{
	struct iovec parts[8];
	unsigned int n = 8;

	cr_assert_eq(ivs_stream_peek(server, parts, &n, 0), 0);
	for (unsigned int i = 0; i < n; i++) {
		cr_assert_leq(parts[i].iov_len, strlen(text));
		cr_expect_arr_eq(parts[i].iov_base, text, parts[i].iov_len);
		text += parts[i].iov_len;
	}
	cr_expect_str_empty(text);
	cr_expect_eq(ivs_stream_release(server, used), 0);
}

Test(channel_in_place, bytes_are_the_same_either_way)
{
	char text[16] = "";
	size_t n;

	write_in_place("abcdef");
	write_in_place("gh");
	cr_assert_eq(ivs_stream_write(client, "ijk", 3, &n, 0), 0);
	expect_in_place("abcdefghijk", 0);
	expect_in_place("abcdefghijk", 4);
	expect_in_place("efghijk", 1);
	cr_assert_eq(ivs_stream_read(server, text, 2, &n, 0), 0);
	cr_expect_eq(n, 2);
	cr_expect_str_eq(text, "fg");
	expect_in_place("hijk", 2);
	expect_in_place("jk", 2);
	cr_expect_eq(ivs_stream_read(server, text, 2, &n, 0), IVS_CHANNEL_E_TIMEOUT);
}

Test(channel_in_place, memory_is_kept_until_bytes_are_committed)
{
	struct iovec first, again;
	unsigned int n = 1;

	cr_assert_eq(ivs_stream_reserve(client, &first, &n, 0), 0);
	cr_expect_geq(first.iov_len, BUFFER_LEN / 16);
	ivs_stream_commit(client, 0);
	cr_expect_eq(ivs_stream_peek(server, &again, &n, 0), IVS_CHANNEL_E_TIMEOUT);
	cr_assert_eq(ivs_stream_reserve(client, &again, &n, 0), 0);
	cr_expect_eq(again.iov_base, first.iov_base);
	ivs_stream_commit(client, first.iov_len);
	cr_assert_eq(ivs_stream_reserve(client, &again, &n, 0), 0);
	cr_expect_neq(again.iov_base, first.iov_base);
}

Test(channel_in_place, bytes_cross_parts)
{
	struct iovec parts[20];
	unsigned int n = 20;
	size_t len;

	cr_assert_eq(ivs_stream_reserve(client, parts, &n, 0), 0);
	cr_assert_eq(n, 16);
	for (unsigned int i = 0; i < n; i++)
		memset(parts[i].iov_base, (int)i, parts[i].iov_len);
	len = parts[0].iov_len;
	ivs_stream_commit(client, 2 * len + 5);
	n = 20;
	cr_assert_eq(ivs_stream_peek(server, parts, &n, 0), 0);
	cr_assert_eq(n, 3);
	cr_expect(parts[0].iov_len == len && parts[1].iov_len == len && parts[2].iov_len == 5);
	cr_expect_eq(ivs_stream_release(server, len + 1), 0);
	n = 20;
	cr_assert_eq(ivs_stream_peek(server, parts, &n, 0), 0);
	cr_assert_eq(n, 2);
	cr_expect_eq(parts[0].iov_len, len - 1);
	cr_expect_eq(*(const uint8_t *)parts[1].iov_base, 2);
	cr_expect_eq(ivs_stream_release(server, len - 1 + 5), 0);
	cr_expect_eq(ivs_stream_peek(server, parts, &n, 0), IVS_CHANNEL_E_TIMEOUT);
}

Test(channel_in_place, full_buffer_and_ends)
{
	struct iovec part;
	unsigned int n = 1;
	int result;

	while (!(result = ivs_stream_reserve(client, &part, &n, 0)))
		ivs_stream_commit(client, 1);
	cr_expect_eq(result, IVS_CHANNEL_E_TIMEOUT);
	ivs_stream_shutdown(client);
	cr_expect_eq(ivs_stream_reserve(client, &part, &n, 0), IVS_CHANNEL_E_ENDED);
	ivs_stream_commit(client, 1);
	for (unsigned int i = 0; i < 16; i++) {
		cr_assert_eq(ivs_stream_peek(server, &part, &n, 0), 0);
		cr_expect_eq(ivs_stream_release(server, part.iov_len), 0);
	}
	cr_expect_eq(ivs_stream_peek(server, &part, &n, 0), IVS_CHANNEL_E_ENDED);
	cr_expect(ivs_stream_is_complete(server));
}

Test(channel_in_place, release_tells_that_the_memory_was_another_peers)
{
	struct iovec part;
	unsigned int n = 1;

	write_in_place("abc");
	cr_assert_eq(ivs_stream_peek(server, &part, &n, 0), 0);
	test_channels_reopen(&all, 0);
	cr_expect_eq(ivs_stream_release(server, 1), IVS_CHANNEL_E_ENDED);
	cr_expect_eq(ivs_stream_peek(server, &part, &n, 0), IVS_CHANNEL_E_ENDED);
	cr_expect_not(ivs_stream_is_complete(server));
}

/* A program may have to wait for the target of the bytes for a long time. */
Test(channel_in_place, bytes_of_another_peer_are_not_found)
{
	struct iovec part;
	unsigned int n = 1;

	write_in_place("abc");
	cr_assert_eq(ivs_stream_peek(server, &part, &n, 0), 0);
	test_channels_reopen(&all, 0);
	cr_expect_eq(ivs_stream_peek(server, &part, &n, 0), IVS_CHANNEL_E_ENDED);
}

Test(channel_in_place, stream_that_is_not_connected_has_no_bytes)
{
	struct ivs_stream *stream;
	struct iovec part;
	unsigned int n = 1;

	cr_assert_eq(ivs_stream_begin_connect(all.channels[0], "t", NULL, &stream), 0);
	cr_expect_eq(ivs_stream_peek(stream, &part, &n, 0), IVS_CHANNEL_E_TIMEOUT);
	cr_expect_eq(ivs_stream_reserve(stream, &part, &n, 0), IVS_CHANNEL_E_TIMEOUT);
	cr_expect_eq(ivs_stream_release(stream, 0), 0);
	cr_expect_eq(ivs_stream_release(stream, 1), IVS_CHANNEL_E_BROKEN);
	ivs_stream_close(stream);
}

/* ivs_stream_flush() promises that a peer may leave then. */
Test(channel_in_place, bytes_that_were_read_are_not_lost_with_their_writer)
{
	char text[16] = "";
	size_t n;

	write_in_place("abc");
	write_in_place("def");
	leaves_at = 2;
	cr_expect_eq(ivs_stream_read(server, text, 6, &n, 0), 0);
	cr_expect_eq(leaves_at, 0);
	cr_expect_str_eq(text, "abcdef");
}
