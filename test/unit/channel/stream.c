/* SPDX-License-Identifier: BSD-3-Clause */
/* Tests of streams between peers in a plain region: bytes, ends, limits. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "channel/channels.h"
#include "channel/shared.h"
#include "channel/stream.h"
#include "channel/wait.h"
#include "support/c/channel_pair.h"

#define REGION_LEN (1u << 20)

static struct test_channels all;
static struct ivs_stream_listener *listener;
static struct ivs_stream *client;
static struct ivs_stream *server;

static unsigned int ahead_s; /* how far the library's clocks are ahead */

int clock_gettime(clockid_t id, struct timespec *out)
{
	int result = (int)syscall(SYS_clock_gettime, id, out);

	out->tv_sec += ahead_s;
	return result;
}

static void open_all(void)
{
	all = test_channels_open(REGION_LEN, 3);
	listener = NULL;
	client = server = NULL;
}

static void close_all(void)
{
	ivs_stream_close(client);
	ivs_stream_close(server);
	ivs_stream_listener_close(listener);
	test_channels_close(&all);
}

TestSuite(channel_stream, .init = open_all, .fini = close_all);

struct connecting {
	const char *name;
	struct ivs_stream_options opts;
	int result;
};

static void *run_connect(void *argument)
{
	struct connecting *connecting = argument;

	connecting->result = ivs_stream_connect(all.channels[0], connecting->name,
						&connecting->opts, &client, 10000);
	return NULL;
}

/* Connect peer 0 to peer 1. Connecting waits for the other side, so it needs a thread. */
static void open_pair(size_t buffer_len)
{
	struct connecting connecting = {"s", {buffer_len}, -1};
	const struct ivs_stream_options opts = {buffer_len};
	pthread_t thread;

	cr_assert_eq(ivs_stream_listen(all.channels[1], "s", &opts, &listener), 0);
	cr_assert_eq(pthread_create(&thread, NULL, run_connect, &connecting), 0);
	cr_assert_eq(ivs_stream_accept(listener, &server, 10000), 0);
	pthread_join(thread, NULL);
	cr_assert_eq(connecting.result, 0, "%s", ivs_channel_strerror(connecting.result));
}

static void write_text(struct ivs_stream *stream, const char *text)
{
	size_t written;

	cr_assert_eq(ivs_stream_write(stream, text, strlen(text), &written, 0), 0);
	cr_assert_eq(written, strlen(text));
}

static void expect_text(struct ivs_stream *stream, const char *expected)
{
	char text[64] = "";
	size_t got;
	int result = ivs_stream_read(stream, text, sizeof(text) - 1, &got, 0);

	cr_assert_eq(result, 0, "%s", ivs_channel_strerror(result));
	cr_expect_str_eq(text, expected);
}

static int read_result(struct ivs_stream *stream)
{
	char byte;
	size_t got;
	int result = ivs_stream_read(stream, &byte, 1, &got, 0);

	cr_expect_eq(got, !result);
	return result;
}

static int write_result(struct ivs_stream *stream)
{
	size_t written;
	int result = ivs_stream_write(stream, "x", 1, &written, 0);

	cr_expect_eq(written, !result);
	return result;
}

Test(channel_stream, bytes_go_both_ways)
{
	open_pair(0);
	cr_expect_eq(ivs_stream_section(client), 1);
	cr_expect_eq(ivs_stream_section(server), 0);
	write_text(client, "ask");
	write_text(client, "ing");
	expect_text(server, "asking");
	write_text(server, "answer");
	expect_text(client, "answer");
	cr_expect_eq(read_result(client), IVS_CHANNEL_E_TIMEOUT);
}

