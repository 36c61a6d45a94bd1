/* SPDX-License-Identifier: BSD-3-Clause */
/* Tests of what roster/roster.h says about quiet clients and vacant seats, without a model. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "support/c/roster_heard.h"

TestSuite(roster_seats, .timeout = TIMEOUT);

/* Create a roster with a quiet client, 0, another client, 1, and a client 2 that both know. */
static struct ivs_roster *make_three(unsigned int vectors_n)
{
	struct ivs_roster *r = make(16);

	cr_assert_eq(join_quiet(r, vectors_n), 0);
	cr_assert_eq(join(r, vectors_n), 1);
	cr_assert_eq(join(r, vectors_n), 2);
	for (unsigned int id = 0; id < 3; id++)
		hear(r, id, 3);
	for (unsigned int id = 0; id < 3; id++)
		hear(r, id, ALL);
	return r;
}

Test(roster_seats, leave_is_sent_only_to_clients_that_are_not_quiet)
{
	struct ivs_roster *r = make_three(2);

	cr_assert(ivs_roster_quiet(r, 0));
	cr_assert_not(ivs_roster_quiet(r, 1));
	cr_assert(ivs_roster_leave(r, 2));
	cr_assert_eq(ivs_roster_behind(r, 0), 0);
	HEARS(r, 0, ALL, "");
	HEARS(r, 1, ALL, "-2");
	cr_assert_not(ivs_roster_present(r, 2));
	cr_assert_eq(ivs_roster_peers(r), 2);
	cr_assert_eq(ivs_roster_next_vacant(r, 0), 2);
	cr_assert_eq(ivs_roster_next_vacant(r, 3), IVS_ID_MAX + 1);
	cr_assert_eq(ivs_roster_vectors(r, 2), 2);
	ivs_roster_free(r);
}

Test(roster_seats, taken_seat_is_announced_only_to_clients_that_are_not_quiet)
{
	struct ivs_roster *r = make_three(2);
	uint64_t serial = ivs_roster_serial(r, 2);

	ivs_roster_leave(r, 2);
	HEARS(r, 1, ALL, "-2");
	take(r, 2, 2, false);
	cr_assert_gt(ivs_roster_serial(r, 2), serial);
	cr_assert_eq(ivs_roster_seat_serial(r, 2), serial);
	cr_assert(ivs_roster_present(r, 2));
	cr_assert_eq(ivs_roster_next_vacant(r, 0), IVS_ID_MAX + 1);
	HEARS(r, 1, ALL, "");
	HEARS(r, 2, ALL, "V I2 M 0.0 0.1 1.0 1.1 2.0 2.1");
	HEARS(r, 1, ALL, "2.0 2.1");
	HEARS(r, 0, ALL, "");
	ivs_roster_free(r);
}

Test(roster_seats, seat_is_taken_before_the_leave_was_sent)
{
	struct ivs_roster *r = make_three(2);

	ivs_roster_leave(r, 2);
	take(r, 2, 2, true);
	hear(r, 2, ALL);
	cr_assert_eq(ivs_roster_behind(r, 1), 3);
	HEARS(r, 1, ALL, "-2 2.0 2.1");
	ivs_roster_leave(r, 2);
	take(r, 2, 2, false);
	ivs_roster_leave(r, 2); /* this owner was never visible */
	take(r, 2, 2, false);
	hear(r, 2, ALL);
	HEARS(r, 1, ALL, "-2 2.0 2.1");
	HEARS(r, 0, ALL, "");
	ivs_roster_free(r);
}

Test(roster_seats, quiet_client_is_sent_the_rest_of_a_vacant_seat)
{
	struct ivs_roster *r = make_three(2);

	cr_assert_eq(greeted(r, 2), 3);
	HEARS(r, 0, 1, "3.0");
	HEARS(r, 1, 1, "3.0");
	cr_assert(ivs_roster_leave(r, 3));
	cr_assert_eq(ivs_roster_behind(r, 0), 1);
	HEARS(r, 0, ALL, "3.1");
	HEARS(r, 1, ALL, "-3");
	ivs_roster_free(r);
}

Test(roster_seats, quiet_client_is_sent_the_rest_before_the_next_owner_is_visible)
{
	struct ivs_roster *r = make_three(2);

	cr_assert_eq(greeted(r, 2), 3);
	HEARS(r, 0, 1, "3.0");
	HEARS(r, 1, 1, "3.0");
	cr_assert(ivs_roster_leave(r, 3));
	take(r, 3, 2, false);
	HEARS(r, 0, ALL, "3.1");
	HEARS(r, 1, ALL, "-3");
	hear(r, 3, ALL);
	HEARS(r, 0, ALL, "");
	HEARS(r, 1, ALL, "3.0 3.1");
	ivs_roster_free(r);
}

Test(roster_seats, quiet_client_is_not_sent_the_rest_of_a_seat_that_was_given_up)
{
	struct ivs_roster *r = make_three(2);

	cr_assert_eq(greeted(r, 2), 3);
	HEARS(r, 0, 1, "3.0");
	cr_assert(ivs_roster_leave(r, 3));
	ivs_roster_give_up(r, 3);
	HEARS(r, 0, ALL, "");
	cr_assert_eq(greeted(r, 2), 4, "the quiet client knows 3");
	HEARS(r, 0, ALL, "4.0 4.1");
	ivs_roster_free(r);
}

