/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tests of joins and leaves that are derived from snapshots of a roster page (PROTOCOL.md, P-5,
 * P-9).
 */
#include <criterion/criterion.h>

#include "roster_page/reader.h"

static struct ivs_roster_page_reader members = {.own_id = -1};

static void teardown(void)
{
	ivs_roster_page_reader_deinit(&members);
}

TestSuite(members, .fini = teardown);

#define SET(...)                                                                                   \
	do {                                                                                       \
		struct ivs_roster_page_entry entries[] = {__VA_ARGS__};                            \
		uint32_t n = ivs_roster_page_reader_sort(entries,                                  \
							 sizeof(entries) / sizeof(*entries));      \
                                                                                                   \
		cr_assert_eq(ivs_roster_page_reader_set(&members, entries, n), 0);                 \
	} while (0)

#define JOINED true
#define LEFT false

static void expect(bool joined, unsigned int id, unsigned int vectors_n)
{
	struct ivs_peer_change change = {0};

	cr_assert(ivs_roster_page_reader_report(&members, &change));
	cr_expect_eq(change.joined, joined);
	cr_expect_eq(change.id, id);
	cr_expect_eq(change.vectors_n, vectors_n);
}

static void expect_nothing(void)
{
	struct ivs_peer_change change;

	cr_expect_not(ivs_roster_page_reader_report(&members, &change));
}

Test(members, joins_in_the_order_of_ids)
{
	expect_nothing();
	SET({65535, 1, 9}, {0, 0, 4}, {7, 2048, 3});
	expect(JOINED, 0, 0);
	expect(JOINED, 7, 2048);
	expect(JOINED, 65535, 1);
	expect_nothing();
	SET({7, 2048, 3}, {0, 0, 4}, {65535, 1, 9});
	expect_nothing();
}

Test(members, a_leave_is_reported_once)
{
	SET({1, 1, 1}, {2, 1, 2});
	expect(JOINED, 1, 1);
	expect(JOINED, 2, 1);
	SET({2, 1, 2});
	expect(LEFT, 1, 0);
	expect_nothing();
	cr_assert_eq(ivs_roster_page_reader_set(&members, NULL, 0), 0);
	expect(LEFT, 2, 0);
	expect_nothing();
}

Test(members, another_generation_is_another_peer)
{
	SET({1, 2, 5});
	expect(JOINED, 1, 2);
	SET({1, 2, 7});
	expect(LEFT, 1, 0);
	expect(JOINED, 1, 2);
	expect_nothing();
}

Test(members, a_peer_that_came_and_went_unseen_is_not_reported)
{
	SET({1, 1, 1});
	cr_assert_eq(ivs_roster_page_reader_set(&members, NULL, 0), 0);
	expect_nothing();
	SET({1, 1, 3});
	cr_assert_eq(ivs_roster_page_reader_set(&members, NULL, 0), 0);
	SET({1, 4, 5});
	expect(JOINED, 1, 4);
	expect_nothing();
}

/* A server never changes a peer's number of vectors, but any process can write to the page. */
Test(members, another_number_of_vectors_is_reported)
{
	SET({1, 2, 5});
	expect(JOINED, 1, 2);
	SET({1, 1, 5});
	expect(JOINED, 1, 1);
	expect_nothing();
}

Test(members, own_peer_is_known_and_not_reported)
{
	members.own_id = 3;
	SET({3, 2, 5}, {4, 2, 6});
	expect(JOINED, 4, 2);
	expect_nothing();
	cr_assert_not_null(ivs_roster_page_reader_get(&members, 3));
	cr_expect_eq(ivs_roster_page_reader_get(&members, 3)->vectors_n, 2);
	SET({4, 2, 6});
	expect_nothing();
	cr_expect_null(ivs_roster_page_reader_get(&members, 3));
	cr_expect_null(ivs_roster_page_reader_get(&members, 65535));
}

Test(members, of_two_with_one_id_the_newest_counts)
{
	struct ivs_roster_page_entry entries[] = {
		{5, 1, 2}, {1, 1, 1}, {5, 3, 9}, {5, 2, 4}, {1, 1, 1}};

	cr_assert_eq(ivs_roster_page_reader_sort(entries, 5), 2);
	cr_expect_eq(entries[0].id, 1);
	cr_expect_eq(entries[1].id, 5);
	cr_expect_eq(entries[1].since, 9);
	cr_expect_eq(entries[1].vectors_n, 3);
	cr_expect_eq(ivs_roster_page_reader_sort(entries, 0), 0);
}
