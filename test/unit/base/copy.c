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

static void expect_copy(size_t to_at, size_t from_at, size_t len)
{
	memset(to, MARK, ROOM);
	ivs_copy(to + to_at, from + from_at, len);
	cr_expect(!memcmp(to + to_at, from + from_at, len), "%zu bytes from %zu to %zu", len,
		  from_at, to_at);
	for (size_t i = 0; i < to_at; i++)
		cr_expect_eq(to[i], MARK, "%zu bytes from %zu to %zu", len, from_at, to_at);
	for (size_t i = to_at + len; i < to_at + len + 64; i++)
		cr_expect_eq(to[i], MARK, "%zu bytes from %zu to %zu", len, from_at, to_at);
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
}
