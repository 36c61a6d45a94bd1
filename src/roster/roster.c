/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation. Sets of ids, as bitmaps:
 *
 *   visible   peers to announce to others: present, greeted, with at least one vector
 *   vacant    ids with a vacant seat
 *   known     per client: peers of which it has been sent a vector, but not the leave
 *   outdated  per client that is not quiet: known peers that have left, and whose id has been
 *             assigned again
 *   taken     ids that are in use, or that a client still knows
 *
 * A client that is not quiet has to be sent (known minus visible) and outdated (leaves), and then
 * visible minus known (joins). A quiet client has to be sent only the latter: it knows seats, and
 * not their owners. The sets are computed a word at a time, so a join costs a few instructions for
 * every other client, and no memory. Each client's state is in its record in the roster's memory
 * (memory.h); everything else can be computed from the records. If a peer's vectors have been only
 * partly sent to a client, the client's record has the peer's id and the next vector (at_id,
 * at_vector).
 *
 * Joins are sent in ascending order of ids, from a cursor to the end and then from 0 to where the
 * cursor was. When the cursor has passed the peers that were visible when the client's greeting was
 * complete, the client's own vectors follow.
 */
#include "roster/private.h"

#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define PAGE_LEN_MAX (64 << 10) /* largest page size of any machine */

static int grow_bitmap(uint64_t **map, unsigned int from_n, unsigned int to_n)
{
	uint64_t *bigger = reallocarray(*map, to_n, sizeof(uint64_t));

	if (!bigger)
		return -ENOMEM;
	memset(bigger + from_n, 0, (to_n - from_n) * sizeof(uint64_t));
	*map = bigger;
	return 0;
}

static unsigned int words_for(unsigned int n)
{
	return (n + IVS_BITMAP_BITS - 1) / IVS_BITMAP_BITS;
}

int ivs_roster_grow_tables(struct ivs_roster *roster, unsigned int ids_n, unsigned int records_n)
{
	unsigned int to_n = words_for(ids_n);
	unsigned int from_n = roster->words_n;
	struct ivs_roster_id *ids;

	if (grow_bitmap(&roster->visible, from_n, to_n) ||
	    grow_bitmap(&roster->vacant, from_n, to_n) ||
	    grow_bitmap(&roster->taken, from_n, to_n) ||
	    grow_bitmap(&roster->used_records, words_for(roster->records_n), words_for(records_n)))
		return -ENOMEM;
	ids = reallocarray(roster->ids, ids_n, sizeof(*ids));
	if (!ids)
		return -ENOMEM;
	for (unsigned int id = roster->ids_n; id < ids_n; id++)
		ids[id] = (struct ivs_roster_id){.record = NO_RECORD};
	roster->ids = ids;
	return 0;
}

void ivs_roster_follow_memory(struct ivs_roster *roster)
{
	const struct ivs_roster_area *area = ivs_roster_area(roster->memory);

	roster->ids_n = area->ids_n;
	roster->words_n = words_for(area->ids_n);
	roster->records_n = area->records_n;
	roster->records_offset = area->offset;
	roster->record_len = ivs_roster_record_len(area->ids_n);
}

static int grow_roster(struct ivs_roster *roster, unsigned int ids_n, unsigned int records_n)
{
	int result;

	result = ivs_roster_grow_tables(roster, ids_n, records_n);
	if (!result)
		result = ivs_roster_memory_grow(roster->memory, ids_n, records_n);
	if (!result)
		ivs_roster_follow_memory(roster);
	return result;
}

int ivs_roster_alloc(unsigned int peers_max, struct ivs_roster_memory *memory,
		     struct ivs_roster **out)
{
	struct ivs_roster *roster = calloc(1, sizeof(*roster));

	if (!roster)
		return -ENOMEM;
	roster->heap.grow = ivs_roster_heap_grow;
	roster->memory = memory ? memory : &roster->heap;
	roster->peers_max = peers_max;
	*out = roster;
	return 0;
}

int ivs_roster_new(unsigned int peers_max, struct ivs_roster_memory *memory,
		   struct ivs_roster **out)
{
	struct ivs_roster *roster;
	int result;

