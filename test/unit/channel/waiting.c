/* SPDX-License-Identifier: BSD-3-Clause */
/* Tests of waiting in a plain region, where no peer can be rung. */
#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <sys/time.h>

#include "ivshmem/channel.h"
#include "support/c/channel_pair.h"

#define REGION_LEN (1u << 20)

static struct test_channels all;
static struct ivs_queue *sender;
static struct ivs_queue *receiver;

static void open_all(void)
{
	const struct ivs_queue_options opts = {4, 8};

	all = test_channels_open(REGION_LEN, 3);
	cr_assert_eq(ivs_queue_open_sender(all.channels[0], "q", &opts, &sender), 0);
	cr_assert_eq(ivs_queue_open_receiver(all.channels[1], "q", &receiver), 0);
}

static void close_all(void)
{
	ivs_queue_close(sender);
	ivs_queue_close(receiver);
	test_channels_close(&all);
}

TestSuite(channel_waiting, .init = open_all, .fini = close_all);

static int receive_number(uint64_t *n, int timeout_ms)
{
	size_t len;

	return ivs_queue_receive(receiver, n, sizeof(*n), &len, timeout_ms);
}

Test(channel_waiting, program_can_wait_with_poll)
{
	uint64_t n = 1;
	int wait_ms = -1;

	cr_expect_eq(ivs_channels_begin_wait(all.channels[1], &wait_ms), IVS_CHANNEL_E_TIMEOUT);
	cr_expect_geq(wait_ms, 1);
	cr_expect_eq(ivs_channels_end_wait(all.channels[1]), 0);
	cr_assert_eq(ivs_queue_send(sender, &n, sizeof(n), 0), 0);
	cr_expect_eq(ivs_channels_begin_wait(all.channels[1], &wait_ms), 0);
	cr_expect_eq(ivs_channels_end_wait(all.channels[1]), 0);
	cr_expect_eq(receive_number(&n, 0), 0);
}

Test(channel_waiting, wait_ends_at_its_time_limit)
{
	int result = 0;

	for (unsigned int i = 0; i < 1000 && !result; i++)
		result = ivs_channels_wait(all.channels[1], 1);
	cr_expect_eq(result, IVS_CHANNEL_E_TIMEOUT);
}

Test(channel_waiting, program_does_not_wait_for_channels_that_lost_their_section)
{
	struct ivs_channels *former = all.channels[1];
	int wait_ms = -1;

	test_channels_reopen(&all, 1);
	cr_expect_eq(ivs_channels_begin_wait(former, &wait_ms), IVS_CHANNEL_E_TIMEOUT);
	cr_expect_eq(wait_ms, 0);
	cr_expect_eq(ivs_channels_end_wait(former), IVS_CHANNEL_E_SECTION);
}

static void ignore_signal(int signal)
{
	(void)signal;
}

Test(channel_waiting, signal_interrupts_a_wait)
{
	const struct sigaction action = {.sa_handler = ignore_signal};
	const struct itimerval soon = {{0, 1000}, {0, 1000}};
	const struct itimerval never = {0};
	uint64_t n;

	cr_assert_eq(sigaction(SIGALRM, &action, NULL), 0);
	cr_assert_eq(setitimer(ITIMER_REAL, &soon, NULL), 0);
	cr_expect_eq(receive_number(&n, 60000), -EINTR);
	cr_assert_eq(setitimer(ITIMER_REAL, &never, NULL), 0);
}
