/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The memory of a roster: what each client has been told. It has no pointers, so that it can
 * outlive the process, and another process can resume from it after an upgrade or a crash.
 *
 * It has a header and an area: numbered records for clients, with sets of ids. To grow, the records
 * are copied to a second area, and then the header is switched to it: a crash in between leaves the
 * former area, which is complete.
 *
 * Crash consistency: the stores to a record, in order.
 *   join   the record is filled, then @present is set
 *   send   @in_doubt is set, messages are sent, the sets are updated, @in_doubt is cleared. If it
 *          is still set it is not known what that client has been sent: it must be dropped
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
 * @grow: grow to @len bytes; the new ones are 0. Return: 0 or -errno; then nothing has changed.
 */
struct ivs_roster_memory {
	uint8_t *base;
	size_t len;
	int (*grow)(struct ivs_roster_memory *memory, size_t len);
};

/** ivs_roster_heap_grow() - a @grow that uses realloc(3); the owner has to free(base) */
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
 * @magic, @version: others cannot be resumed
 * @current: which of @areas is in use
 * @serial:  of the last join
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
 * struct ivs_roster_record - a client
 * @present:    the other members are valid
 * @in_doubt:   a send is in progress, so it is not known which messages arrived
 * @id:         of the client
 * @vectors_n:  how many vectors it has
 * @greeting:   how many messages of its greeting it has been sent
 * @at_id:      the peer whose vectors it has been sent in part, or IVS_ROSTER_NO_ID
 * @at_vector:  the next vector of that peer
 * @cursor:     the id from which to search for joins upwards
 * @knows_self: its own vectors have been sent, or it has none
 * @self_after: peers with ids below this are sent before the client itself
 * @serial:     unique among all joins
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

/** ivs_roster_memory_init() - write a header and a small area. Return: 0 or -ENOMEM. */
IVS_MUST_USE int ivs_roster_memory_init(struct ivs_roster_memory *memory);

/** ivs_roster_memory_header_check() - check a header before its @memory_len bytes are mapped */
bool ivs_roster_memory_header_check(const struct ivs_roster_memory_header *header,
				    size_t memory_len);

/** ivs_roster_memory_check() - whether a roster can be resumed from it */
bool ivs_roster_memory_check(const struct ivs_roster_memory *memory);

/**
 * ivs_roster_memory_grow() - make room for more ids or records; neither becomes less
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

/** ivs_roster_area() - the area in use */
static inline const struct ivs_roster_area *ivs_roster_area(const struct ivs_roster_memory *memory)
{
	const struct ivs_roster_memory_header *header = ivs_roster_memory_header(memory);

	return &header->areas[header->current];
}

/** ivs_roster_record_len() - bytes of a record with sets of @ids_n ids */
static inline size_t ivs_roster_record_len(unsigned int ids_n)
{
	return sizeof(struct ivs_roster_record) + 2 * (ids_n / 64) * sizeof(uint64_t);
}

#endif
