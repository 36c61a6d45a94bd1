/* SPDX-License-Identifier: BSD-3-Clause */
/* Tests of what roster/roster.h says about ids (rule W-10 of PROTOCOL.md), without a model. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/c/roster_heard.h"

Test(roster_ids, newcomer_gets_the_lowest_free_id, .timeout = TIMEOUT)
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

Test(roster_ids, id_is_not_reused_while_a_client_knows_it, .timeout = TIMEOUT)
{
	struct ivs_roster *r = make(16);

	greeted(r, 0);
	greeted(r, 0);
	greeted(r, 2);
	HEARS(r, 0, 1, "2.0"); /* one received vector is enough to know the id */
	HEARS(r, 1, ALL, "2.0 2.1");
	ivs_roster_leave(r, 2);
	cr_assert_eq(join(r, 0), 3);
	HEARS(r, 0, ALL, "-2");
	cr_assert_eq(join(r, 0), 4, "peer 1 still knows it");
	HEARS(r, 1, ALL, "-2");
	cr_assert_eq(join(r, 0), 2);
	ivs_roster_leave(r, 0);
	cr_assert_eq(join(r, 0), 0);
	cr_assert_eq(join(r, 0), 5);
	ivs_roster_free(r);
}

Test(roster_ids, id_is_free_when_the_client_that_knew_it_left, .timeout = TIMEOUT)
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

Test(roster_ids, own_vectors_do_not_keep_an_id, .timeout = TIMEOUT)
{
	struct ivs_roster *r = make(2);

	greeted(r, 2);
	HEARS(r, 0, ALL, "0.0 0.1");
	ivs_roster_leave(r, 0);
	cr_assert_eq(join(r, 1), 0);
	HEARS(r, 0, ALL, "V I0 M 0.0");
	ivs_roster_free(r);
}

Test(roster_ids, no_more_than_peers_max_are_admitted, .timeout = TIMEOUT)
{
	for (unsigned int max = 1; max <= 130; max++) {
		struct ivs_roster *r = make(max);
		unsigned int id = 99;

		cr_assert_eq(ivs_roster_peers(r), 0);
		for (unsigned int i = 0; i < max; i++)
			cr_assert_eq(join(r, 1), i);
		cr_assert_eq(try_join(r, 1, &id), IVS_ROSTER_E_FULL);
		cr_assert_eq(ivs_roster_peers(r), max);
		cr_assert_not(ivs_roster_present(r, max));
		ivs_roster_leave(r, max / 2);
		cr_assert_eq(ivs_roster_peers(r), max - 1);
		cr_assert_not(ivs_roster_present(r, max / 2));
		cr_assert_eq(join(r, 1), max / 2);
		cr_assert_eq(try_join(r, 1, &id), IVS_ROSTER_E_FULL);
		ivs_roster_free(r);
	}
}

Test(roster_ids, present_of_any_id, .timeout = TIMEOUT)
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

/* The roster must support the maximum number of peers, at little cost while none of them reads. */
Test(roster_ids, all_65536_ids_can_be_used, .timeout = TIMEOUT)
{
	struct ivs_roster *r = make(65536);
	unsigned int id = 0;

	for (unsigned int i = 0; i < 65536; i++) {
		if (try_join(r, 1, &id) != 0 || id != i)
			cr_assert_fail("join %u got %u", i, id);
	}
	cr_assert_eq(try_join(r, 1, &id), IVS_ROSTER_E_FULL);
	HEARS(r, 65535, ALL, "V I65535 M 65535.0");
	HEARS(r, 0, ALL, "V I0 M 65535.0 0.0");
	ivs_roster_leave(r, 65535);
	HEARS(r, 0, ALL, "-65535");
	ivs_roster_leave(r, 300);
	cr_assert_eq(join(r, 1), 300);
	ivs_roster_free(r);
}

/*
 * If enough clients stop reading while each still knows 300 different peers that have left, clients
 * know all ids. A newcomer then gets the id that the fewest clients know, and all are sent the
 * leave before the new owner's vectors.
 */
Test(roster_ids, known_ids_are_reused_when_all_are_known, .timeout = TIMEOUT)
{
	enum { CROWD = 300, READERS = 230 };
	struct ivs_roster *r = make(CROWD + READERS);
	unsigned int crowd[CROWD], reader = 0;
	char want[64];

	for (unsigned int i = 0; i < READERS; i++)
		greeted(r, 0);
	for (; ivs_roster_unknown(r) >= CROWD; reader++) {
		for (unsigned int i = 0; i < CROWD; i++)
			crowd[i] = greeted(r, 1);
		hear(r, reader, CROWD);
		for (unsigned int i = 0; i < CROWD; i++)
			ivs_roster_leave(r, crowd[i]);
	}
	hear(r, READERS - 1, ALL);
	while (ivs_roster_unknown(r))
		join(r, 0);
	cr_assert_eq(ivs_roster_known_n(r, READERS), 1);
	cr_assert_eq(greeted(r, 1), READERS, "only peer 0 knows it");
	snprintf(want, sizeof(want), "%u.0", READERS);
	HEARS(r, READERS - 1, ALL, want);
	cr_assert_str_eq(strrchr(hear(r, 0, ALL), ' ') + 1, want);
	cr_assert_eq(join(r, 1), READERS + 1, "the second id of the first crowd is now unknown");
	ivs_roster_free(r);
}

/*
 * A quiet client that has been sent 65535 peers whose seats were given up is not sent a peer whose
 * id is reused; other clients are.
 */
