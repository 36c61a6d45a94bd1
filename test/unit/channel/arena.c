/* SPDX-License-Identifier: BSD-3-Clause */
/* Tests of the arena, compared with a map of its cache lines. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "channel/arena.h"

#define SECTION_LEN 32768u
#define LINES_N (SECTION_LEN / 64)

static struct ivs_arena arena;
static uint8_t lines[LINES_N]; /* 0: free; else the endpoint */

static void start(void)
{
	arena = (struct ivs_arena){.section_len = SECTION_LEN};
	memset(lines, 0, sizeof(lines));
	memset(lines, 0xff, IVS_SECTION_ARENA_AT / 64);
}

TestSuite(channel_arena, .init = start);

static unsigned int largest(void)
{
	unsigned int most = 0;
	unsigned int n = 0;

	for (unsigned int i = 0; i < LINES_N; i++) {
		n = lines[i] ? 0 : n + 1;
		most = n > most ? n : most;
	}
	return most * 64;
}

static void take(unsigned int index, uint64_t len)
{
	bool fits = len <= largest();
	uint64_t at = UINT64_MAX;

	cr_assert_eq(ivs_arena_take(&arena, index, len, &at), fits, "%lu of %u bytes", len,
		     largest());
	if (!fits) {
		cr_assert_eq(at, UINT64_MAX);
		return;
	}
	cr_assert_eq(at % 64, 0);
	cr_assert_leq(at, SECTION_LEN - len);
	for (uint64_t line = at / 64; line < (at + len + 63) / 64; line++) {
		cr_assert_eq(lines[line], 0, "byte %lu is in use", line * 64);
		lines[line] = (uint8_t)index;
	}
}

static void give_back(unsigned int index)
{
	ivs_arena_give_back(&arena, index);
	for (unsigned int i = 0; i < LINES_N; i++)
		lines[i] = lines[i] == index ? 0 : lines[i];
}

Test(channel_arena, any_sequence)
{
	bool used[IVS_SECTION_ENDPOINTS_N] = {false};

	srandom(1);
	for (unsigned int i = 0; i < 20000; i++) {
		unsigned int index = 1 + (unsigned int)random() % (IVS_SECTION_ENDPOINTS_N - 1);

		if (used[index]) {
			give_back(index);
			used[index] = false;
		} else {
			take(index, 1 + (uint64_t)random() % (i % 3 ? 600 : 6000));
			used[index] = arena.parts[index].len;
		}
		cr_assert_eq(ivs_arena_largest(&arena), largest());
	}
}

Test(channel_arena, lengths_at_the_limits)
{
	static const uint64_t wrong[] = {SECTION_LEN - IVS_SECTION_ARENA_AT + 1,
					 SECTION_LEN,
					 SECTION_LEN + 1,
					 UINT64_MAX,
					 UINT64_MAX - 62,
					 UINT64_C(1) << 63};
	uint64_t at;

	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++)
		cr_expect_not(ivs_arena_take(&arena, 1, wrong[i], &at), "%lu", wrong[i]);
	cr_expect(ivs_arena_take(&arena, 1, SECTION_LEN - IVS_SECTION_ARENA_AT, &at));
	cr_expect_eq(at, IVS_SECTION_ARENA_AT);
	cr_expect_not(ivs_arena_take(&arena, 2, 1, &at));
	ivs_arena_give_back(&arena, 1);
	cr_expect(ivs_arena_take(&arena, 2, 1, &at));
	cr_expect_eq(at, IVS_SECTION_ARENA_AT);
}
