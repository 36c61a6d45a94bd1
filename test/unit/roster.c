/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sentence by sentence of server/roster.h, by hand. What a client hears is written as text:
 * "V I0 M" is the greeting, "3.1" the vector 1 of peer 3, "-3" its leave.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/roster.h"

#define TIMEOUT 60
#define TEXT_LEN 4096

static struct ivs_roster *make(unsigned int peers_max)
{
	struct ivs_roster *roster = NULL;

	cr_assert_eq(ivs_roster_new(peers_max, &roster), 0);
	cr_assert_not_null(roster);
	return roster;
}

static unsigned int join(struct ivs_roster *roster, unsigned int vectors_n)
{
	unsigned int id = 99999;

	cr_assert_eq(ivs_roster_join(roster, vectors_n, &id), 0);
	return id;
}

static void text_add(char text[TEXT_LEN], const struct ivs_wire_message *msg)
{
	size_t len = strlen(text);
	const char *gap = len ? " " : "";

	cr_assert_lt(len, TEXT_LEN - 32);
	cr_assert_eq(msg->fd, -1, "the caller fills the fd in");
	text += len;
	switch (msg->type) {
	case IVS_WIRE_VERSION:
		snprintf(text, 32, "%sV", gap);
		return;
	case IVS_WIRE_ID:
		snprintf(text, 32, "%sI%u", gap, msg->id);
		return;
	case IVS_WIRE_MEMORY:
		snprintf(text, 32, "%sM", gap);
		return;
	case IVS_WIRE_VECTOR:
		snprintf(text, 32, "%s%u.%u", gap, msg->id, msg->vector);
		return;
	case IVS_WIRE_LEAVE:
		snprintf(text, 32, "%s-%u", gap, msg->id);
		return;
	}
	cr_assert_fail("no such type: %d", (int)msg->type);
}

/* Tell @id at most @most messages, asking for @ask at a time. Return: what it heard. */
static const char *hear_by(struct ivs_roster *roster, unsigned int id, unsigned int most,
			   unsigned int ask)
{
	static char text[TEXT_LEN];
	struct ivs_wire_message msgs[64];

	text[0] = '\0';
	while (most > 0) {
		unsigned int n = ivs_roster_due(roster, id, msgs, ask);

		cr_assert_leq(n, ask);
		if (n == 0)
			break;
		if (n > most)
			n = most;
		for (unsigned int i = 0; i < n; i++)
			text_add(text, &msgs[i]);
		ivs_roster_told(roster, id, msgs, n);
		most -= n;
	}
	return text;
}

static const char *hear(struct ivs_roster *roster, unsigned int id, unsigned int most)
{
	return hear_by(roster, id, most, 32);
}

#define ALL 1000
#define HEARS(roster, id, most, text) cr_assert_str_eq(hear(roster, id, most), text)

/* Comes with @vectors_n vectors and reads its greeting only. */
static unsigned int greeted(struct ivs_roster *roster, unsigned int vectors_n)
{
	unsigned int id = join(roster, vectors_n);

	hear(roster, id, 3);
	cr_assert(ivs_roster_greeted(roster, id));
	return id;
}

Test(roster, greeting, .timeout = TIMEOUT)
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

Test(roster, others_before_self, .timeout = TIMEOUT)
{
	struct ivs_roster *r = make(8);

	greeted(r, 1);
	greeted(r, 2);
	HEARS(r, 0, ALL, "1.0 1.1 0.0"); /* peer 1 came after the greeting: either order */
	HEARS(r, 1, ALL, "0.0 1.0 1.1");
	cr_assert_eq(join(r, 1), 2);
	HEARS(r, 2, 3, "V I2 M");
	/* Whichever of the two others is first, self is last. */
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
	ivs_roster_leave(r, 0); /* nobody heard of it */
	cr_assert_eq(join(r, 3), 0);
	HEARS(r, 0, ALL, "V I0 M 1.0 0.0 0.1 0.2");
	ivs_roster_free(r);
}

