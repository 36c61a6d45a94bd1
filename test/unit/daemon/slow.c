/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tests of daemon/slow.h: calls that use much processor time are detected, and other calls are not.
 */
#include <criterion/criterion.h>
#include <unistd.h>

#include "base/clock.h"
#include "daemon/slow.h"

#define TIMEOUT 60

/* Simulates a system call that uses this much processor time. */
static void work(int ms)
{
	int64_t until_ns = ivs_clock_cpu_ns() + (int64_t)ms * IVS_NS_PER_MS;

	while (ivs_clock_cpu_ns() < until_ns)
		;
}

static bool is_slow_after(struct ivs_slow *slow, int work_ms, int sleep_ms)
{
	ivs_slow_begin(slow);
	work(work_ms);
	(void)usleep((useconds_t)sleep_ms * 1000);
	return ivs_slow_check(slow);
}

/* The first slow call could be a jump of the clock; only the second one is measured. */
Test(slow, the_second_long_call_is_too_much, .timeout = TIMEOUT)
{
	struct ivs_slow slow = {0};

	cr_expect_not(is_slow_after(&slow, IVS_SLOW_DEBT_MS + 5, 0));
	cr_expect_eq(ivs_slow_pause_ms(&slow), 0);
	cr_expect(is_slow_after(&slow, IVS_SLOW_DEBT_MS + 5, 0));
	cr_expect_geq(ivs_slow_pause_ms(&slow), IVS_SLOW_DEBT_MS * IVS_SLOW_FORGIVEN / 2);
}

Test(slow, many_short_calls_add_up, .timeout = TIMEOUT)
{
	struct ivs_slow slow = {0};
	int n = 0;

	ivs_slow_begin(&slow);
	do {
		work(1);
		n++;
	} while (!ivs_slow_check(&slow));
	cr_expect_geq(n, IVS_SLOW_DEBT_MS / 2);
}

Test(slow, calls_in_which_other_processes_run_are_not_slow, .timeout = TIMEOUT)
{
	struct ivs_slow slow = {0};

	for (int i = 0; i < 20; i++)
		cr_expect_not(is_slow_after(&slow, 0, 10));
	cr_expect_eq(slow.debt_ns, 0);
}

Test(slow, a_debt_is_forgiven, .timeout = TIMEOUT)
{
	struct ivs_slow slow = {0};

	(void)is_slow_after(&slow, 10, 0);
	cr_expect_not(is_slow_after(&slow, IVS_SLOW_DEBT_MS / 2, 0));
	slow.debt_at_ns -= IVS_NS_PER_S; /* as if a second had passed */
	cr_expect_not(is_slow_after(&slow, IVS_SLOW_DEBT_MS / 2, 0));
	cr_expect(is_slow_after(&slow, 2 * IVS_SLOW_DEBT_MS, 0));
	cr_expect_gt(ivs_slow_pause_ms(&slow), 0);
	slow.debt_at_ns -= 2 * IVS_NS_PER_S;
	cr_expect_eq(ivs_slow_pause_ms(&slow), 0);
}

/* Regardless of earlier calls, normal calls are never considered too slow. */
Test(slow, a_normal_call_is_not_blamed, .timeout = TIMEOUT)
{
	struct ivs_slow slow = {0};

	(void)is_slow_after(&slow, 10, 0);
	cr_expect(is_slow_after(&slow, 2 * IVS_SLOW_DEBT_MS, 0));
	cr_expect_not(is_slow_after(&slow, 0, 0));
	cr_expect_not(is_slow_after(&slow, 0, 10));
}