Test(channel_stream, all_bytes_arrive_in_order_for_all_lengths_of_writes_and_reads)
{
	static uint8_t out[4000];
	static uint8_t in[4000];
	size_t sent = 0;
	size_t got = 0;

	for (size_t i = 0; i < sizeof(out); i++)
		out[i] = (uint8_t)(i * i + i / 251);
	open_pair(900);
	for (size_t turn = 0; got < sizeof(out); turn++) {
		size_t want = sizeof(out) - sent < turn % 190 ? sizeof(out) - sent : turn % 190;
		size_t n;
		int result = ivs_stream_write(client, out + sent, want, &n, 0);

		cr_assert(!result || result == IVS_CHANNEL_E_TIMEOUT);
		sent += n;
		want = turn * 7 % 131;
		result = ivs_stream_read(server, in + got,
					 sizeof(in) - got < want ? sizeof(in) - got : want, &n, 0);
		cr_assert(!result || result == IVS_CHANNEL_E_TIMEOUT);
		got += n;
		cr_assert(got <= sent);
	}
	cr_expect(!memcmp(in, out, sizeof(out)));
}

Test(channel_stream, other_side_sees_the_end_after_a_shutdown_and_can_write)
{
	open_pair(0);
	write_text(client, "last");
	ivs_stream_shutdown(client);
	ivs_stream_shutdown(client);
	cr_expect_eq(write_result(client), IVS_CHANNEL_E_ENDED);
	expect_text(server, "last");
	cr_expect_eq(read_result(server), IVS_CHANNEL_E_ENDED);
	cr_expect_eq(read_result(server), IVS_CHANNEL_E_ENDED);
	write_text(server, "answer");
	ivs_stream_close(server);
	server = NULL;
	expect_text(client, "answer");
	cr_expect_eq(read_result(client), IVS_CHANNEL_E_ENDED);
}

Test(channel_stream, closed_stream_can_be_read_to_its_end)
{
	open_pair(0);
	write_text(client, "last");
	ivs_stream_close(client);
	client = NULL;
	expect_text(server, "last");
	cr_expect_eq(read_result(server), IVS_CHANNEL_E_ENDED);
	(void)write_result(server); /* the first one may notice the end */
	cr_expect_eq(write_result(server), IVS_CHANNEL_E_ENDED);
}

Test(channel_stream, end_that_was_intended_differs_from_others)
{
	open_pair(0);
	cr_expect_not(ivs_stream_is_complete(server));
	ivs_stream_shutdown(server);
	ivs_stream_shutdown(client);
	cr_expect_not(ivs_stream_is_complete(client), "the end has not been read");
	cr_expect_eq(read_result(client), IVS_CHANNEL_E_ENDED);
	cr_expect(ivs_stream_is_complete(client));
	ivs_stream_close(client);
	client = NULL;
	cr_expect_eq(read_result(server), IVS_CHANNEL_E_ENDED);
	cr_expect(ivs_stream_is_complete(server));
	ivs_stream_close(server);
	ivs_stream_listener_close(listener);
	open_pair(0);
	ivs_stream_close(client);
	client = NULL;
	cr_expect_eq(read_result(server), IVS_CHANNEL_E_ENDED);
	cr_expect_not(ivs_stream_is_complete(server));
	ivs_stream_close(server);
	server = NULL;
	ivs_stream_listener_close(listener);
	open_pair(0);
	all.channels[0] = NULL; /* as if the process had been killed */
	client = NULL;
	test_channels_reopen(&all, 0);
	cr_expect_eq(read_result(server), IVS_CHANNEL_E_ENDED);
	cr_expect_not(ivs_stream_is_complete(server));
}

Test(channel_stream, full_buffer_holds_what_was_requested)
{
	static uint8_t bytes[8000];
	size_t written;

	open_pair(5000);
	cr_assert_eq(ivs_stream_write(client, bytes, sizeof(bytes), &written, 0), 0);
	cr_expect_geq(written, 5000);
	cr_expect_lt(written, 8000);
	cr_expect_eq(write_result(client), IVS_CHANNEL_E_TIMEOUT);
}

