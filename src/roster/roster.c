/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation. Sets of ids, as bitmaps:
 *
 *   visible  peers to announce to others: present, greeted, with at least one vector
 *   known    per client: peers of which it has been sent a vector, but not the leave
 *   heard    per client: ids of all peers that it has ever known
 *   taken    ids that are in use, or that a client still knows
 *   stale    ids that are taken, or that a connected client has heard of
 *
 * A client has to be sent known minus visible (leaves) and visible minus heard (joins). Both
 * differences are computed a word at a time, so a join costs a few instructions for every other
 * client, and no memory. Each client's state is in its record in the roster's memory (memory.h);
 * everything else can be computed from the records. If a peer's vectors have been only partly sent
 * to a client, the client's record has the peer's id and the next vector (at_id, at_vector).
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
	    grow_bitmap(&roster->taken, from_n, to_n) ||
	    grow_bitmap(&roster->stale, from_n, to_n) ||
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
	free(roster->taken);
	free(roster->stale);
	free(roster);
}

/* Return: the lowest number below @end that is not in @map, or @end. */
static unsigned int bitmap_first_clear(const uint64_t *map, unsigned int end)
{
	for (unsigned int word = 0; word < words_for(end); word++) {
		unsigned int bit;

		if (!~map[word])
			continue;
		bit = word * IVS_BITMAP_BITS + (unsigned int)__builtin_ctzll(~map[word]);
		return bit < end ? bit : end;
	}
	return end;
}

/*
 * Find the free id that the fewest clients have heard of, among all ids or among those of @owner.
 *
 * Return: whether there is one.
 */
static bool least_heard(const struct ivs_roster *roster, const struct ivs_roster_owner *owner,
			unsigned int *out)
{
	unsigned int fewest = UINT_MAX;

	for (unsigned int id = 0; id < roster->ids_n; id++) {
		if (ivs_bitmap_has(roster->taken, id) || roster->ids[id].heard_n >= fewest)
			continue;
		if (owner && roster->ids[id].owner != owner)
			continue;
		fewest = roster->ids[id].heard_n;
		*out = id;
	}
	return fewest != UINT_MAX;
}

static int choose_id(struct ivs_roster *roster, const struct ivs_roster_owner *owner,
		     unsigned int share, unsigned int *id)
{
	if (owner && owner->ids_n / share > ivs_roster_unheard(roster) &&
	    least_heard(roster, owner, id))
		return 0;
	*id = bitmap_first_clear(roster->stale, roster->ids_n);
	if (*id < roster->ids_n)
		return 0;
	if (roster->ids_n < (IVS_ID_MAX + 1))
		return grow_roster(roster, roster->ids_n * 2, roster->records_n);
	return least_heard(roster, NULL, id) ? 0 : IVS_ROSTER_E_FULL;
}

static int choose_record(struct ivs_roster *roster, unsigned int *record)
{
	*record = bitmap_first_clear(roster->used_records, roster->records_n);
	return *record < roster->records_n
		       ? 0
		       : grow_roster(roster, roster->ids_n, roster->records_n * 2);
}

/*
 * Add @by to the owner's number of stale ids. @by: -1 before a change of the id or its owner, 1
 * after the change.
 */
static void count_stale(struct ivs_roster *roster, unsigned int id, int by)
{
	struct ivs_roster_owner *owner = roster->ids[id].owner;

	if (!ivs_bitmap_has(roster->stale, id))
		return;
	roster->stale_n += (unsigned int)by;
	if (owner)
		owner->ids_n += (unsigned int)by;
}

void ivs_roster_update_id(struct ivs_roster *roster, unsigned int id)
{
	struct ivs_roster_id *entry = &roster->ids[id];
	bool present = entry->record != NO_RECORD;

	count_stale(roster, id, -1);
	if (present || entry->known_n)
		ivs_bitmap_add(roster->taken, id);
	else
		ivs_bitmap_remove(roster->taken, id);
	if (present || entry->heard_n)
		ivs_bitmap_add(roster->stale, id);
	else
		ivs_bitmap_remove(roster->stale, id);
	count_stale(roster, id, 1);
	if (!ivs_bitmap_has(roster->stale, id))
		entry->owner = NULL;
}

void ivs_roster_set_owner(struct ivs_roster *roster, unsigned int id,
			  struct ivs_roster_owner *owner)
{
	count_stale(roster, id, -1);
	roster->ids[id].owner = owner;
	count_stale(roster, id, 1);
}

