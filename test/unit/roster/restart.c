/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tests of resuming a roster from the memory of a process that has died, at any point, and from
 * damaged memory. For random histories with restarts see model.c (--resume).
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "roster/memory.h"
#include "support/c/roster_heard.h"

TestSuite(roster_restart, .timeout = TIMEOUT);

static struct ivs_roster_memory at_growth; /* copy of the memory, taken when it last grew */

static void keep_copy(struct ivs_roster_memory *copy, const struct ivs_roster_memory *memory)
{
	free(copy->base);
	*copy = *memory;
	copy->base = malloc(memory->len);
	cr_assert_not_null(copy->base);
	memcpy(copy->base, memory->base, memory->len);
	copy->grow = ivs_roster_heap_grow;
}

/* Grow the memory. Keep a copy in which the header does not refer to the new area yet, and the new
 * area contains garbage. */
static int grow_and_keep(struct ivs_roster_memory *memory, size_t len)
{
	size_t before = memory->len;
	int result = ivs_roster_heap_grow(memory, len);

	if (before) {
		keep_copy(&at_growth, memory);
		memset(at_growth.base + before, 0xa5, len - before);
	}
	return result;
}

static struct ivs_roster *resume(struct ivs_roster_memory *memory)
{
	struct ivs_roster *roster = NULL;

	cr_assert_eq(ivs_roster_resume(65536, memory, &roster), 0);
	return roster;
}

/* Both rosters must have the same clients, and the same messages due to each. */
static void same_due(const struct ivs_roster *a, const struct ivs_roster *b, unsigned int ids_n)
{
	struct ivs_v0_message one[32], other[32];

	for (unsigned int id = 0; id < ids_n; id++) {
		cr_assert_eq(ivs_roster_present(a, id), ivs_roster_present(b, id), "id %u", id);
		if (!ivs_roster_present(a, id))
			continue;
		unsigned int n = ivs_roster_due(a, id, one, 32);

		cr_assert_eq(ivs_roster_due(b, id, other, 32), n);
		cr_assert_eq(memcmp(one, other, n * sizeof(one[0])), 0, "due for %u", id);
		cr_assert_eq(ivs_roster_serial(a, id), ivs_roster_serial(b, id));
		cr_assert_eq(ivs_roster_vectors(a, id), ivs_roster_vectors(b, id));
	}
	cr_assert_eq(ivs_roster_peers(a), ivs_roster_peers(b));
	cr_assert_eq(ivs_roster_unknown(a), ivs_roster_unknown(b));
}

Test(roster_restart, process_dies_while_the_memory_grows)
{
	struct ivs_roster_memory memory = {.grow = grow_and_keep};
	struct ivs_roster_memory before = {0};
	struct ivs_roster *roster;

	cr_assert_eq(ivs_roster_new(65536, &memory, &roster), 0);
	for (unsigned int room = 64; room <= 512; room *= 2) {
		struct ivs_roster *then, *after;

		while (ivs_roster_peers(roster) < room) {
			unsigned int id = join(roster, ivs_roster_peers(roster) % 3);

			/*
			 * Some clients read everything, some read only part of it, and some read
			 * nothing.
			 */
			hear(roster, id, id % 5 ? id % 40 : ALL);
		}
		keep_copy(&before, &memory);
		join(roster, 1); /* the memory grows */
		cr_assert_gt(at_growth.len, before.len);
		then = resume(&before);
		after = resume(&at_growth);
		same_due(then, after, room);
		/* The resumed roster grows its memory again, into the half-finished area. */
		cr_assert_eq(join(after, 2), room);
		cr_assert_eq(join(then, 2), room);
		same_due(then, after, room + 1);
		for (unsigned int id = 0; id < room; id++) {
			hear(then, id, 20);
			hear(after, id, 20);
		}
		same_due(then, after, room + 1);
		ivs_roster_free(then);
		ivs_roster_free(after);
	}
	ivs_roster_free(roster);
	free(memory.base);
	free(before.base);
	free(at_growth.base);
}

Test(roster_restart, nothing_is_lost_or_repeated_at_any_message)
{
	for (unsigned int told = 0; told < 12; told++) {
		struct ivs_roster_memory memory = {.grow = ivs_roster_heap_grow};
		struct ivs_roster *roster, *next;
		char all[TEXT_LEN], first[TEXT_LEN];

		cr_assert_eq(ivs_roster_new(8, &memory, &roster), 0);
		greeted(roster, 3);
		greeted(roster, 2);
		join(roster, 2);
		strcpy(first, hear(roster, 2, told));
		ivs_roster_free(roster);
		next = resume(&memory);
		snprintf(all, sizeof(all), "%s%s%s", first, told && told < 10 ? " " : "",
			 hear(next, 2, ALL));
		cr_assert_str_eq(all, "V I2 M 0.0 0.1 0.2 1.0 1.1 2.0 2.1");
		ivs_roster_free(next);
		free(memory.base);
	}
}

Test(roster_restart, client_in_doubt_is_lost)
{
	struct ivs_roster_memory memory = {.grow = ivs_roster_heap_grow};
	struct ivs_roster *roster, *next;
	struct ivs_v0_message msgs[32];

	cr_assert_eq(ivs_roster_new(8, &memory, &roster), 0);
	greeted(roster, 1);
	greeted(roster, 2);
	hear(roster, 0, 2); /* two of the messages 0.0, 1.0 and 1.1 */
	hear(roster, 0, ALL);
	ivs_roster_begin_send(roster, 1);
	ivs_roster_free(roster);
	next = resume(&memory);
	cr_assert(!ivs_roster_present(next, 1));
	cr_assert_eq(ivs_roster_peers(next), 1);
	cr_assert_eq(join(next, 1), 2, "a client knows peer 1");
	HEARS(next, 0, ALL, "-1");
	ivs_roster_free(next);
	/* A send that ended without sending anything leaves no message in doubt. */
	next = resume(&memory);
	cr_assert_eq(ivs_roster_due(next, 2, msgs, 32), 4);
	ivs_roster_begin_send(next, 2);
	ivs_roster_end_send(next, 2, msgs, 0);
	ivs_roster_free(next);
	next = resume(&memory);
	HEARS(next, 2, ALL, "V I2 M 0.0 2.0");
	ivs_roster_free(next);
	free(memory.base);
}