/* The number of slots is a power of two, so their length must make up for it. */
Test(channel_stream, buffer_occupies_little_more_than_was_requested)
{
	static const size_t lens[] = {1 << 20, (1 << 20) + 1, 2000001, 3 << 20};

	test_channels_close(&all);
	all = test_channels_open(256 << 20, 3);
	for (size_t i = 0; i < sizeof(lens) / sizeof(*lens); i++) {
		const struct ivs_stream_options opts = {lens[i]};
		const struct ivs_lane_shape *shape;

		cr_assert_eq(ivs_stream_begin_connect(all.channels[0], "s", &opts, &client), 0);
		shape = &client->outlet.lane.shape;
		cr_expect_geq((uint64_t)shape->slots_n * (shape->slot_len - IVS_LANE_HEAD_LEN),
			      lens[i]);
		cr_expect_leq(ivs_lane_len(shape), lens[i] + lens[i] / 64, "%zu", lens[i]);
		ivs_stream_close(client);
		client = NULL;
	}
}

Test(channel_stream, connecting_without_a_listener_times_out_and_leaves_nothing)
{
	for (unsigned int i = 0; i < 100; i++)
		cr_assert_eq(ivs_stream_connect(all.channels[0], "s", NULL, &client, 1),
			     IVS_CHANNEL_E_TIMEOUT);
	cr_assert_eq(ivs_stream_listen(all.channels[1], "s", NULL, &listener), 0);
	cr_expect_eq(ivs_stream_accept(listener, &server, 1), IVS_CHANNEL_E_TIMEOUT);
}

/* Connect peer 0 to peer 1 without a thread: both sides only wait as in a loop with poll(2). */
static void begin_pair(void)
{
	const struct ivs_stream_options opts = {1000};
	int wait_ms;

	cr_assert_eq(ivs_stream_begin_connect(all.channels[0], "s", &opts, &client), 0);
	cr_expect_not(ivs_stream_is_connected(client));
	cr_expect_eq(read_result(client), IVS_CHANNEL_E_TIMEOUT);
	cr_expect_eq(write_result(client), IVS_CHANNEL_E_TIMEOUT);
	cr_expect_eq(ivs_channels_begin_wait(all.channels[0], &wait_ms), IVS_CHANNEL_E_TIMEOUT);
	cr_assert_eq(ivs_channels_end_wait(all.channels[0]), 0);
	cr_assert_eq(ivs_stream_listen(all.channels[1], "s", &opts, &listener), 0);
	cr_assert_eq(ivs_stream_accept(listener, &server, 0), IVS_CHANNEL_E_TIMEOUT);
}

/* Return: whether the channels of peer @i have something to report. */
static bool is_ready(unsigned int i)
{
	int wait_ms;
	int result = ivs_channels_begin_wait(all.channels[i], &wait_ms);

	cr_assert_eq(ivs_channels_end_wait(all.channels[i]), 0);
	return !result;
}

Test(channel_stream, begun_connection_ends_a_wait_when_the_listener_has_accepted)
{
	begin_pair();
	cr_expect(is_ready(0));
	cr_expect(ivs_stream_is_connected(client));
	cr_expect_not(is_ready(0), "the connection is reported once");
	cr_assert_eq(ivs_stream_accept(listener, &server, 0), 0);
	write_text(client, "ask");
	expect_text(server, "ask");
	write_text(server, "answer");
	cr_expect(is_ready(0));
	expect_text(client, "answer");
}

Test(channel_stream, read_that_connects_leaves_the_report_to_a_writer_that_waits)
{
	begin_pair();
	cr_expect_eq(read_result(client), IVS_CHANNEL_E_TIMEOUT);
	cr_expect(ivs_stream_is_connected(client));
	cr_expect(is_ready(0));
}

Test(channel_stream, wait_without_a_time_limit_offers_streams)
{
	cr_assert_eq(ivs_stream_listen(all.channels[1], "s", NULL, &listener), 0);
	cr_assert_eq(ivs_stream_begin_connect(all.channels[0], "s", NULL, &client), 0);
	cr_assert_eq(ivs_channels_wait(all.channels[1], 0), 0);
	cr_expect_eq(read_result(client), IVS_CHANNEL_E_TIMEOUT);
	cr_expect(ivs_stream_is_connected(client));
}

Test(channel_stream, write_after_the_other_side_has_closed_fails_at_once)
{
	open_pair(4096);
	write_text(client, "before");
	ivs_stream_close(server);
	server = NULL;
	cr_expect_eq(write_result(client), IVS_CHANNEL_E_ENDED);
}