Test(roster, visible_when_greeted, .timeout = TIMEOUT)
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

Test(roster, invisible_to_the_end_is_never_heard_of, .timeout = TIMEOUT)
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

Test(roster, own_vectors_of_one_who_is_alone_are_not_put_off_for_ever, .timeout = TIMEOUT)
{
	/*
	 * Nobody was visible when its greeting was complete, so its own vectors are due; newcomers
	 * may slip in, but not endlessly.
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

Test(roster, silent_peers, .timeout = TIMEOUT)
{
	struct ivs_roster *r = make(8);

	greeted(r, 0);
	greeted(r, 0);
	HEARS(r, 0, ALL, "");
	HEARS(r, 1, ALL, "");
	ivs_roster_leave(r, 1);
	HEARS(r, 0, ALL, "");
	cr_assert_eq(greeted(r, 2), 1, "nobody ever knew the first one");
	HEARS(r, 0, ALL, "1.0 1.1");
	ivs_roster_free(r);
}

Test(roster, leave_is_for_those_who_heard, .timeout = TIMEOUT)
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

Test(roster, leave_in_the_middle_of_vectors, .timeout = TIMEOUT)
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

Test(roster, nothing_between_vectors, .timeout = TIMEOUT)
{
	struct ivs_roster *r = make(8);

	greeted(r, 0);
	greeted(r, 1);
	greeted(r, 1);
	hear(r, 0, ALL);
	greeted(r, 3);
	HEARS(r, 0, 1, "3.0");
	/* A leave and a join with lower ids come up; both wait. */
	ivs_roster_leave(r, 1);
	cr_assert_eq(greeted(r, 1), 4, "0 still knows 1");
	HEARS(r, 0, ALL, "3.1 3.2 -1 4.0");
	ivs_roster_free(r);
}

Test(roster, nothing_between_own_vectors, .timeout = TIMEOUT)
{
	struct ivs_roster *r = make(8);

	greeted(r, 3);
	HEARS(r, 0, 1, "0.0");
	greeted(r, 1);
	HEARS(r, 0, ALL, "0.1 0.2 1.0");
	ivs_roster_free(r);
}

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

Test(roster, who_does_not_read_hears_of_the_state_and_not_of_the_history, .timeout = TIMEOUT)
{
	struct ivs_roster *r = make(8);

	greeted(r, 0);
	for (int i = 0; i < 1000; i++) {
		unsigned int id = greeted(r, 1);

		cr_assert_eq(id, 1, "nobody heard of the one before");
		ivs_roster_leave(r, id);
	}
	HEARS(r, 0, ALL, "");
	greeted(r, 2);
	HEARS(r, 0, ALL, "1.0 1.1");
	for (int i = 0; i < 1000; i++) {
		ivs_roster_leave(r, i == 0 ? 1 : 2);
		cr_assert_eq(greeted(r, 1), 2, "0 knows the first one");
	}
	HEARS(r, 0, ALL, "-1 2.0");
	ivs_roster_free(r);
}

Test(roster, lowest_free_id, .timeout = TIMEOUT)
{
	struct ivs_roster *r = make(16);

	for (unsigned int i = 0; i < 8; i++)
		cr_assert_eq(join(r, 1), i);
	ivs_roster_leave(r, 5);
	ivs_roster_leave(r, 2);
	ivs_roster_leave(r, 7);
	cr_assert_eq(join(r, 1), 2);
	cr_assert_eq(join(r, 1), 5);
	cr_assert_eq(join(r, 1), 7);
	cr_assert_eq(join(r, 1), 8);
	ivs_roster_free(r);
}

