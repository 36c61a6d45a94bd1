/* SPDX-License-Identifier: BSD-3-Clause */
/* Tests of what roster/roster.h says about messages and their order, without a model. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/c/roster_heard.h"

/* PROTOCOL.md, W-3, W-4, W-5 */
Test(roster, greeting_comes_first, .timeout = TIMEOUT)
{
	struct ivs_roster *r = make(4);

	cr_assert_eq(join(r, 2), 0);
	cr_assert_not(ivs_roster_greeted(r, 0));
	HEARS(r, 0, 1, "V");
	HEARS(r, 0, 1, "I0");
	cr_assert_not(ivs_roster_greeted(r, 0));
	HEARS(r, 0, 1, "M");
	cr_assert(ivs_roster_greeted(r, 0));
	HEARS(r, 0, ALL, "0.0 0.1");
	HEARS(r, 0, ALL, "");
	cr_assert_eq(join(r, 0), 1);
	HEARS(r, 1, ALL, "V I1 M 0.0 0.1");
	ivs_roster_free(r);
	ivs_roster_free(NULL);
}

/* PROTOCOL.md, W-6 */
Test(roster, others_before_self, .timeout = TIMEOUT)
{
	struct ivs_roster *r = make(8);

	greeted(r, 1);
	greeted(r, 2);
	HEARS(r, 0, ALL, "0.0 1.0 1.1"); /* peer 1 joined after peer 0 had been greeted */
	HEARS(r, 1, ALL, "0.0 1.0 1.1");
	cr_assert_eq(join(r, 1), 2);
	HEARS(r, 2, 3, "V I2 M");
	/* The other two peers may come in any order, but the client's own vectors come last. */
	hear(r, 2, 3);
	HEARS(r, 2, ALL, "2.0");
	HEARS(r, 0, ALL, "2.0");
	HEARS(r, 1, ALL, "2.0");
	ivs_roster_free(r);
}

Test(roster, self_after_others_also_with_the_lowest_id, .timeout = TIMEOUT)
{
	struct ivs_roster *r = make(8);

	greeted(r, 1);
	greeted(r, 1);
	ivs_roster_leave(r, 0); /* no client was told of peer 0 */
	cr_assert_eq(join(r, 3), 0);
	HEARS(r, 0, ALL, "V I0 M 1.0 0.0 0.1 0.2");
	ivs_roster_free(r);
}

/* PROTOCOL.md, W-11 */
Test(roster, peers_are_visible_when_greeted, .timeout = TIMEOUT)
{
	struct ivs_roster *r = make(8);

	join(r, 1);
	HEARS(r, 0, ALL, "V I0 M 0.0");
	join(r, 1);
	HEARS(r, 0, ALL, "");
	HEARS(r, 1, 2, "V I1");
	HEARS(r, 0, ALL, "");
	HEARS(r, 1, 1, "M");
	HEARS(r, 0, ALL, "1.0");
	ivs_roster_free(r);
}

Test(roster, peer_that_was_never_visible_is_not_announced, .timeout = TIMEOUT)
{
	struct ivs_roster *r = make(8);

	greeted(r, 0);
	join(r, 1);
	HEARS(r, 1, 2, "V I1");
	ivs_roster_leave(r, 1);
	HEARS(r, 0, ALL, "");
	cr_assert_eq(join(r, 1), 1);
	ivs_roster_free(r);
}

Test(roster, own_vectors_of_a_lone_peer_are_not_delayed_forever, .timeout = TIMEOUT)
{
	/*
	 * No peer was visible when the greeting was complete, so the client's own vectors are due.
	 * Peers that join later may be announced first, but must not delay these vectors without
	 * limit.
	 */
	struct ivs_roster *r = make(8);
	bool own = false;

	greeted(r, 1);
	for (int i = 0; i < 100 && !own; i++) {
		unsigned int id = greeted(r, 1);

		own = strstr(hear(r, 0, 1), "0.0") != NULL;
		ivs_roster_leave(r, id);
		own = own || strstr(hear(r, 0, 1), "0.0") != NULL;
	}
	cr_assert(own);
	ivs_roster_free(r);
}

/* PROTOCOL.md, W-12 */
Test(roster, silent_peers_are_not_announced, .timeout = TIMEOUT)
{
	struct ivs_roster *r = make(8);

	greeted(r, 0);
	greeted(r, 0);
	HEARS(r, 0, ALL, "");
	HEARS(r, 1, ALL, "");
	ivs_roster_leave(r, 1);
	HEARS(r, 0, ALL, "");
	cr_assert_eq(greeted(r, 2), 1, "no client knew the first peer");
	HEARS(r, 0, ALL, "1.0 1.1");
	ivs_roster_free(r);
}

