/* SPDX-License-Identifier: BSD-3-Clause */
/* Tests of client/doorbells.h: reports of joins and leaves, and references to doorbells. */
#include <criterion/criterion.h>
#include <fcntl.h>

#include "client/doorbells.h"
#include "support/c/fds.h"

static struct ivs_doorbells doorbells;
static unsigned int fds_before;

static void setup(void)
{
	fds_before = test_fds_open();
}

static void teardown(void)
{
	ivs_doorbells_deinit(&doorbells);
	test_fds_check(fds_before);
}

TestSuite(doorbells, .init = setup, .fini = teardown);

static void add(unsigned int id, unsigned int n)
{
	while (n--) {
		int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

		cr_assert_eq(ivs_doorbells_add(&doorbells, id, &fd), 0);
		cr_assert_eq(fd, -1);
	}
}

#define JOINED true
#define LEFT false

static void expect(bool joined, unsigned int id, unsigned int vectors_n)
{
	struct ivs_peer_change change = {0};

	cr_assert(ivs_doorbells_report(&doorbells, &change));
	cr_expect_eq(change.joined, joined);
	cr_expect_eq(change.id, id);
	cr_expect_eq(change.vectors_n, vectors_n);
}

static void expect_nothing(void)
{
	struct ivs_peer_change change;

	cr_expect_not(ivs_doorbells_report(&doorbells, &change));
}

Test(doorbells, a_join_is_reported_with_all_vectors_known)
{
	expect_nothing();
	add(7, 3);
	expect(JOINED, 7, 3);
	expect_nothing();
	cr_expect_eq(ivs_doorbells_vectors(&doorbells, 7), 3);
	cr_expect_eq(ivs_doorbells_vectors(&doorbells, 6), 0);
	cr_expect_eq(ivs_doorbells_vectors(&doorbells, 65535), 0);
}

Test(doorbells, a_join_is_reported_again_when_more_vectors_come)
{
	add(1, 1);
	expect(JOINED, 1, 1);
	add(1, 2);
	expect(JOINED, 1, 3);
	expect_nothing();
}

Test(doorbells, a_leave_is_reported_once)
{
	add(1, 1);
	expect(JOINED, 1, 1);
	cr_expect(ivs_doorbells_remove(&doorbells, 1));
	cr_expect_not(ivs_doorbells_remove(&doorbells, 1));
	expect(LEFT, 1, 0);
	expect_nothing();
}

Test(doorbells, a_peer_that_joins_and_leaves_unseen_is_not_reported)
{
	add(1, 1);
	ivs_doorbells_remove(&doorbells, 1);
	expect_nothing();
	cr_expect_not(ivs_doorbells_remove(&doorbells, 900));
}

Test(doorbells, another_peer_with_the_same_id_is_a_leave_and_a_join)
{
	add(1, 2);
	expect(JOINED, 1, 2);
	ivs_doorbells_remove(&doorbells, 1);
	add(1, 2);
	expect(LEFT, 1, 0);
	expect(JOINED, 1, 2);
	expect_nothing();
}

Test(doorbells, an_earlier_id_is_reported_though_later_ones_were)
{
	add(40, 1);
	expect(JOINED, 40, 1);
	add(2, 1);
	add(65535, 1);
	expect(JOINED, 2, 1);
	expect(JOINED, 65535, 1);
	expect_nothing();
}

Test(doorbells, doorbells_live_as_long_as_a_reference)
{
	struct ivs_doorbell_set *held;
	int fd;

	add(3, 1);
	held = ivs_doorbells_get(&doorbells, 3);
	cr_assert_not_null(held);
	fd = held->fds[0];
	ivs_doorbells_remove(&doorbells, 3);
	cr_expect_null(ivs_doorbells_get(&doorbells, 3));
	cr_expect_neq(fcntl(fd, F_GETFD), -1);
	ivs_doorbell_set_put(held);
	cr_expect_eq(fcntl(fd, F_GETFD), -1);
}