/* QEMU writes into freed memory when an id comes back that it has known. */
Test(roster, id_is_not_given_again_while_somebody_is_there_who_heard_of_it, .timeout = TIMEOUT)
{
	struct ivs_roster *r = make(16);

	greeted(r, 0);
	greeted(r, 0);
	greeted(r, 2);
	HEARS(r, 0, 1, "2.0"); /* one vector is enough to know it */
	HEARS(r, 1, ALL, "2.0 2.1");
	ivs_roster_leave(r, 2);
	cr_assert_eq(join(r, 0), 3);
	HEARS(r, 0, ALL, "-2");
	cr_assert_eq(join(r, 0), 4, "1 still knows it");
	HEARS(r, 1, ALL, "-2");
	cr_assert_eq(join(r, 0), 5, "both have heard of it");
	ivs_roster_leave(r, 0);
	cr_assert_eq(join(r, 0), 0);
	cr_assert_eq(join(r, 0), 6, "1 has heard of it");
	ivs_roster_leave(r, 1);
	cr_assert_eq(join(r, 0), 1);
	cr_assert_eq(join(r, 0), 2);
	ivs_roster_free(r);
}

Test(roster, id_is_free_when_who_knows_it_left, .timeout = TIMEOUT)
{
	struct ivs_roster *r = make(16);

	greeted(r, 0);
	greeted(r, 0);
	greeted(r, 1);
	HEARS(r, 0, ALL, "2.0");
	HEARS(r, 1, ALL, "2.0");
	ivs_roster_leave(r, 2);
	ivs_roster_leave(r, 1);
	cr_assert_eq(join(r, 0), 1);
	cr_assert_eq(join(r, 0), 3, "0 knows 2");
	ivs_roster_leave(r, 0);
	cr_assert_eq(join(r, 0), 0);
	cr_assert_eq(join(r, 0), 2);
	ivs_roster_free(r);
}

Test(roster, own_vectors_do_not_keep_an_id, .timeout = TIMEOUT)
{
	struct ivs_roster *r = make(2);

	greeted(r, 2);
	HEARS(r, 0, ALL, "0.0 0.1");
	ivs_roster_leave(r, 0);
	cr_assert_eq(join(r, 1), 0);
	HEARS(r, 0, ALL, "V I0 M 0.0");
	ivs_roster_free(r);
}

Test(roster, peers_max, .timeout = TIMEOUT)
{
	for (unsigned int max = 1; max <= 130; max++) {
		struct ivs_roster *r = make(max);
		unsigned int id = 99;

		cr_assert_eq(ivs_roster_peers(r), 0);
		for (unsigned int i = 0; i < max; i++)
			cr_assert_eq(join(r, 1), i);
		cr_assert_eq(ivs_roster_join(r, 1, &id), IVS_ROSTER_E_FULL);
		cr_assert_eq(ivs_roster_peers(r), max);
		cr_assert_not(ivs_roster_present(r, max));
		ivs_roster_leave(r, max / 2);
		cr_assert_eq(ivs_roster_peers(r), max - 1);
		cr_assert_not(ivs_roster_present(r, max / 2));
		cr_assert_eq(join(r, 1), max / 2);
		cr_assert_eq(ivs_roster_join(r, 1, &id), IVS_ROSTER_E_FULL);
		ivs_roster_free(r);
	}
}

Test(roster, present_of_any_id, .timeout = TIMEOUT)
{
	struct ivs_roster *r = make(2);

	cr_assert_not(ivs_roster_present(r, 0));
	join(r, 0);
	cr_assert(ivs_roster_present(r, 0));
	cr_assert_not(ivs_roster_present(r, 1));
	cr_assert_not(ivs_roster_present(r, 65535));
	cr_assert_not(ivs_roster_present(r, 65536));
	cr_assert_not(ivs_roster_present(r, 0xffffffffu));
	ivs_roster_free(r);
}