/* PROTOCOL.md, W-7 */
Test(roster, leave_is_sent_to_those_that_know_the_peer, .timeout = TIMEOUT)
{
	struct ivs_roster *r = make(8);

	greeted(r, 0);
	greeted(r, 0);
	greeted(r, 1);
	HEARS(r, 0, ALL, "2.0");
	ivs_roster_leave(r, 2);
	HEARS(r, 0, ALL, "-2");
	HEARS(r, 1, ALL, "");
	ivs_roster_free(r);
}

/* PROTOCOL.md, W-11 */
Test(roster, leave_between_vectors, .timeout = TIMEOUT)
{
	struct ivs_roster *r = make(8);

	greeted(r, 0);
	greeted(r, 4);
	HEARS(r, 0, 2, "1.0 1.1");
	greeted(r, 1);
	ivs_roster_leave(r, 1);
	HEARS(r, 0, ALL, "-1 2.0");
	ivs_roster_free(r);
}

Test(roster, nothing_is_sent_between_vectors, .timeout = TIMEOUT)
{
	struct ivs_roster *r = make(8);

	greeted(r, 0);
	greeted(r, 1);
	greeted(r, 1);
	hear(r, 0, ALL);
	greeted(r, 3);
	HEARS(r, 0, 1, "3.0");
	/* A leave of a lower id and a join become due, but wait for peer 3's other vectors. */
	ivs_roster_leave(r, 1);
	cr_assert_eq(greeted(r, 1), 4, "peer 0 still knows peer 1");
	HEARS(r, 0, ALL, "3.1 3.2 -1 4.0");
	ivs_roster_free(r);
}

Test(roster, nothing_is_sent_between_own_vectors, .timeout = TIMEOUT)
{
	struct ivs_roster *r = make(8);

	greeted(r, 3);
	HEARS(r, 0, 1, "0.0");
	greeted(r, 1);
	HEARS(r, 0, ALL, "0.1 0.2 1.0");
	ivs_roster_free(r);
}

/* PROTOCOL.md, W-11 */
Test(roster, leaves_before_joins, .timeout = TIMEOUT)
{
	struct ivs_roster *r = make(8);

	greeted(r, 0);
	for (int i = 0; i < 3; i++)
		greeted(r, 1);
	hear(r, 0, ALL);
	greeted(r, 1);
	ivs_roster_leave(r, 3);
	greeted(r, 1);
	HEARS(r, 0, 1, "-3");
	ivs_roster_leave(r, 2);
	HEARS(r, 0, 1, "-2");
	hear(r, 0, ALL);
	HEARS(r, 0, ALL, "");
	ivs_roster_free(r);
}

Test(roster, client_that_does_not_read_gets_the_state_and_not_the_history, .timeout = TIMEOUT)
{
	struct ivs_roster *r = make(8);

	greeted(r, 0);
	for (int i = 0; i < 1000; i++) {
		unsigned int id = greeted(r, 1);

		cr_assert_eq(id, 1, "no client knew the previous peer");
		ivs_roster_leave(r, id);
	}
	HEARS(r, 0, ALL, "");
	greeted(r, 2);
	HEARS(r, 0, ALL, "1.0 1.1");
	for (int i = 0; i < 1000; i++) {
		ivs_roster_leave(r, i == 0 ? 1 : 2);
		cr_assert_eq(greeted(r, 1), 2, "peer 0 knows the first peer");
	}
	HEARS(r, 0, ALL, "-1 2.0");
	ivs_roster_free(r);
}

Test(roster, peers_with_0_to_65536_vectors, .timeout = TIMEOUT)
{
	struct ivs_roster *r = make(2);
	struct ivs_v0_message msgs[32];
	unsigned int n, next = 0;

	greeted(r, 0);
	greeted(r, 65536);
	while ((n = ivs_roster_due(r, 0, msgs, 32)) > 0) {
		for (unsigned int i = 0; i < n; i++, next++) {
			if (msgs[i].id != 1 || msgs[i].vector != next)
				cr_assert_fail("at vector %u", next);
		}
		ivs_roster_end_send(r, 0, msgs, n);
	}
	cr_assert_eq(next, 65536);
	ivs_roster_leave(r, 1);
	HEARS(r, 0, ALL, "-1");
	ivs_roster_free(r);
}

