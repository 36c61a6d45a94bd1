/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tests of tools/ivshmem/bench_rounds.c with work that only counts, and with signals that arrive at
 * a given sample. No time is checked.
 */
#include <criterion/criterion.h>
#include <stdbool.h>

#include "base/clock.h"
#include "tools/ivshmem/bench_rounds.h"

#define ROUNDS_MAX 999

/**
 * struct count - what was run
 * @samples_n: samples, by side
 * @fail_at:   the sample that fails; 0: none
 */
struct count {
	unsigned int samples_n[BENCH_SIDES_N];
	unsigned int fail_at;
};

static unsigned int stop_after;
static unsigned int asked_n;

bool signals_have_stopped(void)
{
	return stop_after && ++asked_n > stop_after;
}

static int count_run(const void *context, enum bench_side side, unsigned int times)
{
	struct count *count = *(struct count *const *)context;

	cr_assert_gt(times, 0);
	count->samples_n[side]++;
	if (count->samples_n[BENCH_REGION] + count->samples_n[BENCH_FLOOR] == count->fail_at)
		return BENCH_E_LOST;
	return 0;
}

static int run_counting(struct count *count, int64_t budget_ns, struct bench_result *result)
{
	return bench_rounds_run(&(struct bench_work){count_run, &count}, budget_ns, result);
}

Test(bench_rounds, one_round_without_time)
{
	struct bench_result result = {0};
	struct count count = {0};

	cr_assert_eq(run_counting(&count, 0, &result), 0);
	cr_expect_eq(result.rounds_n, 1);
	cr_expect_gt(count.samples_n[BENCH_REGION], 1);
	cr_expect_gt(count.samples_n[BENCH_FLOOR], 1);
}

Test(bench_rounds, number_of_rounds_is_limited)
{
	struct bench_result result = {0};
	struct count count = {0};

	cr_assert_eq(run_counting(&count, 3600 * IVS_NS_PER_S, &result), 0);
	cr_expect_eq(result.rounds_n, ROUNDS_MAX);
}

Test(bench_rounds, failure_ends_it)
{
	for (unsigned int at = 1; at < 100; at++) {
		struct bench_result result = {0};
		struct count count = {.fail_at = at};

		cr_assert_eq(run_counting(&count, 3600 * IVS_NS_PER_S, &result), BENCH_E_LOST);
		cr_expect_eq(count.samples_n[BENCH_REGION] + count.samples_n[BENCH_FLOOR], at);
	}
}

Test(bench_rounds, signal_ends_it)
{
	for (stop_after = 1; stop_after < 100; stop_after++) {
		struct bench_result result = {0};
		struct count count = {0};

		asked_n = 0;
		cr_assert_eq(run_counting(&count, 3600 * IVS_NS_PER_S, &result), BENCH_E_STOPPED);
		cr_expect_eq(count.samples_n[BENCH_REGION] + count.samples_n[BENCH_FLOOR],
			     stop_after);
	}
}

Test(bench_rounds, ratio)
{
	cr_expect_eq(bench_ratio(&(struct bench_result){{30, 10}, 1}), 3);
	cr_expect_eq(bench_ratio(&(struct bench_result){{30, 0}, 1}), 1);
}
