/* SPDX-License-Identifier: BSD-3-Clause */
/* Computing the state of a roster from the records that another process has left behind. */
#include "roster/private.h"

/* Return: whether a record has a valid seat, and is the only one with its id. */
static bool has_sound_seat(const struct ivs_roster *roster, const struct ivs_roster_record *record)
{
	return record->id < roster->ids_n && roster->ids[record->id].record == NO_RECORD &&
	       record->quiet <= 1 && record->vectors_n <= IVS_VECTOR_MAX + 1;
}

/* Return: whether the record of a client is consistent. */
static bool is_sound(const struct ivs_roster *roster, struct ivs_roster_record *record)
{
	const uint64_t *known = ivs_roster_known(record);
	const uint64_t *outdated = ivs_roster_outdated(roster, record);
	unsigned int end = roster->ids_n;

	return record->greeting <= GREETING_LEN && record->at_id <= NO_ID &&
	       record->cursor <= end && record->self_after <= end &&
	       (record->vectors_n || record->knows_self) && !ivs_bitmap_has(known, record->id) &&
	       ivs_bitmap_next_andnot(outdated, record->quiet ? NULL : known, 0, end) == end;
}

/* Return: the state that the record has in the new roster. */
static enum ivs_roster_state judge_record(const struct ivs_roster *roster,
					  struct ivs_roster_record *record)
{
	if (record->state != IVS_ROSTER_PRESENT && record->state != IVS_ROSTER_VACANT)
		return IVS_ROSTER_UNUSED;
	if (!has_sound_seat(roster, record))
		return IVS_ROSTER_UNUSED;
	if (record->state == IVS_ROSTER_VACANT || record->in_doubt)
		return record->vectors_n && !record->mute ? IVS_ROSTER_VACANT : IVS_ROSTER_UNUSED;
	return is_sound(roster, record) ? IVS_ROSTER_PRESENT : IVS_ROSTER_UNUSED;
}

static void count_record(struct ivs_roster *roster, struct ivs_roster_record *record)
{
	const uint64_t *known = ivs_roster_known(record);
	unsigned int end = roster->ids_n;

	if (record->state == IVS_ROSTER_VACANT)
		return;
	if (record->vectors_n && record->greeting == GREETING_LEN)
		ivs_bitmap_add(roster->visible, record->id);
	for (unsigned int other = 0;
	     (other = ivs_bitmap_next_andnot(known, NULL, other, end)) < end; other++) {
		roster->ids[other].known_n++;
		roster->ids[other].quiet_n += record->quiet;
		roster->ids[other].outdated_n += ivs_bitmap_has(ivs_roster_outdated(roster, record),
								other);
	}
}

/*
 * Clear @at_id if its value is impossible. The vectors of peer @at_id can have been partly sent
 * only if the client knows that peer or is that peer, and if the peer has a vector @at_vector. If
 * the peer has left, @at_id is kept: a quiet client is sent the rest of the seat's vectors, and any
 * other client is sent this leave first.
 */
static void mend_position(struct ivs_roster *roster, unsigned int id)
{
	struct ivs_roster_record *record = ivs_roster_record_of(roster, id);
	unsigned int at = record->at_id;
	bool possible = at < roster->ids_n;

	if (possible && roster->ids[at].record != NO_RECORD)
		possible = record->at_vector < ivs_roster_record_of(roster, at)->vectors_n;
	else if (possible)
		possible = !record->quiet;
	if (possible && at == id)
		possible = ivs_bitmap_has(roster->visible, id);
	else if (possible)
		possible = ivs_bitmap_has(ivs_roster_known(record), at);
	if (!possible)
		record->at_id = NO_ID;
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
	result = ivs_roster_grow_tables(roster, area->ids_n, area->records_n);
	if (result) {
		ivs_roster_free(roster);
		return result;
	}
	ivs_roster_follow_memory(roster);
	for (unsigned int n = 0; n < roster->records_n; n++) {
		struct ivs_roster_record *record = ivs_roster_record_at(roster, n);

		record->state = judge_record(roster, record);
		if (record->state == IVS_ROSTER_UNUSED)
			continue;
		ivs_roster_occupy(roster, record->id, n);
		count_record(roster, record);
	}
	for (unsigned int id = 0; id < roster->ids_n; id++) {
		if (ivs_roster_present(roster, id))
			mend_position(roster, id);
		ivs_roster_update_id(roster, id);
		if (ivs_bitmap_has(roster->vacant, id) && !ivs_roster_is_needed(roster, id))
			ivs_roster_give_up(roster, id);
	}
	*out = roster;
	return 0;
}
