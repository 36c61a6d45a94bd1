/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/cost.h"

#include <criterion/criterion.h>

#define TIMEOUT 60
#define QUICK_NS 3000
#define SLOW_NS (IVS_COST_SLOW_NS + 1)
#define TOO_SLOW_NS (IVS_COST_MAX_NS + 1)
#define ENDLESS 1000000

static int64_t now_ns = 1;

static void send_one(struct ivs_cost *cost, int64_t cpu_ns)
{
	ivs_cost_record(cost, ++now_ns, cpu_ns, 1);
}

/* Return: how many quick messages it takes until the client is no longer slow. */
static unsigned int count_quick(struct ivs_cost *cost)
{
	unsigned int n = 0;

	for (; ivs_cost_is_slow(cost) && n < ENDLESS; n++)
		send_one(cost, QUICK_NS);
	return n;
}

Test(cost, one_message_alone_unless_a_recent_one_was_quick, .timeout = TIMEOUT)
{
	struct ivs_cost cost = {0};

	cr_assert_eq(ivs_cost_batch(&cost, 5), 1, "nothing was sent before");
	send_one(&cost, QUICK_NS);
	cr_assert_eq(ivs_cost_batch(&cost, now_ns), IVS_COST_BATCH);
	cr_assert_eq(ivs_cost_batch(&cost, now_ns + IVS_COST_TRUSTED_NS), IVS_COST_BATCH);
	cr_assert_eq(ivs_cost_batch(&cost, now_ns + IVS_COST_TRUSTED_NS + 1), 1, "too long ago");
	send_one(&cost, SLOW_NS);
	cr_assert_eq(ivs_cost_batch(&cost, now_ns), 1, "the client is slow");
}

Test(cost, limits_are_for_each_message, .timeout = TIMEOUT)
{
	static const struct {
		int64_t cpu_ns;
		unsigned int msgs_n;
		bool slow;
		bool too_slow;
	} rows[] = {
		{0, 1, false, false},
		{IVS_COST_SLOW_NS, 1, false, false},
		{SLOW_NS, 1, true, false},
		{SLOW_NS, 2, false, false},
		{8 * SLOW_NS, 8, true, false},
		{IVS_COST_MAX_NS, 1, true, false},
		{TOO_SLOW_NS, 1, true, true},
		{8 * IVS_COST_MAX_NS, 8, true, false},
		{8 * TOO_SLOW_NS, 8, true, true},
		{-5, 1, false, false}, /* ivs_cost_cpu() can underestimate */
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct ivs_cost cost = {0};

		for (unsigned int n = 0; n < IVS_COST_HISTORY_N; n++)
			ivs_cost_record(&cost, ++now_ns, rows[i].cpu_ns, rows[i].msgs_n);
		cr_expect_eq(ivs_cost_is_slow(&cost), rows[i].slow, "row %zu", i);
		cr_expect_eq(cost.excessive, rows[i].too_slow, "row %zu", i);
	}
}

Test(cost, slow_client_has_to_be_quick_again_and_again, .timeout = TIMEOUT)
{
	struct ivs_cost cost = {0};

	send_one(&cost, SLOW_NS);
	cr_assert_eq(count_quick(&cost), IVS_COST_QUICK_MIN);
	send_one(&cost, SLOW_NS);
	cr_assert_eq(count_quick(&cost), IVS_COST_QUICK_MIN, "below the maximum");
	for (unsigned int n = 2 * IVS_COST_QUICK_MIN; n < IVS_COST_QUICK_MAX; n *= 2) {
		send_one(&cost, TOO_SLOW_NS);
		cr_assert_eq(count_quick(&cost), n, "twice as long each time");
	}
	for (unsigned int i = 0; i < 3; i++) {
		send_one(&cost, TOO_SLOW_NS);
		cr_assert_geq(count_quick(&cost), IVS_COST_QUICK_MAX);
	}
	cr_assert_lt(cost.quick_max, 2 * IVS_COST_QUICK_MAX);
	cr_assert(!cost.excessive, "slow messages are rare");
}

Test(cost, quick_messages_of_a_batch_count_each, .timeout = TIMEOUT)
{
	struct ivs_cost cost = {0};

	send_one(&cost, SLOW_NS);
	for (unsigned int n = 0; n < IVS_COST_QUICK_MIN / 5; n++)
		ivs_cost_record(&cost, ++now_ns, 0, 5);
	cr_assert(ivs_cost_is_slow(&cost));
	ivs_cost_record(&cost, ++now_ns, 0, 5);
	cr_assert(!ivs_cost_is_slow(&cost));
}

Test(cost, rare_delays_do_not_make_a_client_excessive, .timeout = TIMEOUT)
{
	struct ivs_cost cost = {0};

	for (unsigned int n = 0; n < 10000; n++)
		send_one(&cost, n % 5 ? QUICK_NS : 1000 * TOO_SLOW_NS);
	cr_assert(!cost.excessive);
	for (unsigned int n = 0; n < 10000; n++)
		send_one(&cost, n % 4 ? QUICK_NS : TOO_SLOW_NS);
	cr_assert(cost.excessive, "one in four is as many as %d of %d", IVS_COST_DROP_N,
		  IVS_COST_HISTORY_N);
}

Test(cost, processor_time_is_the_least_that_was_used, .timeout = TIMEOUT)
{
	const struct ivs_cost_mark mark = {1000, 500};

	/* The process ran the whole time from 1100 to 1700: for 600. */
	cr_assert_eq(ivs_cost_cpu(&mark, 1100, &(struct ivs_cost_mark){1700, 1200}), 600);
	/* The process ran for 150 since the mark, of which at most 100 before 1100. */
	cr_assert_eq(ivs_cost_cpu(&mark, 1100, &(struct ivs_cost_mark){1700, 650}), 50);
	/* The process ran for 600 since the mark, of which at most 100 before 1100. */
	cr_assert_eq(ivs_cost_cpu(&mark, 1100, &(struct ivs_cost_mark){1700, 1100}), 500);
	cr_assert_leq(ivs_cost_cpu(&mark, 1100, &(struct ivs_cost_mark){1700, 550}), 0);
}