/* Store a word of the first endpoint of peer 1 that has this role. */
static void overwrite(enum ivs_endpoint_role role, enum ivs_endpoint_word word, uint64_t value)
{
	struct ivs_endpoint_ref at = {0};
	struct ivs_endpoint_view view;
	uint64_t life;

	cr_assert(ivs_channels_find(all.channels[0], role, NULL, true, &at, &life, &view));
	ivs_section_endpoint(ivs_channels_own(all.channels[1]), at.index)[word] = value;
}

Test(channel_stream, listener_can_leave_before_it_has_an_acceptor)
{
	begin_pair();
	overwrite(IVS_ROLE_ACCEPTOR, IVS_ENDPOINT_TARGET, 0);
	cr_expect_eq(read_result(client), IVS_CHANNEL_E_TIMEOUT);
	overwrite(IVS_ROLE_READER, IVS_ENDPOINT_STATE, 0);
	cr_expect_eq(read_result(client), IVS_CHANNEL_E_ENDED);
	cr_expect_eq(write_result(client), IVS_CHANNEL_E_ENDED);
	cr_expect_not(ivs_stream_is_complete(client));
	cr_expect_eq(ivs_stream_section(client), 0);
}

Test(channel_stream, begun_connection_that_is_shut_first_can_still_be_accepted)
{
	const struct ivs_stream_options opts = {1000};

	cr_assert_eq(ivs_stream_begin_connect(all.channels[0], "s", &opts, &client), 0);
	ivs_stream_shutdown(client);
	cr_assert_eq(ivs_stream_listen(all.channels[1], "s", &opts, &listener), 0);
	cr_assert_eq(ivs_stream_accept(listener, &server, 0), IVS_CHANNEL_E_TIMEOUT);
	cr_expect_eq(read_result(client), IVS_CHANNEL_E_TIMEOUT);
	cr_assert_eq(ivs_stream_accept(listener, &server, 0), 0);
	cr_expect_eq(read_result(server), IVS_CHANNEL_E_ENDED);
	write_text(server, "answer");
	expect_text(client, "answer");
}

Test(channel_stream, bytes_that_are_not_wanted_do_not_end_a_wait)
{
	open_pair(0);
	ivs_stream_set_reading(client, false);
	write_text(server, "early");
	cr_expect_not(is_ready(0));
	ivs_stream_set_reading(client, true);
	cr_expect(is_ready(0));
	expect_text(client, "early");
	ivs_stream_shutdown(server);
	cr_expect_eq(read_result(client), IVS_CHANNEL_E_ENDED);
	ivs_stream_set_reading(client, false);
	cr_expect_not(is_ready(0));
}

Test(channel_stream, writing_nothing_tells_whether_the_other_side_reads)
{
	size_t written;

	open_pair(0);
	ivs_stream_shutdown(server);
	cr_expect_eq(ivs_stream_write(client, NULL, 0, &written, 0), 0);
	ivs_stream_close(server);
	server = NULL;
	cr_expect_eq(ivs_stream_write(client, NULL, 0, &written, 0), IVS_CHANNEL_E_ENDED);
	cr_expect_eq(written, 0);
}

Test(channel_stream, name_has_one_listener)
{
	struct ivs_stream_listener *other;

	cr_assert_eq(ivs_stream_listen(all.channels[1], "s", NULL, &listener), 0);
	cr_expect_eq(ivs_stream_listen(all.channels[2], "s", NULL, &other), IVS_CHANNEL_E_BUSY);
	cr_expect_eq(ivs_stream_listen(all.channels[2], "", NULL, &other), IVS_CHANNEL_E_NAME);
	ivs_stream_listener_close(listener);
	cr_expect_eq(ivs_stream_listen(all.channels[2], "s", NULL, &listener), 0);
}

Test(channel_stream, many_connections_one_after_another)
{
	for (unsigned int i = 0; i < 200; i++) {
		open_pair(0);
		write_text(client, "one");
		expect_text(server, "one");
		ivs_stream_close(i % 2 ? client : server);
		ivs_stream_close(i % 2 ? server : client);
		ivs_stream_listener_close(listener);
	}
	client = server = NULL;
	listener = NULL;
}

