/* SPDX-License-Identifier: BSD-3-Clause */
/* The state of a roster, for the files of this room. */
#ifndef IVS_ROSTER_PRIVATE_H
#define IVS_ROSTER_PRIVATE_H

#include "base/bitmap.h"
#include "roster/memory.h"
#include "roster/roster.h"

#define NO_ID IVS_ROSTER_NO_ID
#define GREETING_LEN 3 /* the messages version, id and memory */

#define NO_RECORD UINT32_MAX

/**
 * struct ivs_roster_id - the state of one id
 * @record:  number of its client's or its vacant seat's record; NO_RECORD: the id has no seat
 * @known_n: number of clients that know the id
 * @quiet_n: number of these clients that are quiet
 * @outdated_n: number of clients for which the id is outdated
 * @owner:   the owner for whom the id was last assigned, as long as the id is taken; NULL: none
 */
struct ivs_roster_id {
	uint32_t record;
	unsigned int known_n;
	unsigned int quiet_n;
	unsigned int outdated_n;
	struct ivs_roster_owner *owner;
};

/**
 * struct ivs_roster - where the records are, and state that is computed from them
 * @memory:  memory with the records; points to @heap if the caller passed none
 * @ids_n:   number of ids for which there is room, a multiple of 64
 * @words_n: number of words in a bitmap of ids
 * @records_offset, @record_len: offset of the records in the memory, and length of each record
 * @used_records: bitmap of the records in use
 * @records_n: number of records for which there is room
 * @taken_n: number of ids in @taken
 */
struct ivs_roster {
	struct ivs_roster_memory *memory;
	struct ivs_roster_memory heap;
	unsigned int peers_max;
	unsigned int peers_n;
	unsigned int ids_n;
	unsigned int words_n;
	size_t records_offset;
	size_t record_len;
	uint64_t *used_records;
	unsigned int records_n;
	unsigned int taken_n;
	struct ivs_roster_id *ids;
	uint64_t *visible;
	uint64_t *vacant;
	uint64_t *taken;
};

static inline struct ivs_roster_record *ivs_roster_record_at(const struct ivs_roster *roster,
							     unsigned int n)
{
	uint8_t *record = roster->memory->base + roster->records_offset + n * roster->record_len;

	return (struct ivs_roster_record *)(void *)record;
}

/* @id must have a seat. */
static inline struct ivs_roster_record *ivs_roster_record_of(const struct ivs_roster *roster,
							     unsigned int id)
{
	return ivs_roster_record_at(roster, roster->ids[id].record);
}

static inline uint64_t *ivs_roster_known(struct ivs_roster_record *record)
{
	return record->sets;
}

static inline uint64_t *ivs_roster_outdated(const struct ivs_roster *roster,
					    struct ivs_roster_record *record)
{
	return record->sets + roster->words_n;
}

/* Return: the highest visible id plus 1; 0: no id is visible. */
static inline unsigned int ivs_roster_visible_end(const struct ivs_roster *roster)
{
	for (unsigned int word = roster->words_n; word--;) {
		if (roster->visible[word])
			return (word + 1) * IVS_BITMAP_BITS -
			       (unsigned int)__builtin_clzll(roster->visible[word]);
	}
	return 0;
}

/** ivs_roster_alloc() - allocate a roster without tables. Return: 0 or -ENOMEM. */
IVS_MUST_USE int ivs_roster_alloc(unsigned int peers_max, struct ivs_roster_memory *memory,
				  struct ivs_roster **out);

/**
 * ivs_roster_grow_tables() - make room in all tables for @ids_n ids and @records_n records
 *
 * Return: 0; -ENOMEM: some tables may have grown, which is harmless.
 */
IVS_MUST_USE int ivs_roster_grow_tables(struct ivs_roster *roster, unsigned int ids_n,
					unsigned int records_n);

/** ivs_roster_follow_memory() - switch to the memory's current area; the tables must have room */
void ivs_roster_follow_memory(struct ivs_roster *roster);

/** ivs_roster_occupy() - record that @id is present or vacant, with the record number @record */
void ivs_roster_occupy(struct ivs_roster *roster, unsigned int id, unsigned int record);

/** ivs_roster_update_id() - update the bitmap taken after a change of @id */
void ivs_roster_update_id(struct ivs_roster *roster, unsigned int id);

#endif