	result = ivs_roster_alloc(peers_max, memory, &roster);
	if (result)
		return result;
	result = ivs_roster_memory_init(roster->memory);
	if (!result)
		result = ivs_roster_grow_tables(roster, ivs_roster_area(roster->memory)->ids_n,
						ivs_roster_area(roster->memory)->records_n);
	if (result) {
		ivs_roster_free(roster);
		return result;
	}
	ivs_roster_follow_memory(roster);
	*out = roster;
	return 0;
}

void ivs_roster_number_from(struct ivs_roster *roster, uint64_t serial)
{
	ivs_roster_memory_header(roster->memory)->serial = serial;
}

void ivs_roster_free(struct ivs_roster *roster)
{
	if (!roster)
		return;
	free(roster->heap.base);
	free(roster->ids);
	free(roster->used_records);
	free(roster->visible);
	free(roster->vacant);
	free(roster->taken);
	free(roster);
}

static uint64_t clear_in(const void *map, unsigned int word)
{
	return ~((const uint64_t *)map)[word];
}

/* Return: the lowest number from @from to @end - 1 that is not in @map, or @end. */
static unsigned int bitmap_next_clear(const uint64_t *map, unsigned int from, unsigned int end)
{
	return ivs_bitmap_next_in(clear_in, map, from, end);
}

/*
 * Find the id without a seat, from @lowest, that the fewest clients know, among all ids or among
 * those of @owner.
 *
 * Return: whether there is one.
 */
static bool least_known(const struct ivs_roster *roster, const struct ivs_roster_owner *owner,
			unsigned int lowest, unsigned int *out)
{
	unsigned int fewest = UINT_MAX;

	for (unsigned int id = lowest; id < roster->ids_n; id++) {
		const struct ivs_roster_id *entry = &roster->ids[id];

		if (entry->record != NO_RECORD || entry->known_n >= fewest)
			continue;
		if (owner && entry->owner != owner)
			continue;
		fewest = entry->known_n;
		*out = id;
	}
	return fewest != UINT_MAX;
}

static int choose_id(struct ivs_roster *roster, const struct ivs_roster_newcomer *newcomer,
		     unsigned int *id)
{
	const struct ivs_roster_owner *owner = newcomer->owner;
	unsigned int lowest = newcomer->lowest;
	int result;

	if (owner && owner->ids_n / newcomer->share > ivs_roster_unknown(roster) &&
	    least_known(roster, owner, lowest, id))
		return 0;
	while ((*id = bitmap_next_clear(roster->taken, lowest, roster->ids_n)) == roster->ids_n) {
		if (roster->ids_n == IVS_ID_MAX + 1)
			return least_known(roster, NULL, lowest, id) ? 0 : IVS_ROSTER_E_FULL;
		result = grow_roster(roster, roster->ids_n * 2, roster->records_n);
		if (result)
			return result;
	}
	return 0;
}

static int choose_record(struct ivs_roster *roster, unsigned int *record)
{
	*record = bitmap_next_clear(roster->used_records, 0, roster->records_n);
	return *record < roster->records_n
		       ? 0
		       : grow_roster(roster, roster->ids_n, roster->records_n * 2);
}

/*
 * Add @by to the owner's number of taken ids. @by: -1 before a change of the id or its owner, 1
 * after the change.
 */
static void count_taken(struct ivs_roster *roster, unsigned int id, int by)
{
	struct ivs_roster_owner *owner = roster->ids[id].owner;

	if (!ivs_bitmap_has(roster->taken, id))
		return;
	roster->taken_n += (unsigned int)by;
	if (owner)
		owner->ids_n += (unsigned int)by;
}

void ivs_roster_update_id(struct ivs_roster *roster, unsigned int id)
{
	struct ivs_roster_id *entry = &roster->ids[id];

	count_taken(roster, id, -1);
	if (entry->record != NO_RECORD || entry->known_n)
		ivs_bitmap_add(roster->taken, id);
	else
		ivs_bitmap_remove(roster->taken, id);
	count_taken(roster, id, 1);
	if (!ivs_bitmap_has(roster->taken, id))
		entry->owner = NULL;
}

void ivs_roster_set_owner(struct ivs_roster *roster, unsigned int id,
			  struct ivs_roster_owner *owner)
{
	count_taken(roster, id, -1);
	roster->ids[id].owner = owner;
	count_taken(roster, id, 1);
}