Test(channel_stream, peer_that_is_opened_again_ends_the_stream)
{
	open_pair(0);
	write_text(client, "lost");
	all.channels[0] = NULL; /* as if the process had been killed */
	client = NULL;
	test_channels_reopen(&all, 0);
	cr_expect_eq(read_result(server), IVS_CHANNEL_E_ENDED);
	(void)write_result(server);
	cr_expect_eq(write_result(server), IVS_CHANNEL_E_ENDED);
}

Test(channel_stream, flush_waits_until_everything_was_read)
{
	open_pair(0);
	cr_expect_eq(ivs_stream_flush(client, 0), 0);
	write_text(client, "some");
	cr_expect_eq(ivs_stream_flush(client, 1), IVS_CHANNEL_E_TIMEOUT);
	ivs_stream_shutdown(client);
	expect_text(server, "some");
	cr_expect_eq(ivs_stream_flush(client, 1), 0);
	write_text(server, "lost");
	ivs_stream_close(client);
	client = NULL;
	cr_expect_eq(ivs_stream_flush(server, 1), IVS_CHANNEL_E_ENDED);
}

Test(channel_stream, only_a_side_that_ends_its_direction_is_complete)
{
	open_pair(0);
	write_text(client, "last");
	ivs_stream_shutdown(client);
	expect_text(server, "last");
	cr_expect_not(ivs_stream_is_complete(server));
	cr_expect_eq(read_result(server), IVS_CHANNEL_E_ENDED);
	cr_expect(ivs_stream_is_complete(server));
	ivs_stream_abort(server);
	server = NULL;
	cr_expect_eq(read_result(client), IVS_CHANNEL_E_ENDED);
	cr_expect_not(ivs_stream_is_complete(client));
}

/* A hostile peer publishes a connector at each place of its section, and ends it once read. */
Test(channel_stream, peer_that_ends_many_offers_leaves_room_for_others)
{
	void *section = ivs_channels_own(all.channels[0]);
	struct ivs_endpoint_ref at = {0};
	struct ivs_endpoint_view view;
	struct ivs_stream *other;
	uint64_t life;

	cr_assert_eq(ivs_stream_listen(all.channels[1], "s", NULL, &listener), 0);
	cr_assert_eq(ivs_stream_begin_connect(all.channels[0], "s", NULL, &client), 0);
	cr_assert(ivs_channels_find(all.channels[1], IVS_ROLE_CONNECTOR, "s", false, &at, &life,
				    &view));
	for (unsigned int i = 1; i < IVS_SECTION_ENDPOINTS_N; i++) {
		view.state.closed = false;
		ivs_endpoint_put(section, i, &view);
		cr_expect_eq(ivs_stream_accept(listener, &server, 0), IVS_CHANNEL_E_TIMEOUT);
		view.state.closed = true;
		ivs_endpoint_set_state(section, i, &view.state);
		cr_expect_eq(ivs_stream_accept(listener, &server, 0), IVS_CHANNEL_E_TIMEOUT);
	}
	cr_assert_eq(ivs_stream_begin_connect(all.channels[2], "s", NULL, &other), 0);
	cr_expect_eq(ivs_stream_accept(listener, &server, 0), IVS_CHANNEL_E_TIMEOUT);
	(void)read_result(other);
	cr_expect(ivs_stream_is_connected(other));
	cr_expect_eq(ivs_stream_accept(listener, &server, 0), 0);
	ivs_stream_close(other);
}

/* Connect peer @i. Return: whether the listener has accepted the connection. */
static bool connect_peer(unsigned int i, struct ivs_stream **out)
{
	const struct ivs_stream_options opts = {100};

	cr_assert_eq(ivs_stream_begin_connect(all.channels[i], "s", &opts, out), 0);
	cr_expect_eq(ivs_stream_accept(listener, &server, 0), IVS_CHANNEL_E_TIMEOUT);
	(void)read_result(*out);
	return !ivs_stream_accept(listener, &server, 0);
}