Test(roster, vectors_0_to_65536, .timeout = TIMEOUT)
{
	struct ivs_roster *r = make(2);
	struct ivs_wire_message msgs[32];
	unsigned int n, next = 0;

	greeted(r, 0);
	greeted(r, 65536);
	while ((n = ivs_roster_due(r, 0, msgs, 32)) > 0) {
		for (unsigned int i = 0; i < n; i++, next++) {
			if (msgs[i].id != 1 || msgs[i].vector != next)
				cr_assert_fail("at vector %u", next);
		}
		ivs_roster_told(r, 0, msgs, n);
	}
	cr_assert_eq(next, 65536);
	ivs_roster_leave(r, 1);
	HEARS(r, 0, ALL, "-1");
	ivs_roster_free(r);
}

/* As many as there can be. They read nothing: the roster has to be cheap for those. */
Test(roster, all_65536_ids, .timeout = TIMEOUT)
{
	struct ivs_roster *r = make(65536);
	unsigned int id = 0;

	for (unsigned int i = 0; i < 65536; i++) {
		if (ivs_roster_join(r, 1, &id) != 0 || id != i)
			cr_assert_fail("join %u got %u", i, id);
	}
	cr_assert_eq(ivs_roster_join(r, 1, &id), IVS_ROSTER_E_FULL);
	HEARS(r, 65535, ALL, "V I65535 M 65535.0");
	HEARS(r, 0, ALL, "V I0 M 65535.0 0.0");
	ivs_roster_leave(r, 65535);
	HEARS(r, 0, ALL, "-65535");
	ivs_roster_leave(r, 300);
	cr_assert_eq(join(r, 1), 300);
	ivs_roster_free(r);
}

/*
 * Readers who stop reading, one after the other, each with 300 peers in mind who are gone: then no
 * id is free though there is room for peers.
 */
Test(roster, no_id_is_free, .timeout = TIMEOUT)
{
	enum { CROWD = 300, READERS = 230 };
	struct ivs_roster *r = make(CROWD + READERS);
	unsigned int crowd[CROWD], crowd_n = 0, id = 0, lowest;
	int rc = 0;

	for (unsigned int i = 0; i < READERS; i++)
		greeted(r, 0);
	for (unsigned int reader = 0; reader < READERS && rc == 0; reader++) {
		for (crowd_n = 0; crowd_n < CROWD; crowd_n++) {
			struct ivs_wire_message msgs[3];

			rc = ivs_roster_join(r, 1, &crowd[crowd_n]);
			if (rc != 0)
				break;
			if (ivs_roster_due(r, crowd[crowd_n], msgs, 3) != 3)
				cr_assert_fail("greeting");
			ivs_roster_told(r, crowd[crowd_n], msgs, 3);
		}
		hear(r, reader, CROWD);
		lowest = crowd[0];
		for (unsigned int i = 0; rc == 0 && i < crowd_n; i++)
			ivs_roster_leave(r, crowd[i]);
	}
	cr_assert_eq(rc, IVS_ROSTER_E_FULL);
	cr_assert_eq(READERS + crowd_n, ivs_roster_peers(r));
	cr_assert_lt(ivs_roster_peers(r), CROWD + READERS, "not for want of room");
	for (unsigned int i = 0; i < crowd_n; i++)
		ivs_roster_leave(r, crowd[i]);
	cr_assert_gt(lowest, 60000);
	ivs_roster_leave(r, 0); /* and with it goes what it knew: the first crowd's ids */
	cr_assert_eq(join(r, 1), 0);
	cr_assert_eq(join(r, 1), READERS);
	cr_assert_eq(join(r, 1), READERS + 1);
	cr_assert_eq(ivs_roster_join(r, 1, &id), 0);
	ivs_roster_free(r);
}

/*
 * One who stays while 65535 others come and go, and hears of each: then ids come again, and of
 * their new owners it is told nothing; others are.
 */