/* Resuming relies on the order of these stores: see memory.h. */
static void fill_record(struct ivs_roster *roster, struct ivs_roster_record *record,
			unsigned int id, unsigned int vectors_n)
{
	memset(record->sets, 0, 2 * roster->words_n * sizeof(uint64_t));
	*record = (struct ivs_roster_record){
		.id = id,
		.vectors_n = vectors_n,
		.at_id = NO_ID,
		.knows_self = !vectors_n,
		.serial = ++ivs_roster_memory_header(roster->memory)->serial,
	};
	atomic_signal_fence(memory_order_seq_cst);
	record->present = true;
}

void ivs_roster_occupy(struct ivs_roster *roster, unsigned int id, unsigned int record)
{
	roster->ids[id].record = record;
	ivs_bitmap_add(roster->used_records, record);
	roster->peers_n++;
}

int ivs_roster_join_for(struct ivs_roster *roster, unsigned int vectors_n,
			struct ivs_roster_owner *owner, unsigned int share, unsigned int *id)
{
	unsigned int chosen;
	unsigned int record;
	int result;

	if (roster->peers_n == roster->peers_max)
		return IVS_ROSTER_E_FULL;
	result = choose_id(roster, owner, share, &chosen);
	if (!result)
		result = choose_record(roster, &record);
	if (result)
		return result;
	fill_record(roster, ivs_roster_record_at(roster, record), chosen, vectors_n);
	ivs_roster_occupy(roster, chosen, record);
	ivs_roster_set_owner(roster, chosen, owner);
	ivs_roster_update_id(roster, chosen);
	*id = chosen;
	return 0;
}

int ivs_roster_join(struct ivs_roster *roster, unsigned int vectors_n, unsigned int *id)
{
	return ivs_roster_join_for(roster, vectors_n, NULL, 1, id);
}

/* Decrement @count, the number of clients that know @id or that have heard of it. */
static void forget_id(struct ivs_roster *roster, unsigned int id, unsigned int *count)
{
	--*count;
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

void ivs_roster_leave(struct ivs_roster *roster, unsigned int id)
{
	struct ivs_roster_record *record = ivs_roster_record_of(roster, id);
	unsigned int end = roster->ids_n;
	const uint64_t *known = ivs_roster_known(record);
	const uint64_t *heard = ivs_roster_heard(roster, record);
	unsigned int number = roster->ids[id].record;

	record->present = false;
	ivs_bitmap_remove(roster->used_records, number);
	roster->ids[id].record = NO_RECORD;
	ivs_bitmap_remove(roster->visible, id);
	roster->peers_n--;
	for (unsigned int other = 0;
	     (other = ivs_bitmap_next_andnot(known, NULL, other, end)) < end; other++)
		forget_id(roster, other, &roster->ids[other].known_n);
	for (unsigned int other = 0;
	     (other = ivs_bitmap_next_andnot(heard, NULL, other, end)) < end; other++)
		forget_id(roster, other, &roster->ids[other].heard_n);
	ivs_roster_update_id(roster, id);
	discard_record(roster, number);
}

/* Carry out the steps that plan_vector() and plan_join() in due.c have planned. */
static void told_vector(struct ivs_roster *roster, unsigned int viewer,
			const struct ivs_v0_message *msg)
{
	struct ivs_roster_record *self = ivs_roster_record_of(roster, viewer);
	struct ivs_roster_id *entry = &roster->ids[msg->id];

	if (!msg->vector && msg->id != viewer) {
		ivs_bitmap_add(ivs_roster_known(self), msg->id);
		ivs_bitmap_add(ivs_roster_heard(roster, self), msg->id);
		entry->known_n++;
		entry->heard_n++;
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
	ivs_bitmap_remove(ivs_roster_known(self), id);
	forget_id(roster, id, &roster->ids[id].known_n);
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
	return id < roster->ids_n && roster->ids[id].record != NO_RECORD;
}

uint64_t ivs_roster_serial(const struct ivs_roster *roster, unsigned int id)
{
	return ivs_roster_record_of(roster, id)->serial;
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

unsigned int ivs_roster_unheard(const struct ivs_roster *roster)
{
	return (IVS_ID_MAX + 1) - roster->stale_n;
}

unsigned int ivs_roster_heard_n(const struct ivs_roster *roster, unsigned int id)
{
	return id < roster->ids_n ? roster->ids[id].heard_n : 0;
}

unsigned int ivs_roster_peers(const struct ivs_roster *roster)
{
	return roster->peers_n;
}
