/* SPDX-License-Identifier: BSD-3-Clause */
/* All that can be computed from the slots, after another process had them. */
#include "server/roster_state.h"

/* Whether the numbers in a slot are such as can be. */
static bool is_sound(const struct ivs_roster *roster, struct ivs_roster_slot *slot)
{
	const uint64_t *known = ivs_roster_known(slot);
	const uint64_t *heard = ivs_roster_heard(roster, slot);

	return !slot->in_doubt && slot->id < roster->ids_n &&
	       roster->ids[slot->id].seat == NO_SEAT && slot->vectors_n <= IDS_MAX &&
	       slot->greeting <= GREETING_LEN && slot->at_id <= NOBODY &&
	       slot->cursor <= roster->ids_n && slot->self_after <= roster->ids_n &&
	       ivs_bitmap_first_only(known, heard, 0, roster->ids_n) == roster->ids_n;
}

static void count_slot(struct ivs_roster *roster, struct ivs_roster_slot *slot)
{
	const uint64_t *heard = ivs_roster_heard(roster, slot);
	unsigned int end = roster->ids_n;

	if (slot->vectors_n && slot->greeting == GREETING_LEN)
		ivs_bitmap_add(roster->visible, slot->id);
	for (unsigned int other = 0; (other = ivs_bitmap_first_only(heard, NULL, other, end)) < end;
	     other++) {
		roster->ids[other].heard_n++;
		roster->ids[other].known_n += ivs_bitmap_has(ivs_roster_known(slot), other);
	}
}

/* In the middle of a peer's vectors one can be only while it is known, and has that many. */
static void mend_position(struct ivs_roster *roster, unsigned int id)
{
	struct ivs_roster_slot *slot = ivs_roster_slot(roster, id);
	unsigned int at = slot->at_id;

	if (!ivs_roster_present(roster, at) ||
	    slot->at_vector >= ivs_roster_slot(roster, at)->vectors_n ||
	    (at != id && !ivs_bitmap_has(ivs_roster_known(slot), at)))
		slot->at_id = NOBODY;
}

int ivs_roster_resume(unsigned int peers_max, struct ivs_roster_memory *memory,
		      struct ivs_roster **out)
{
	const struct ivs_roster_area *area;
	struct ivs_roster *roster;
	int result;

	if (!ivs_roster_memory_check(memory))
		return IVS_ROSTER_E_MEMORY;
	result = ivs_roster_alloc(peers_max, memory, &roster);
	if (result)
		return result;
	area = ivs_roster_area(memory);
	result = ivs_roster_grow_tables(roster, area->ids_n, area->seats_n);
	if (result) {
		ivs_roster_free(roster);
		return result;
	}
	ivs_roster_follow_memory(roster);
	for (unsigned int seat = 0; seat < roster->seats_n; seat++) {
		struct ivs_roster_slot *slot = ivs_roster_seat(roster, seat);

		slot->present = slot->present && is_sound(roster, slot);
		if (!slot->present)
			continue;
		ivs_roster_occupy(roster, slot->id, seat);
		count_slot(roster, slot);
	}
	for (unsigned int id = 0; id < roster->ids_n; id++) {
		if (ivs_roster_present(roster, id))
			mend_position(roster, id);
		ivs_roster_update_id(roster, id);
	}
	*out = roster;
	return 0;
}