Test(roster, ids_come_again_when_all_have_been_used, .timeout = TIMEOUT)
{
	struct ivs_roster *r = make(8);

	greeted(r, 1);
	hear(r, 0, ALL);
	for (unsigned int i = 1; i < 65536; i++) {
		if (greeted(r, 1) != i)
			cr_assert_fail("id %u is not new", i);
		hear(r, 0, ALL);
		ivs_roster_leave(r, i);
		hear(r, 0, ALL);
	}
	cr_assert_eq(greeted(r, 1), 1);
	HEARS(r, 0, ALL, "");
	HEARS(r, 1, ALL, "0.0 1.0");
	cr_assert_eq(greeted(r, 1), 2);
	HEARS(r, 1, ALL, "2.0");
	HEARS(r, 2, ALL, "0.0 1.0 2.0");
	HEARS(r, 0, ALL, "");
	ivs_roster_leave(r, 1);
	HEARS(r, 0, ALL, "");
	HEARS(r, 2, ALL, "-1");
	ivs_roster_leave(r, 0);
	cr_assert_eq(greeted(r, 1), 3, "2 has heard of 0 and 1");
	ivs_roster_free(r);
}

Test(roster, due_changes_nothing, .timeout = TIMEOUT)
{
	struct ivs_roster *r = make(8);
	struct ivs_wire_message a[32], b[32];

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
		ivs_roster_told(r, 0, a, 1);
	}
	ivs_roster_free(r);
}

/* The same history twice, asked in different amounts. */
Test(roster, however_many_are_asked_for, .timeout = TIMEOUT)
{
	static char want[TEXT_LEN];

	for (unsigned int ask = 1; ask <= 64; ask++) {
		struct ivs_roster *r = make(16);

		for (unsigned int i = 0; i < 9; i++)
			greeted(r, i % 4);
		hear_by(r, 3, 9, 1); /* in the middle of something */
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

Test(roster, told_may_be_less_than_due, .timeout = TIMEOUT)
{
	struct ivs_roster *r = make(8);
	struct ivs_wire_message msgs[32];

	join(r, 2);
	cr_assert_geq(ivs_roster_due(r, 0, msgs, 32), 1);
	ivs_roster_told(r, 0, msgs, 0);
	HEARS(r, 0, 1, "V");
	cr_assert_geq(ivs_roster_due(r, 0, msgs, 32), 1);
	ivs_roster_told(r, 0, msgs, 1);
	HEARS(r, 0, ALL, "M 0.0 0.1");
	ivs_roster_free(r);
}

Test(roster, newcomer_with_the_lowest_id_after_the_highest, .timeout = TIMEOUT)
{
	struct ivs_roster *r = make(4);

	greeted(r, 0);
	greeted(r, 0);
	greeted(r, 1);
	HEARS(r, 1, ALL, "2.0");
	ivs_roster_leave(r, 0);
	HEARS(r, 1, ALL, "");
	greeted(r, 1);
	HEARS(r, 1, ALL, "0.0");
	ivs_roster_free(r);
}

/* Two peers who talk, with ids on either side of every boundary that a bitmap may have. */
Test(roster, any_pair_of_ids, .timeout = TIMEOUT)
{
	for (unsigned int silent = 0; silent < 140; silent++) {
		struct ivs_roster *r = make(256);
		char want[64];

		for (unsigned int i = 0; i < silent; i++)
			join(r, 0);
		join(r, 1);
		join(r, 2);
		snprintf(want, sizeof(want), "V I%u M %u.0", silent, silent);
		HEARS(r, silent, ALL, want);
		snprintf(want, sizeof(want), "V I%u M %u.0 %u.0 %u.1", silent + 1, silent,
			 silent + 1, silent + 1);
		HEARS(r, silent + 1, ALL, want);
		snprintf(want, sizeof(want), "%u.0 %u.1", silent + 1, silent + 1);
		HEARS(r, silent, ALL, want);
		ivs_roster_leave(r, silent);
		snprintf(want, sizeof(want), "-%u", silent);
		HEARS(r, silent + 1, ALL, want);
		ivs_roster_free(r);
	}
}