/* Return: the record number @n if it is of a present client; else NULL. */
static struct ivs_roster_record *present_record(const struct ivs_roster *roster, unsigned int n)
{
	struct ivs_roster_record *record = ivs_roster_record_at(roster, n);

	return ivs_bitmap_has(roster->used_records, n) && record->state == IVS_ROSTER_PRESENT
		       ? record
		       : NULL;
}

/* Record in the sets of all clients that must be sent the leave that @id has left. */
static void outdate(struct ivs_roster *roster, unsigned int id)
{
	if (roster->ids[id].known_n == roster->ids[id].quiet_n)
		return;
	for (unsigned int n = 0; n < roster->records_n; n++) {
		struct ivs_roster_record *record = present_record(roster, n);

		if (!record || record->quiet || !ivs_bitmap_has(ivs_roster_known(record), id) ||
		    ivs_bitmap_has(ivs_roster_outdated(roster, record), id))
			continue;
		ivs_bitmap_add(ivs_roster_outdated(roster, record), id);
		roster->ids[id].outdated_n++;
	}
}

/*
 * Fill a record for a client with the id @id. @seat_serial: of the seat that the client takes; 0:
 * none. Resuming relies on the order of these stores: see memory.h.
 */
static void fill_record(struct ivs_roster *roster, struct ivs_roster_record *record,
			const struct ivs_roster_newcomer *newcomer, unsigned int id,
			uint64_t seat_serial)
{
	uint64_t serial = ++ivs_roster_memory_header(roster->memory)->serial;

	record->state = IVS_ROSTER_UNUSED;
	atomic_signal_fence(memory_order_seq_cst);
	memset(record->sets, 0, 2 * roster->words_n * sizeof(uint64_t));
	*record = (struct ivs_roster_record){
		.id = id,
		.quiet = newcomer->quiet,
		.vectors_n = newcomer->vectors_n,
		.at_id = NO_ID,
		.knows_self = !newcomer->vectors_n,
		.mute = !seat_serial && ivs_roster_is_needed(roster, id),
		.serial = serial,
		.seat_serial = seat_serial ? seat_serial : serial,
	};
	atomic_signal_fence(memory_order_seq_cst);
	record->state = IVS_ROSTER_PRESENT;
}

void ivs_roster_occupy(struct ivs_roster *roster, unsigned int id, unsigned int record)
{
	roster->ids[id].record = record;
	ivs_bitmap_add(roster->used_records, record);
	if (ivs_roster_record_at(roster, record)->state == IVS_ROSTER_VACANT) {
		ivs_bitmap_add(roster->vacant, id);
		return;
	}
	ivs_bitmap_remove(roster->vacant, id);
	roster->peers_n++;
}

static void add_client(struct ivs_roster *roster, const struct ivs_roster_newcomer *newcomer,
		       unsigned int id, unsigned int record, uint64_t seat_serial)
{
	outdate(roster, id);
	fill_record(roster, ivs_roster_record_at(roster, record), newcomer, id, seat_serial);
	ivs_roster_occupy(roster, id, record);
	ivs_roster_set_owner(roster, id, newcomer->owner);
	ivs_roster_update_id(roster, id);
}

int ivs_roster_join(struct ivs_roster *roster, const struct ivs_roster_newcomer *newcomer,
		    unsigned int *id)
{
	unsigned int chosen;
	unsigned int record;
	int result;

	if (roster->peers_n == roster->peers_max)
		return IVS_ROSTER_E_FULL;
	result = choose_id(roster, newcomer, &chosen);
	if (!result)
		result = choose_record(roster, &record);
	if (result)
		return result;
	add_client(roster, newcomer, chosen, record, 0);
	*id = chosen;
	return 0;
}

int ivs_roster_join_seat(struct ivs_roster *roster, const struct ivs_roster_newcomer *newcomer,
			 unsigned int id)
{
	if (roster->peers_n == roster->peers_max)
		return IVS_ROSTER_E_FULL;
	add_client(roster, newcomer, id, roster->ids[id].record,
		   ivs_roster_record_of(roster, id)->seat_serial);
	return 0;
}