Test(channel_stream, peer_that_keeps_closed_streams_leaves_room_for_others)
{
	const struct ivs_stream_options opts = {100};
	struct ivs_stream *kept[31];
	unsigned int n = 0;

	cr_assert_eq(ivs_stream_listen(all.channels[1], "s", &opts, &listener), 0);
	while (n < 31 && connect_peer(0, &kept[n++])) {
		ivs_stream_close(server);
		server = NULL;
	}
	cr_expect_eq(n, 17);
	cr_expect(connect_peer(2, &client), "another peer is accepted");
	ivs_stream_close(server);
	ivs_stream_close(kept[0]);
	cr_expect_eq(ivs_stream_accept(listener, &server, 0), IVS_CHANNEL_E_TIMEOUT);
	(void)read_result(kept[16]);
	cr_expect_eq(ivs_stream_accept(listener, &server, 0), 0, "there is room again");
	for (unsigned int i = 1; i < n; i++)
		ivs_stream_close(kept[i]);
}

Test(channel_stream, side_that_waits_for_a_peer_that_cannot_ring_looks_often)
{
	struct ivs_channel *channel;

	cr_assert_eq(ivs_stream_begin_connect(all.channels[0], "s", NULL, &client), 0);
	cr_assert_eq(ivs_stream_listen(all.channels[1], "s", NULL, &listener), 0);
	channel = (struct ivs_channel *)client;
	cr_expect_not(channel->set_sleeps(channel, true), "peers at shm: have no id");
	channel = (struct ivs_channel *)listener;
	cr_expect_not(channel->set_sleeps(channel, true));
}

Test(channel_stream, streams_that_wait_to_be_accepted_do_not_make_way)
{
	const struct ivs_stream_options opts = {100};
	struct ivs_stream *streams[9];

	test_channels_close(&all);
	all = test_channels_open(REGION_LEN, 10);
	cr_assert_eq(ivs_stream_listen(all.channels[9], "s", &opts, &listener), 0);
	for (unsigned int i = 0; i < 9; i++)
		cr_assert_eq(ivs_stream_begin_connect(all.channels[i], "s", &opts, &streams[i]), 0);
	cr_expect_eq(ivs_stream_accept(listener, &server, 0), IVS_CHANNEL_E_TIMEOUT);
	for (unsigned int i = 0; i < 9; i++)
		cr_expect_eq(read_result(streams[i]), IVS_CHANNEL_E_TIMEOUT);
	ahead_s = 10;
	cr_expect(is_ready(9));
	for (unsigned int i = 0; i < 8; i++) {
		cr_expect(ivs_stream_is_connected(streams[i]));
		cr_expect_eq(read_result(streams[i]), IVS_CHANNEL_E_TIMEOUT);
	}
	for (unsigned int i = 0; i < 9; i++)
		ivs_stream_close(streams[i]);
}

Test(channel_stream, sides_that_lost_their_section_say_so)
{
	struct ivs_channels *former[2] = {all.channels[0], all.channels[1]};

	cr_assert_eq(ivs_stream_begin_connect(former[0], "s", NULL, &client), 0);
	cr_assert_eq(ivs_stream_listen(former[1], "s", NULL, &listener), 0);
	test_channels_reopen(&all, 1);
	cr_expect_eq(ivs_channels_wait(former[1], 0), IVS_CHANNEL_E_SECTION);
	cr_expect_eq(ivs_stream_accept(listener, &server, 0), IVS_CHANNEL_E_SECTION);
	ivs_stream_listener_close(listener);
	cr_assert_eq(ivs_stream_listen(all.channels[2], "s", NULL, &listener), 0);
	cr_expect_eq(ivs_stream_accept(listener, &server, 0), IVS_CHANNEL_E_TIMEOUT);
	test_channels_reopen(&all, 0);
	cr_expect_eq(ivs_channels_wait(former[0], 0), IVS_CHANNEL_E_SECTION);
	cr_expect_eq(read_result(client), IVS_CHANNEL_E_SECTION);
	ivs_stream_close(client);
	client = NULL;
	for (unsigned int i = 0; i < 2; i++)
		ivs_channels_close(former[i]);
}
