/* SPDX-License-Identifier: BSD-3-Clause */
/* What a client of the server reports of the others. */
#include <criterion/criterion.h>
#include <fcntl.h>

#include "client/doorbells.h"
#include "support/c/fds.h"

static struct ivs_doorbells remotes;
static unsigned int fds_before;

static void setup(void)
{
	fds_before = test_fds_open();
}

static void teardown(void)
{
	ivs_doorbells_deinit(&remotes);
	test_fds_check(fds_before);
}

TestSuite(remotes, .init = setup, .fini = teardown);

static void add(unsigned int id, unsigned int n)
{
	while (n--) {
		int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

		cr_assert_eq(ivs_doorbells_add(&remotes, id, &fd), 0);
		cr_assert_eq(fd, -1);
	}
}

#define JOINED true
#define LEFT false

static void expect(bool joined, unsigned int id, unsigned int vectors_n)
{
	struct ivs_peer_change change = {0};

	cr_assert(ivs_doorbells_report(&remotes, &change));
	cr_expect_eq(change.joined, joined);
	cr_expect_eq(change.id, id);
	cr_expect_eq(change.vectors_n, vectors_n);
}

static void expect_nothing(void)
{
	struct ivs_peer_change change;

	cr_expect_not(ivs_doorbells_report(&remotes, &change));
}

Test(remotes, a_join_is_reported_with_all_vectors_known)
{
	expect_nothing();
	add(7, 3);
	expect(JOINED, 7, 3);
	expect_nothing();
	cr_expect_eq(ivs_doorbells_vectors(&remotes, 7), 3);
	cr_expect_eq(ivs_doorbells_vectors(&remotes, 6), 0);
	cr_expect_eq(ivs_doorbells_vectors(&remotes, 65535), 0);
}

Test(remotes, a_join_is_reported_again_when_more_vectors_come)
{
	add(1, 1);
	expect(JOINED, 1, 1);
	add(1, 2);
	expect(JOINED, 1, 3);
	expect_nothing();
}

Test(remotes, a_leave_is_reported_once)
{
	add(1, 1);
	expect(JOINED, 1, 1);
	cr_expect(ivs_doorbells_remove(&remotes, 1));
	cr_expect_not(ivs_doorbells_remove(&remotes, 1));
	expect(LEFT, 1, 0);
	expect_nothing();
}

Test(remotes, who_came_and_went_unseen_is_not_reported)
{
	add(1, 1);
	ivs_doorbells_remove(&remotes, 1);
	expect_nothing();
	cr_expect_not(ivs_doorbells_remove(&remotes, 900));
}

Test(remotes, another_with_the_same_id_is_a_leave_and_a_join)
{
	add(1, 2);
	expect(JOINED, 1, 2);
	ivs_doorbells_remove(&remotes, 1);
	add(1, 2);
	expect(LEFT, 1, 0);
	expect(JOINED, 1, 2);
	expect_nothing();
}

Test(remotes, an_earlier_id_is_reported_though_later_ones_were)
{
	add(40, 1);
	expect(JOINED, 40, 1);
	add(2, 1);
	add(65535, 1);
	expect(JOINED, 2, 1);
	expect(JOINED, 65535, 1);
	expect_nothing();
}

Test(remotes, doorbells_live_as_long_as_somebody_rings)
{
	struct ivs_doorbell_set *held;
	int fd;

	add(3, 1);
	held = ivs_doorbells_get(&remotes, 3);
	cr_assert_not_null(held);
	fd = held->fds[0];
	ivs_doorbells_remove(&remotes, 3);
	cr_expect_null(ivs_doorbells_get(&remotes, 3));
	cr_expect_neq(fcntl(fd, F_GETFD), -1);
	ivs_doorbell_set_put(held);
	cr_expect_eq(fcntl(fd, F_GETFD), -1);
}
