/* SPDX-License-Identifier: BSD-3-Clause */
/* The state of a roster, for the files of this room. */
#ifndef IVS_ROSTER_PRIVATE_H
#define IVS_ROSTER_PRIVATE_H

#include "base/bitmap.h"
#include "roster/memory.h"
#include "roster/roster.h"

#define NO_ID IVS_ROSTER_NO_ID
#define GREETING_LEN 3 /* version, id, memory */

#define NO_RECORD UINT32_MAX

/**
 * struct ivs_roster_id - one id
 * @record:  of its client; NO_RECORD: no client has it
 * @known_n: how many clients know it
 * @heard_n: how many clients have heard of it
 */
struct ivs_roster_id {
	uint32_t record;
	unsigned int known_n;
	unsigned int heard_n;
};

/**
 * struct ivs_roster - where the records are, and state that is computed from them
 * @memory:  of the records; @heap if the caller passed none
 * @ids_n:   room for ids, a multiple of a bitmap's word
 * @words_n: words in a bitmap
 * @records_offset, @record_len: place of the records in the memory, and length of one
 * @used_records: bitmap of the records in use, of @records_n
 * @stale_n: ids in @stale
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
	unsigned int stale_n;
	struct ivs_roster_id *ids;
	uint64_t *visible;
	uint64_t *taken;
	uint64_t *stale;
};

static inline struct ivs_roster_record *ivs_roster_record_at(const struct ivs_roster *roster,
							     unsigned int n)
{
	uint8_t *record = roster->memory->base + roster->records_offset + n * roster->record_len;

	return (struct ivs_roster_record *)(void *)record;
}

/* @id must be present. */
static inline struct ivs_roster_record *ivs_roster_record_of(const struct ivs_roster *roster,
							     unsigned int id)
{
	return ivs_roster_record_at(roster, roster->ids[id].record);
}

static inline uint64_t *ivs_roster_known(struct ivs_roster_record *record)
{
	return record->sets;
}

static inline uint64_t *ivs_roster_heard(const struct ivs_roster *roster,
					 struct ivs_roster_record *record)
{
	return record->sets + roster->words_n;
}

/* The highest visible id, plus 1. */
static inline unsigned int ivs_roster_visible_end(const struct ivs_roster *roster)
{
	for (unsigned int word = roster->words_n; word--;) {
		if (roster->visible[word])
			return (word + 1) * IVS_BITMAP_BITS -
			       (unsigned int)__builtin_clzll(roster->visible[word]);
	}
	return 0;
}

/** ivs_roster_alloc() - a roster without tables; see ivs_roster_new(). Return: 0 or -ENOMEM. */
IVS_MUST_USE int ivs_roster_alloc(unsigned int peers_max, struct ivs_roster_memory *memory,
				  struct ivs_roster **out);

/** ivs_roster_grow_tables() - make room. Tables that have grown before memory ran out stay so. */
IVS_MUST_USE int ivs_roster_grow_tables(struct ivs_roster *roster, unsigned int ids_n,
					unsigned int records_n);

/** ivs_roster_follow_memory() - switch to the area in use, for which the tables have room */
void ivs_roster_follow_memory(struct ivs_roster *roster);

/** ivs_roster_occupy() - @id is present, and has this record */
void ivs_roster_occupy(struct ivs_roster *roster, unsigned int id, unsigned int record);

/** ivs_roster_update_id() - update the bitmaps after @id has changed */
void ivs_roster_update_id(struct ivs_roster *roster, unsigned int id);

#endif
