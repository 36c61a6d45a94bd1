/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where a roster keeps what it has told whom: memory without a pointer in it, so that it can outlive
 * the process, and another one can go on with it after an upgrade or a crash.
 *
 * A header, then an area: numbered records for so many clients, with sets of so many ids. When more of either are needed the records are copied to another area, and only then
 * does the header say so: whoever dies in the middle leaves the former area, which is whole.
 *
 * A record is changed in a few steps. Which ones are safe to be the last:
 *   join   the record is filled, then @present is set
 *   tell   @in_doubt is set, messages are sent, what has been told is written, @in_doubt is cleared.
 *          With @in_doubt set nobody can know what that client has heard: it must go
 *   leave  @present is cleared
 *
 * Pure: no system call but memory allocation.
 */
#ifndef IVS_ROSTER_MEMORY_H
#define IVS_ROSTER_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ivshmem/api.h"
#include "ivshmem/registers.h"

/**
 * struct ivs_roster_memory - bytes that only grow
 * @base: may move when they grow
 * @len:  how many
 * @grow: to @len bytes, of which the new ones are 0. Return: 0 or -errno; then nothing has changed.
 */
struct ivs_roster_memory {
	uint8_t *base;
	size_t len;
	int (*grow)(struct ivs_roster_memory *memory, size_t len);
};

/** ivs_roster_heap_grow() - a @grow for memory that is to live as long as the process; free(base) */
IVS_MUST_USE int ivs_roster_heap_grow(struct ivs_roster_memory *memory, size_t len);

/**
 * struct ivs_roster_area - where the records are
 * @offset:  from the beginning of the memory, in bytes
 * @ids_n:   ids in each set, a multiple of 64
 * @records_n: how many records
 */
struct ivs_roster_area {
	uint64_t offset;
	uint32_t ids_n;
	uint32_t records_n;
};

/**
 * struct ivs_roster_memory_header - the beginning of the memory
 * @magic, @version: whoever does not know these cannot go on with it
 * @current: which of @areas is in use
 * @serial:  of the last one who joined
 */
struct ivs_roster_memory_header {
	char magic[8];
	uint32_t version;
	uint32_t current;
	uint64_t serial;
	struct ivs_roster_area areas[2];
};

#define IVS_ROSTER_NOTES_N 2

/**
 * struct ivs_roster_record - somebody who is there
 * @present:    else nothing here means anything
 * @in_doubt:   messages are on their way
 * @id:         its own
 * @vectors_n:  how many vectors it has
 * @greeting:   how many messages of the greeting it has been told
 * @at_id:      in the middle of whose vectors it is, or IVS_ROSTER_NO_ID
 * @at_vector:  which one is next
 * @cursor:     from which id upwards to look for joins
 * @knows_self: its own vectors have been told, or it has none
 * @self_after: the ids below which there was somebody to be told of before itself
 * @serial:     no other has ever had it
 * @notes:      for the caller: ivs_roster_set_note()
 * @sets:       known, then heard: see roster.c
 */
struct ivs_roster_record {
	uint32_t present;
	uint32_t in_doubt;
	uint32_t id;
	uint32_t vectors_n;
	uint32_t greeting;
	uint32_t at_id;
	uint32_t at_vector;
	uint32_t cursor;
	uint32_t knows_self;
	uint32_t self_after;
	uint64_t serial;
	uint64_t notes[IVS_ROSTER_NOTES_N];
	uint64_t sets[];
};

#define IVS_ROSTER_NO_ID (IVS_ID_MAX + 1)

/** ivs_roster_memory_init() - make the header and a small area. Return: 0 or -ENOMEM. */
IVS_MUST_USE int ivs_roster_memory_init(struct ivs_roster_memory *memory);

/** ivs_roster_memory_header_check() - the same of a header alone, before @memory_len bytes are mapped */
bool ivs_roster_memory_header_check(const struct ivs_roster_memory_header *header,
				    size_t memory_len);

/** ivs_roster_memory_check() - whether what is there can be gone on with */
bool ivs_roster_memory_check(const struct ivs_roster_memory *memory);

/**
 * ivs_roster_memory_grow() - have room for as many ids and records, neither less than now
 *
 * Return: 0 or -errno; then nothing has changed.
 */
IVS_MUST_USE int ivs_roster_memory_grow(struct ivs_roster_memory *memory, unsigned int ids_n,
					unsigned int records_n);

static inline struct ivs_roster_memory_header *
ivs_roster_memory_header(const struct ivs_roster_memory *memory)
{
	return (struct ivs_roster_memory_header *)(void *)memory->base;
}

/** ivs_roster_area() - the one in use */
static inline const struct ivs_roster_area *ivs_roster_area(const struct ivs_roster_memory *memory)
{
	const struct ivs_roster_memory_header *header = ivs_roster_memory_header(memory);

	return &header->areas[header->current];
}

/** ivs_roster_record_len() - bytes of a record with sets of so many ids */
static inline size_t ivs_roster_record_len(unsigned int ids_n)
{
	return sizeof(struct ivs_roster_record) + 2 * (ids_n / 64) * sizeof(uint64_t);
}

#endif
