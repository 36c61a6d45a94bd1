/* SPDX-License-Identifier: BSD-3-Clause */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "host/private.h"

#define REGIONS_N 1000

/* For each inode, the search returns its first region; for an absent inode, it returns nothing. */
Test(index, inodes)
{
	struct ivs_host_region *list = calloc(REGIONS_N, sizeof(*list));
	const struct ivs_host_regions regions = {.list = list, .n = REGIONS_N};
	struct ivs_host_index index = {0};

	for (size_t i = 0; i < REGIONS_N; i++)
		list[i].ino = 2 * (i * 7919 % (REGIONS_N / 2)); /* each even inode twice */
	cr_assert_eq(ivs_host_index_inodes(&index, &regions), 0);
	for (ino_t ino = 0; ino < REGIONS_N; ino += 2) {
		size_t first = ivs_host_index_first(&index, ino);
		size_t a = index.inodes[first].at;
		size_t b = index.inodes[first + 1].at;

		cr_assert(index.inodes[first].ino == ino && index.inodes[first + 1].ino == ino);
		cr_expect(a < b && list[a].ino == ino && list[b].ino == ino);
		first = ivs_host_index_first(&index, ino + 1);
		cr_expect(first == REGIONS_N || index.inodes[first].ino == ino + 2);
	}
	cr_expect_eq(ivs_host_index_first(&index, REGIONS_N), REGIONS_N);
	ivs_host_index_deinit(&index);
	free(list);
}

/* Of several regions with the same path, the search returns the first one. */
Test(index, paths)
{
	struct ivs_host_index index = {0};
	size_t at = 5;

	cr_expect_not(ivs_host_index_has_path(&index, "/a", &at));
	cr_expect_eq(ivs_host_index_path(&index, "/a", &at), 0);
	cr_expect_eq(at, 5);
	at = 6;
	cr_expect_eq(ivs_host_index_path(&index, "/b", &at), 0);
	at = 7;
	cr_expect_eq(ivs_host_index_path(&index, "/a", &at), 0);
	cr_expect_eq(at, 5);
	cr_expect(ivs_host_index_has_path(&index, "/b", &at));
	cr_expect_eq(at, 6);
	cr_expect_not(ivs_host_index_has_path(&index, "/", &at));
	ivs_host_index_deinit(&index);
}

/* Without regions, the search returns nothing. */
Test(index, empty)
{
	const struct ivs_host_regions regions = {0};
	struct ivs_host_index index = {0};

	cr_assert_eq(ivs_host_index_inodes(&index, &regions), 0);
	cr_expect(!index.inodes_n && ivs_host_index_first(&index, 1) == 0);
	ivs_host_index_deinit(&index);
}