Test(roster_seats, newcomers_are_not_told_of_vacant_seats)
{
	struct ivs_roster *r = make_three(1);

	ivs_roster_leave(r, 2);
	cr_assert_eq(join_quiet(r, 1), 3);
	HEARS(r, 3, ALL, "V I3 M 0.0 1.0 3.0");
	take(r, 2, 1, false);
	hear(r, 2, ALL);
	HEARS(r, 3, ALL, "2.0");
	HEARS(r, 0, ALL, "3.0");
	ivs_roster_free(r);
}

Test(roster_seats, seat_stays_only_while_a_quiet_client_knows_it)
{
	struct ivs_roster *r = make_three(1);

	cr_assert_eq(greeted(r, 1), 3);
	cr_assert_not(ivs_roster_leave(r, 3), "no quiet client knows it");
	cr_assert(ivs_roster_leave(r, 2));
	cr_assert(ivs_roster_is_needed(r, 2));
	cr_assert_not(ivs_roster_leave(r, 0), "a client does not know itself");
	cr_assert_not(ivs_roster_is_needed(r, 2));
	ivs_roster_give_up(r, 2);
	HEARS(r, 1, ALL, "-0 -2");
	cr_assert_eq(ivs_roster_unknown(r), IVS_ID_MAX);
	cr_assert_eq(join(r, 1), 0);
	ivs_roster_free(r);
}

/* Quiet clients have other eventfds for the id, so the next client must not get it with a seat. */
Test(roster_seats, seat_of_a_reassigned_id_does_not_stay)
{
	const struct ivs_roster_newcomer last = {.vectors_n = 1, .lowest = IVS_ID_MAX};
	struct ivs_roster *r = make_three(1);
	unsigned int id = 0;

	for (unsigned int time_n = 0; time_n < 2; time_n++) {
		cr_assert_eq(ivs_roster_join(r, &last, &id), 0);
		cr_assert_eq(id, IVS_ID_MAX);
		hear(r, id, 3);
		hear(r, 0, ALL);
		cr_assert_eq(ivs_roster_leave(r, id), !time_n);
		if (!time_n)
			ivs_roster_give_up(r, id);
	}
	cr_assert_eq(ivs_roster_next_vacant(r, 0), IVS_ID_MAX + 1);
	ivs_roster_free(r);
}

/* Nor must a quiet client that joined later be sent the rest of such a seat from the next one. */
Test(roster_seats, rest_of_a_reassigned_id_is_not_sent)
{
	const struct ivs_roster_newcomer last = {.vectors_n = 2, .lowest = IVS_ID_MAX};
	struct ivs_roster *r = make_three(2);
	unsigned int id = 0;

	for (unsigned int time_n = 0; time_n < 3; time_n++) {
		cr_assert_eq(ivs_roster_join(r, &last, &id), 0);
		hear(r, id, 3);
		if (time_n == 0) {
			hear(r, 0, ALL);
			cr_assert(ivs_roster_leave(r, id));
			ivs_roster_give_up(r, id);
			cr_assert_eq(join_quiet(r, 2), 3);
			hear(r, 3, ALL);
		} else if (time_n == 1) {
			HEARS(r, 3, 1, "65535.0");
			cr_assert_not(ivs_roster_leave(r, id));
		}
	}
	HEARS(r, 3, ALL, "");
	ivs_roster_free(r);
}

Test(roster_seats, leaves_that_are_due_are_counted)
{
	struct ivs_roster *r = make_three(1);

	cr_assert_eq(ivs_roster_leaves_due_n(r, 2), 0);
	ivs_roster_leave(r, 2);
	cr_assert_eq(ivs_roster_leaves_due_n(r, 2), 1);
	take(r, 2, 1, false);
	ivs_roster_leave(r, 2);
	take(r, 2, 1, false);
	cr_assert_eq(ivs_roster_leaves_due_n(r, 2), 1);
	hear(r, 2, ALL);
	HEARS(r, 1, ALL, "-2 2.0");
	cr_assert_eq(ivs_roster_leaves_due_n(r, 2), 0, "it knows the present owner");
	ivs_roster_leave(r, 2);
	take(r, 2, 1, false);
	ivs_roster_leave(r, 1);
	cr_assert_eq(ivs_roster_leaves_due_n(r, 2), 0);
	cr_assert_eq(ivs_roster_leaves_due_n(r, 77777), 0);
	ivs_roster_free(r);
}

/* 100000 clients join and leave beside a quiet client: it is told of the first one only. */
Test(roster_seats, joins_cost_a_quiet_client_nothing)
{
	struct ivs_roster *r = make_three(1);

	for (unsigned int i = 0; i < 100000; i++) {
		cr_assert(ivs_roster_leave(r, 2));
		take(r, 2, 1, i % 2);
		hear(r, 2, ALL);
		if (*hear(r, 0, ALL))
			cr_assert_fail("the quiet client was sent a message after join %u", i);
	}
	cr_assert_eq(ivs_roster_unknown(r), IVS_ID_MAX + 1 - 3);
	ivs_roster_free(r);
}