Test(roster, due_changes_nothing, .timeout = TIMEOUT)
{
	struct ivs_roster *r = make(8);
	struct ivs_v0_message a[32], b[32];

	greeted(r, 2);
	greeted(r, 3);
	for (;;) {
		unsigned int n = ivs_roster_due(r, 0, a, 32);

		for (unsigned int ask = 1; ask <= 32; ask++) {
			unsigned int m = ivs_roster_due(r, 0, b, ask);

			cr_assert_eq(m > 0, n > 0);
			cr_assert_leq(m, ask);
			for (unsigned int i = 0; i < m && i < n; i++) {
				cr_assert_eq(a[i].type, b[i].type);
				cr_assert_eq(a[i].id, b[i].id);
				cr_assert_eq(a[i].vector, b[i].vector);
			}
		}
		if (n == 0)
			break;
		ivs_roster_end_send(r, 0, a, 1);
	}
	ivs_roster_free(r);
}

/* Run the same history with requests for different numbers of messages. */
Test(roster, messages_do_not_depend_on_the_amount_requested, .timeout = TIMEOUT)
{
	static char want[TEXT_LEN];

	for (unsigned int ask = 1; ask <= 64; ask++) {
		struct ivs_roster *r = make(16);

		for (unsigned int i = 0; i < 9; i++)
			greeted(r, i % 4);
		hear_by(r, 3, 9, 1); /* stop between two vectors */
		ivs_roster_leave(r, 1);
		ivs_roster_leave(r, 6);
		greeted(r, 2);
		if (ask == 1)
			strcpy(want, hear_by(r, 3, ALL, ask));
		else
			cr_assert_str_eq(hear_by(r, 3, ALL, ask), want, "ask %u", ask);
		ivs_roster_free(r);
	}
}

Test(roster, fewer_may_be_sent_than_are_due, .timeout = TIMEOUT)
{
	struct ivs_roster *r = make(8);
	struct ivs_v0_message msgs[32];

	join(r, 2);
	cr_assert_geq(ivs_roster_due(r, 0, msgs, 32), 1);
	ivs_roster_end_send(r, 0, msgs, 0);
	HEARS(r, 0, 1, "V");
	cr_assert_geq(ivs_roster_due(r, 0, msgs, 32), 1);
	ivs_roster_end_send(r, 0, msgs, 1);
	HEARS(r, 0, ALL, "M 0.0 0.1");
	ivs_roster_free(r);
}

/* The count includes the greeting, a peer's remaining vectors, leaves, joins and the client's own
 * vectors. */
Test(roster, number_of_messages_behind, .timeout = TIMEOUT)
{
	struct ivs_roster *r = make(200);
	unsigned int last = 0;

	cr_assert_eq(join(r, 2), 0);
	cr_assert_eq(ivs_roster_behind(r, 0), 3 + 2);
	hear(r, 0, 2);
	cr_assert_eq(ivs_roster_behind(r, 0), 1 + 2);
	hear(r, 0, ALL);
	cr_assert_eq(ivs_roster_behind(r, 0), 0);
	greeted(r, 3);
	join(r, 5); /* this peer is not visible yet */
	cr_assert_eq(ivs_roster_behind(r, 0), 3);
	HEARS(r, 0, 2, "1.0 1.1");
	cr_assert_eq(ivs_roster_behind(r, 0), 1);
	ivs_roster_leave(r, 1); /* the leave of peer 1 replaces its remaining vector */
	cr_assert_eq(ivs_roster_behind(r, 0), 1);
	for (unsigned int i = 0; i < 100; i++)
		last = greeted(r, 4);
	cr_assert_eq(ivs_roster_behind(r, 0), 1 + 100 * 4);
	cr_assert_eq(ivs_roster_behind(r, last), 2 + 100 * 4);
	ivs_roster_leave(r, 50);
	cr_assert_eq(ivs_roster_behind(r, 0), 1 + 99 * 4);
	ivs_roster_free(r);
}

/* At any point the count must equal the number of messages sent afterwards. */
Test(roster, number_behind_is_the_number_sent_later, .timeout = TIMEOUT)
{
	for (unsigned int after = 0; after < 40; after++) {
		struct ivs_roster *r = make(16);
		struct ivs_v0_message msg;
		uint64_t behind, told = 0;

		for (unsigned int i = 0; i < 9; i++)
			greeted(r, i % 4);
		hear(r, 3, after);
		ivs_roster_leave(r, 1);
		ivs_roster_leave(r, 6);
		greeted(r, 2);
		for (behind = ivs_roster_behind(r, 3); ivs_roster_due(r, 3, &msg, 1); told++)
			ivs_roster_end_send(r, 3, &msg, 1);
		cr_assert_eq(told, behind, "after %u", after);
		ivs_roster_free(r);
	}
}