/* A client in doubt, and a client that has left, leave their seats to a quiet client. */
Test(roster_restart, vacant_seats_are_kept)
{
	struct ivs_roster_memory memory = {.grow = ivs_roster_heap_grow};
	struct ivs_roster *roster, *next;

	cr_assert_eq(ivs_roster_new(8, &memory, &roster), 0);
	join_quiet(roster, 2);
	for (unsigned int i = 1; i < 4; i++)
		cr_assert_eq(greeted(roster, 2), i);
	HEARS(roster, 0, 7, "V I0 M 1.0 1.1 2.0 2.1");
	ivs_roster_set_note(roster, 2, 1, 77);
	cr_assert(ivs_roster_leave(roster, 2));
	HEARS(roster, 0, 1, "3.0");
	ivs_roster_begin_send(roster, 1);
	ivs_roster_begin_send(roster, 3);
	ivs_roster_free(roster);
	next = resume(&memory);
	cr_assert_eq(ivs_roster_peers(next), 1);
	for (unsigned int i = 1; i < 4; i++)
		cr_assert_eq(ivs_roster_next_vacant(next, i), i);
	cr_assert_eq(ivs_roster_note(next, 2, 1), 77);
	cr_assert_eq(ivs_roster_seat_serial(next, 2), 3);
	HEARS(next, 0, ALL, "3.1 0.0 0.1");
	take(next, 2, 2, false);
	cr_assert_eq(ivs_roster_seat_serial(next, 2), 3);
	/* It is unknown what the quiet client has received, so no seat is needed. */
	ivs_roster_begin_send(next, 0);
	ivs_roster_free(next);
	next = resume(&memory);
	cr_assert_eq(ivs_roster_next_vacant(next, 0), IVS_ID_MAX + 1);
	cr_assert(ivs_roster_present(next, 2));
	ivs_roster_free(next);
	free(memory.base);
}

/* The process dies after a seat was taken, before a client was sent the previous owner's leave. */
Test(roster_restart, outdated_peers_are_kept)
{
	struct ivs_roster_memory memory = {.grow = ivs_roster_heap_grow};
	struct ivs_roster *roster, *next;

	cr_assert_eq(ivs_roster_new(8, &memory, &roster), 0);
	join_quiet(roster, 1);
	greeted(roster, 1);
	greeted(roster, 1);
	hear(roster, 0, ALL);
	hear(roster, 1, ALL);
	cr_assert(ivs_roster_leave(roster, 2));
	take(roster, 2, 1, true);
	hear(roster, 2, 3);
	ivs_roster_free(roster);
	next = resume(&memory);
	HEARS(next, 1, ALL, "-2 2.0");
	HEARS(next, 0, ALL, "");
	ivs_roster_free(next);
	free(memory.base);
}

Test(roster_restart, serial_numbers_continue)
{
	struct ivs_roster_memory memory = {.grow = ivs_roster_heap_grow};
	struct ivs_roster *roster;
	uint64_t last = 1000;

	cr_assert_eq(ivs_roster_new(8, &memory, &roster), 0);
	ivs_roster_number_from(roster, last);
	for (unsigned int i = 0; i < 20; i++) {
		unsigned int id = join(roster, 1);

		cr_assert_eq(ivs_roster_serial(roster, id), ++last);
		ivs_roster_leave(roster, id);
		ivs_roster_free(roster);
		roster = resume(&memory);
	}
	ivs_roster_free(roster);
	free(memory.base);
}

Test(roster_restart, other_memory_is_refused)
{
	uint64_t bytes[512] = {0};
	struct ivs_roster_memory memory = {(uint8_t *)bytes, 0, ivs_roster_heap_grow};
	struct ivs_roster *roster = NULL;

	for (memory.len = 0; memory.len <= sizeof(bytes); memory.len++)
		cr_assert_eq(ivs_roster_resume(8, &memory, &roster), IVS_ROSTER_E_MEMORY);
}

/* A client stays while others join and leave until every id has been used. For each peer that has
 * left, the memory may contain one bit, but no record. */
Test(roster_restart, peers_that_left_cost_no_memory)
{
	struct ivs_roster_memory memory = {.grow = ivs_roster_heap_grow};
	struct ivs_v0_message msgs[8];
	struct ivs_roster *roster;
	unsigned int stays;
	unsigned int id;

	cr_assert_eq(ivs_roster_new(65536, &memory, &roster), 0);
	cr_assert_eq(try_join(roster, 1, &stays), 0);
	for (unsigned int i = 0; i < 70000; i++) {
		unsigned int n;

		cr_assert_eq(try_join(roster, 1, &id), 0);
		n = ivs_roster_due(roster, id, msgs, 3);
		ivs_roster_begin_send(roster, id);
		ivs_roster_end_send(roster, id, msgs, n);
		while ((n = ivs_roster_due(roster, stays, msgs, 8))) {
			ivs_roster_begin_send(roster, stays);
			ivs_roster_end_send(roster, stays, msgs, n);
		}
		ivs_roster_leave(roster, id);
	}
	cr_expect_leq(memory.len, 512 << 10, "%zu bytes", memory.len);
	ivs_roster_free(roster);
	free(memory.base);
}
