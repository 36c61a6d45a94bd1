/* SPDX-License-Identifier: BSD-3-Clause */
/* Tests of copies of all alignments, and of lengths around that from which caches are bypassed. */
#include <criterion/criterion.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/copy.h"

#define ROOM (IVS_COPY_LONG + 4096)
#define MARK 0xa5

static uint8_t *to;
static uint8_t *from;

static void prepare(void)
{
	to = malloc(ROOM);
	from = malloc(ROOM);
	cr_assert(to && from);
	for (size_t i = 0; i < ROOM; i++)
		from[i] = (uint8_t)(i * 31 + (i >> 8));
}

static void end(void)
{
	free(to);
	free(from);
}

TestSuite(copy, .init = prepare, .fini = end);

typedef void copy_function(void *to, const void *from, size_t len);

static void expect_copy_by(copy_function *copy, size_t to_at, size_t from_at, size_t len)
{
	memset(to, MARK, ROOM);
	copy(to + to_at, from + from_at, len);
	cr_expect(!memcmp(to + to_at, from + from_at, len), "%zu bytes from %zu to %zu", len,
		  from_at, to_at);
	for (size_t i = 0; i < to_at; i++)
		cr_expect_eq(to[i], MARK, "%zu bytes from %zu to %zu", len, from_at, to_at);
	for (size_t i = to_at + len; i < to_at + len + 64; i++)
		cr_expect_eq(to[i], MARK, "%zu bytes from %zu to %zu", len, from_at, to_at);
}

static void expect_copy(size_t to_at, size_t from_at, size_t len)
{
	expect_copy_by(ivs_copy, to_at, from_at, len);
	expect_copy_by(ivs_copy_for_others, to_at, from_at, len);
	expect_copy_by(ivs_copy_past_caches, to_at, from_at, len < 64 ? 64 : len);
}

Test(copy, all_alignments)
{
	for (size_t to_at = 0; to_at < 16; to_at++) {
		for (size_t from_at = 0; from_at < 16; from_at += 5) {
			expect_copy(to_at, from_at, 100);
			expect_copy(to_at, from_at, IVS_COPY_LONG + to_at * 7);
		}
	}
}

Test(copy, lengths_around_the_limit)
{
	for (size_t len = IVS_COPY_LONG - 2; len < IVS_COPY_LONG + 130; len += 3)
		expect_copy(3, 1, len);
}

Test(copy, nothing)
{
	expect_copy(0, 0, 0);
	ivs_copy(NULL, NULL, 0);
	ivs_copy_for_others(NULL, NULL, 0);
}

/* Return: the method that is chosen most often for @n copies that cost as much as given. */
static unsigned int use(struct ivs_copy_choice *choice, unsigned int n, uint64_t first,
			uint64_t second)
{
	unsigned int chosen[2] = {0};

	for (unsigned int i = 0; i < n; i++) {
		unsigned int method = ivs_copy_choose(choice);

		chosen[method]++;
		ivs_copy_learn(choice, method, method ? second : first);
	}
	cr_expect(chosen[0] && chosen[1], "%u and %u of %u", chosen[0], chosen[1], n);
	return chosen[1] > chosen[0];
}

Test(copy, faster_method_is_chosen)
{
	struct ivs_copy_choice choice = {0};

	cr_expect_eq(use(&choice, 300, 20, 60), 0);
	cr_expect_eq(use(&choice, IVS_COPY_PERIOD, 20, 60), 0);
	choice = (struct ivs_copy_choice){0};
	cr_expect_eq(use(&choice, 300, 60, 20), 1);
}

Test(copy, choice_follows_a_change)
{
	struct ivs_copy_choice choice = {0};

	cr_expect_eq(use(&choice, 5000, 20, 60), 0);
	cr_expect_eq(use(&choice, 20000, 90, 60), 1);
	cr_expect_eq(use(&choice, 20000, 90, 600), 0);
}

/* As a program that waits for answers, and then only sends: both methods take less time then. */
Test(copy, choice_is_made_again_if_copies_take_much_less_time)
{
	struct ivs_copy_choice choice = {0};

	cr_expect_eq(use(&choice, 100, 500, 480), 1);
	cr_expect_eq(use(&choice, 200, 80, 120), 0);
}

Test(copy, much_slower_method_is_tried_twice)
{
	struct ivs_copy_choice choice = {0};
	unsigned int tried = 0;

	for (unsigned int i = 0; i < 2 * IVS_COPY_TRIES; i++) {
		unsigned int method = ivs_copy_choose(&choice);

		tried += method;
		ivs_copy_learn(&choice, method, method ? 60 : 20);
	}
	cr_expect_eq(tried, 2);
}

Test(copy, interrupted_copy_does_not_change_the_choice)
{
	struct ivs_copy_choice choice = {0};

	cr_expect_eq(use(&choice, IVS_COPY_PERIOD + 5 * IVS_COPY_RUN, 20, 60), 0);
	ivs_copy_learn(&choice, 0, UINT64_MAX);
	cr_expect_gt(choice.cost[0], 20);
	cr_expect_eq(ivs_copy_choose(&choice), 0);
	for (unsigned int i = 0; i < 1000; i++)
		ivs_copy_learn(&choice, 1, UINT64_MAX);
	cr_expect_leq(choice.cost[1], IVS_COPY_COST_MAX);
}