/* Record that a client no longer knows @id. @quiet: whether the client is quiet. */
static void forget_id(struct ivs_roster *roster, unsigned int id, bool quiet)
{
	roster->ids[id].known_n--;
	roster->ids[id].quiet_n -= quiet;
	ivs_roster_update_id(roster, id);
}

/*
 * After many clients have left, their records need no memory. Small records share a page: the
 * unused records beside this one that can share a page with it are discarded, too.
 */
static void discard_record(struct ivs_roster *roster, unsigned int record)
{
	unsigned int around = (unsigned int)(PAGE_LEN_MAX / roster->record_len) + 1;
	unsigned int first = record;
	unsigned int end = record + 1;

	while (first && record - first < around && !ivs_bitmap_has(roster->used_records, first - 1))
		first--;
	while (end < roster->records_n && end - record <= around &&
	       !ivs_bitmap_has(roster->used_records, end))
		end++;
	ivs_roster_memory_discard(roster->memory,
				  roster->records_offset + first * roster->record_len,
				  (end - first) * roster->record_len, false);
}

static void remove_seat(struct ivs_roster *roster, unsigned int id)
{
	unsigned int record = roster->ids[id].record;

	ivs_roster_record_at(roster, record)->state = IVS_ROSTER_UNUSED;
	ivs_bitmap_remove(roster->used_records, record);
	ivs_bitmap_remove(roster->vacant, id);
	roster->ids[id].record = NO_RECORD;
	ivs_roster_update_id(roster, id);
	discard_record(roster, record);
}

/* Remove a seat. Quiet clients that have been sent a part of its vectors are not sent the rest. */
static void end_seat(struct ivs_roster *roster, unsigned int id)
{
	/* If no quiet client knows the id, none can have been sent a part of its vectors. */
	for (unsigned int n = 0; ivs_roster_is_needed(roster, id) && n < roster->records_n; n++) {
		struct ivs_roster_record *record = present_record(roster, n);

		if (record && record->quiet && record->at_id == id)
			record->at_id = NO_ID;
	}
	atomic_signal_fence(memory_order_seq_cst);
	remove_seat(roster, id);
}

bool ivs_roster_leave(struct ivs_roster *roster, unsigned int id)
{
	struct ivs_roster_record *record = ivs_roster_record_of(roster, id);
	const uint64_t *known = ivs_roster_known(record);
	const uint64_t *outdated = ivs_roster_outdated(roster, record);
	unsigned int end = roster->ids_n;

	record->state = ivs_roster_is_needed(roster, id) && !record->mute ? IVS_ROSTER_VACANT
									  : IVS_ROSTER_UNUSED;
	ivs_bitmap_remove(roster->visible, id);
	roster->peers_n--;
	for (unsigned int other = 0;
	     (other = ivs_bitmap_next_andnot(known, NULL, other, end)) < end; other++)
		forget_id(roster, other, record->quiet);
	for (unsigned int other = 0;
	     (other = ivs_bitmap_next_andnot(outdated, NULL, other, end)) < end; other++)
		roster->ids[other].outdated_n--;
	if (record->state == IVS_ROSTER_UNUSED) {
		end_seat(roster, id);
		return false;
	}
	ivs_bitmap_add(roster->vacant, id);
	return true;
}

unsigned int ivs_roster_next_vacant(const struct ivs_roster *roster, unsigned int from)
{
	unsigned int id = ivs_bitmap_next_andnot(roster->vacant, NULL, from, roster->ids_n);

	return id < roster->ids_n ? id : IVS_ID_MAX + 1;
}

bool ivs_roster_is_needed(const struct ivs_roster *roster, unsigned int id)
{
	return roster->ids[id].quiet_n;
}

void ivs_roster_give_up(struct ivs_roster *roster, unsigned int id)
{
	end_seat(roster, id);
}

/* Carry out the steps that plan_vector() and plan_join() in due.c have planned. */
static void told_vector(struct ivs_roster *roster, unsigned int viewer,
			const struct ivs_v0_message *msg)
{
	struct ivs_roster_record *self = ivs_roster_record_of(roster, viewer);
	struct ivs_roster_id *entry = &roster->ids[msg->id];

	if (!msg->vector && msg->id != viewer) {
		ivs_bitmap_add(ivs_roster_known(self), msg->id);
		entry->known_n++;
		entry->quiet_n += self->quiet != 0;
		self->cursor = msg->id + 1;
	} else if (msg->id == viewer) {
		self->knows_self = true;
	}
	self->at_id = msg->id;
	self->at_vector = msg->vector + 1;
	if (self->at_vector == ivs_roster_record_of(roster, msg->id)->vectors_n)
		self->at_id = NO_ID;
}