Test(roster_ids, ids_are_reused_when_all_have_been_used, .timeout = TIMEOUT)
{
	struct ivs_roster *r = make(8);

	join_quiet(r, 1);
	hear(r, 0, ALL);
	for (unsigned int i = 1; i < 65536; i++) {
		if (greeted(r, 1) != i)
			cr_assert_fail("id %u is not new", i);
		hear(r, 0, ALL);
		cr_assert(ivs_roster_leave(r, i));
		ivs_roster_give_up(r, i);
		hear(r, 0, ALL);
	}
	cr_assert_eq(ivs_roster_unknown(r), 0);
	cr_assert_eq(greeted(r, 1), 1);
	HEARS(r, 0, ALL, "");
	HEARS(r, 1, ALL, "0.0 1.0");
	cr_assert_eq(greeted(r, 1), 2);
	HEARS(r, 1, ALL, "2.0");
	HEARS(r, 2, ALL, "0.0 1.0 2.0");
	HEARS(r, 0, ALL, "");
	cr_assert_not(ivs_roster_leave(r, 1), "peer 0 has not been sent its vectors");
	HEARS(r, 0, ALL, "");
	HEARS(r, 2, ALL, "-1");
	ivs_roster_leave(r, 0);
	cr_assert_eq(greeted(r, 1), 1, "peer 2 knows peer 0");
	ivs_roster_free(r);
}

Test(roster_ids, newcomer_with_the_lowest_id_after_the_highest, .timeout = TIMEOUT)
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

/* Two peers learn of each other regardless of their ids, even at a word boundary of a bitmap. */
Test(roster_ids, any_pair_of_ids_works, .timeout = TIMEOUT)
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

/*
 * Make @owner's clients join and leave, and give up their seats, until the watcher, which is quiet,
 * knows @n ids. Return: the last id.
 */
static unsigned int use_ids(struct ivs_roster *r, struct ivs_roster_owner *owner, unsigned int n)
{
	const struct ivs_roster_newcomer newcomer = {.vectors_n = 1, .owner = owner, .share = 1};
	unsigned int id = 0;

	for (unsigned int i = 0; i < n; i++) {
		cr_assert_eq(ivs_roster_join(r, &newcomer, &id), 0);
		while (*hear(r, id, ALL))
			;
		while (*hear(r, 0, ALL))
			;
		if (ivs_roster_leave(r, id))
			ivs_roster_give_up(r, id);
		while (*hear(r, 0, ALL))
			;
	}
	return id;
}

/*
 * Otherwise one user could use up all ids, and clients that stay would not be told of any new peer.
 */
Test(roster_ids, owner_with_its_share_gets_ids_that_it_had, .timeout = TIMEOUT)
{
	struct ivs_roster *r = make(16);
	struct ivs_roster_owner one = {0};
	struct ivs_roster_owner two = {0};
	unsigned int id;

	join_quiet(r, 1);
	use_ids(r, &one, 32768);
	cr_assert_eq(one.ids_n, 32768);
	id = use_ids(r, &one, 1000);
	cr_assert(id && id <= 32768, "id %u", id);
	cr_assert_eq(one.ids_n, 32768, "the owner has used no other ids");
	cr_assert_eq(ivs_roster_quiet_n(r, id), 1);
	cr_assert_eq(ivs_roster_unknown(r), 65536 - 32769);
	cr_assert_eq(use_ids(r, &two, 1), 32769);
	cr_assert_eq(ivs_roster_quiet_n(r, 32769), 1);
	cr_assert_eq(two.ids_n, 1);
	ivs_roster_leave(r, 0); /* peer 0 knew these ids */
	cr_assert(!one.ids_n && !two.ids_n);
	cr_assert_eq(ivs_roster_unknown(r), 65536);
	ivs_roster_free(r);
}

/* The rest of the vectors must not be those of another seat. */
Test(roster_ids, rest_of_a_seat_that_was_given_up_is_never_sent, .timeout = TIMEOUT)
{
	const struct ivs_roster_newcomer last = {.vectors_n = 2, .lowest = IVS_ID_MAX};
	struct ivs_roster *r = make(8);
	unsigned int id = 0;

	join_quiet(r, 1);
	hear(r, 0, ALL);
	cr_assert_eq(ivs_roster_join(r, &last, &id), 0);
	cr_assert_eq(id, IVS_ID_MAX);
	hear(r, id, 3);
	HEARS(r, 0, 1, "65535.0");
	cr_assert(ivs_roster_leave(r, id));
	ivs_roster_give_up(r, id);
	cr_assert_eq(ivs_roster_join(r, &last, &id), 0);
	cr_assert_eq(id, IVS_ID_MAX);
	hear(r, id, 3);
	HEARS(r, 0, ALL, "");
	cr_assert_eq(ivs_roster_behind(r, 0), 0);
	ivs_roster_free(r);
}

/* The case of a server that keeps id 0 for a client that has not joined yet. */
Test(roster_ids, lowest_id_can_be_excluded, .timeout = TIMEOUT)
{
	const struct ivs_roster_newcomer newcomer = {.vectors_n = 1, .lowest = 1};
	struct ivs_roster *r = make(4);
	unsigned int id = 0;

	cr_assert_eq(ivs_roster_join(r, &newcomer, &id), 0);
	cr_assert_eq(id, 1);
	cr_assert_eq(join(r, 1), 0);
	cr_assert_eq(ivs_roster_join(r, &newcomer, &id), 0);
	cr_assert_eq(id, 2);
	ivs_roster_free(r);
}
