/* SPDX-License-Identifier: BSD-3-Clause */
/* Tests of calls that look at the region before they sleep, with a clock that stands still. */
#include <criterion/criterion.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "channel/stream.h"
#include "support/c/channel_pair.h"

#define NS_PER_S 1000000000LL
#define READS_MAX 100 /* a call that looks at the clock so often does not see what it waits for */

static struct test_channels all;
static struct ivs_stream_listener *listener;
static struct ivs_stream *client;
static struct ivs_stream *server;
static unsigned int reads_n;
static void (*at_read)(void);  /* what another peer does when the clock has been read again */
static unsigned int skipped_n; /* after so many times */

int clock_gettime(clockid_t id, struct timespec *out)
{
	static struct timespec now;
	void (*run)(void) = at_read;

	if (run && !skipped_n--) {
		at_read = NULL;
		run();
	}
	if (++reads_n % READS_MAX == 0)
		now.tv_sec++;
	*out = now;
	(void)id;
	return 0;
}

static void open_pair(void)
{
	const struct ivs_stream_options opts = {1000};
	int result = IVS_CHANNEL_E_TIMEOUT;
	size_t n;

	all = test_channels_open(1u << 20, 2);
	cr_assert_eq(ivs_stream_listen(all.channels[1], "s", &opts, &listener), 0);
	cr_assert_eq(ivs_stream_begin_connect(all.channels[0], "s", &opts, &client), 0);
	for (unsigned int i = 0; i < 10 && result; i++) {
		result = ivs_stream_accept(listener, &server, 0);
		(void)!ivs_stream_write(client, NULL, 0, &n, 0);
	}
	cr_assert_eq(result, 0);
	cr_assert_eq(ivs_channels_wait(all.channels[0], 10000), 0); /* tells of the connection */
	skipped_n = 0;
	for (unsigned int i = 0; i < 2; i++) {
		all.channels[i]->spin.max_ns = NS_PER_S;
		all.channels[i]->spin.ns = NS_PER_S / 2;
	}
}

static void close_pair(void)
{
	ivs_stream_close(client);
	ivs_stream_close(server);
	ivs_stream_listener_close(listener);
	test_channels_close(&all);
}

TestSuite(channel_looking, .init = open_pair, .fini = close_pair);

static void fill(void)
{
	static const uint8_t bytes[1000];
	size_t n;

	while (!ivs_stream_write(client, bytes, sizeof(bytes), &n, 0))
		;
}

static void read_all(void)
{
	uint8_t bytes[1000];
	size_t n;

	while (!ivs_stream_read(server, bytes, sizeof(bytes), &n, 0))
		;
}

static void write_byte(void)
{
	size_t n;

	cr_assert_eq(ivs_stream_write(client, "x", 1, &n, 0), 0);
}

Test(channel_looking, room_that_there_is_ends_a_wait)
{
	fill();
	read_all();
	reads_n = 0;
	cr_expect_eq(ivs_channels_wait(all.channels[0], 10000), 0);
	cr_expect_lt(reads_n, READS_MAX / 2);
}

Test(channel_looking, room_ends_a_wait_when_the_other_side_reads)
{
	fill();
	at_read = read_all;
	reads_n = 0;
	cr_expect_eq(ivs_channels_wait(all.channels[0], 10000), 0);
	cr_expect_lt(reads_n, READS_MAX / 2);
}

Test(channel_looking, bytes_end_a_wait)
{
	at_read = write_byte;
	reads_n = 0;
	cr_expect_eq(ivs_channels_wait(all.channels[1], 10000), 0);
	cr_expect_lt(reads_n, READS_MAX / 2);
	read_all();
}

/* Otherwise a program that never sleeps would not learn of joins and leaves. */
Test(channel_looking, call_that_succeeds_while_it_looks_processes_events)
{
	uint64_t turns = all.channels[1]->presence.turns;
	uint8_t byte;
	size_t n;

	all.channels[1]->polled_ns = -NS_PER_S;
	at_read = write_byte;
	skipped_n = 2; /* for the time limit, and the beginning of the look */
	cr_expect_eq(ivs_stream_read(server, &byte, 1, &n, 10000), 0);
	cr_expect_lt(reads_n, 10000);
	cr_expect_gt(all.channels[1]->presence.turns, turns);
}

Test(channel_looking, limit_ends_the_look_and_the_call)
{
	uint8_t byte;
	size_t n;

	cr_expect_eq(ivs_stream_read(server, &byte, 1, &n, 1), IVS_CHANNEL_E_TIMEOUT);
	cr_expect_eq(ivs_channels_wait(all.channels[1], 1), IVS_CHANNEL_E_TIMEOUT);
}