static void told_leave(struct ivs_roster *roster, struct ivs_roster_record *self, unsigned int id)
{
	self->at_id = NO_ID;
	roster->ids[id].outdated_n -= ivs_bitmap_has(ivs_roster_outdated(roster, self), id);
	ivs_bitmap_remove(ivs_roster_outdated(roster, self), id);
	ivs_bitmap_remove(ivs_roster_known(self), id);
	forget_id(roster, id, self->quiet);
}

void ivs_roster_end_send(struct ivs_roster *roster, unsigned int id,
			 const struct ivs_v0_message *msgs, unsigned int msgs_n)
{
	struct ivs_roster_record *self = ivs_roster_record_of(roster, id);

	for (unsigned int i = 0; i < msgs_n; i++) {
		switch (msgs[i].type) {
		case IVS_V0_VECTOR:
			told_vector(roster, id, &msgs[i]);
			break;
		case IVS_V0_LEAVE:
			told_leave(roster, self, msgs[i].id);
			break;
		default:
			self->greeting++;
			if (self->greeting != GREETING_LEN)
				break;
			self->self_after = ivs_roster_visible_end(roster);
			if (self->vectors_n)
				ivs_bitmap_add(roster->visible, id);
		}
	}
	atomic_signal_fence(memory_order_seq_cst);
	self->in_doubt = false;
}

void ivs_roster_begin_send(struct ivs_roster *roster, unsigned int id)
{
	ivs_roster_record_of(roster, id)->in_doubt = true;
	atomic_signal_fence(memory_order_seq_cst);
}

bool ivs_roster_greeted(const struct ivs_roster *roster, unsigned int id)
{
	return ivs_roster_record_of(roster, id)->greeting == GREETING_LEN;
}

bool ivs_roster_present(const struct ivs_roster *roster, unsigned int id)
{
	return id < roster->ids_n && roster->ids[id].record != NO_RECORD &&
	       !ivs_bitmap_has(roster->vacant, id);
}

bool ivs_roster_quiet(const struct ivs_roster *roster, unsigned int id)
{
	return ivs_roster_record_of(roster, id)->quiet;
}

uint64_t ivs_roster_serial(const struct ivs_roster *roster, unsigned int id)
{
	return ivs_roster_record_of(roster, id)->serial;
}

uint64_t ivs_roster_seat_serial(const struct ivs_roster *roster, unsigned int id)
{
	return ivs_roster_record_of(roster, id)->seat_serial;
}

void ivs_roster_set_note(struct ivs_roster *roster, unsigned int id, unsigned int which,
			 uint64_t note)
{
	ivs_roster_record_of(roster, id)->notes[which] = note;
}

uint64_t ivs_roster_note(const struct ivs_roster *roster, unsigned int id, unsigned int which)
{
	return ivs_roster_record_of(roster, id)->notes[which];
}

unsigned int ivs_roster_vectors(const struct ivs_roster *roster, unsigned int id)
{
	return ivs_roster_record_of(roster, id)->vectors_n;
}

unsigned int ivs_roster_known_n(const struct ivs_roster *roster, unsigned int id)
{
	return id < roster->ids_n ? roster->ids[id].known_n : 0;
}

unsigned int ivs_roster_quiet_n(const struct ivs_roster *roster, unsigned int id)
{
	return id < roster->ids_n ? roster->ids[id].quiet_n : 0;
}

unsigned int ivs_roster_leaves_due_n(const struct ivs_roster *roster, unsigned int id)
{
	if (id >= roster->ids_n)
		return 0;
	if (ivs_roster_present(roster, id))
		return roster->ids[id].outdated_n;
	return roster->ids[id].known_n - roster->ids[id].quiet_n;
}

unsigned int ivs_roster_unknown(const struct ivs_roster *roster)
{
	return (IVS_ID_MAX + 1) - roster->taken_n;
}

unsigned int ivs_roster_peers(const struct ivs_roster *roster)
{
	return roster->peers_n;
}
