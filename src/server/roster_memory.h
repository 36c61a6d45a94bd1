/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where a roster keeps what it has told whom: memory without a pointer in it, so that it can outlive
 * the process, and another one can go on with it after an upgrade or a crash.
 *
 * A header, then one area per level. At level k there is a slot for each of 64 << k ids, with sets of
 * that many bits. When more ids are needed the slots are copied to the next level's area, and only
 * then does the header say so: whoever dies in the middle leaves the former area, which is whole.
 * Two thirds of all memory is the present area. What nobody touched costs nothing if the memory is a
 * sparse file.
 *
 * A slot is changed in a few steps. Which ones are safe to be the last:
 *   join   the slot is filled, then @present is set
 *   tell   @in_doubt is set, messages are sent, what has been told is written, @in_doubt is cleared.
 *          With @in_doubt set nobody can know what that client has heard: it must go
 *   leave  @present is cleared
 *
 * Pure: no system call but memory allocation.
 */
#ifndef IVS_SERVER_ROSTER_MEMORY_H
#define IVS_SERVER_ROSTER_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ivshmem/api.h"

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
 * struct ivs_roster_header - the beginning of the memory
 * @magic, @version: whoever does not know these cannot go on with it
 * @level:  which area is in use
 * @serial: of the last one who joined
 */
struct ivs_roster_header {
	char magic[8];
	uint32_t version;
	uint32_t level;
	uint64_t serial;
};

/**
 * struct ivs_roster_slot - somebody who is there
 * @present:    else nothing here means anything
 * @in_doubt:   messages are on their way
 * @vectors_n:  how many vectors it has
 * @greeting:   how many messages of the greeting it has been told
 * @at_id:      in the middle of whose vectors it is, or IVS_ROSTER_NOBODY
 * @at_vector:  which one is next
 * @cursor:     from which id upwards to look for joins
 * @knows_self: its own vectors have been told, or it has none
 * @self_after: the ids below which there was somebody to be told of before itself
 * @serial:     no other has ever had it
 * @sets:       known, then heard: see roster.c
 */
struct ivs_roster_slot {
	uint32_t present;
	uint32_t in_doubt;
	uint32_t vectors_n;
	uint32_t greeting;
	uint32_t at_id;
	uint32_t at_vector;
	uint32_t cursor;
	uint32_t knows_self;
	uint32_t self_after;
	uint32_t reserved;
	uint64_t serial;
	uint64_t sets[];
};

#define IVS_ROSTER_NOBODY 65536
#define IVS_ROSTER_LEVEL_MAX 10 /* 64 << 10 ids: all that there are */

/** ivs_roster_memory_init() - make the header and the area of level 0. Return: 0 or -ENOMEM. */
IVS_MUST_USE int ivs_roster_memory_init(struct ivs_roster_memory *memory);

/** ivs_roster_memory_check() - whether what is there can be gone on with */
bool ivs_roster_memory_check(const struct ivs_roster_memory *memory);

/** ivs_roster_memory_grow() - go to the next level. Return: 0 or -errno; then nothing has changed. */
IVS_MUST_USE int ivs_roster_memory_grow(struct ivs_roster_memory *memory);

static inline struct ivs_roster_header *ivs_roster_header(const struct ivs_roster_memory *memory)
{
	return (struct ivs_roster_header *)(void *)memory->base;
}

/** ivs_roster_level_ids() - for how many ids there is room at @level */
static inline unsigned int ivs_roster_level_ids(unsigned int level)
{
	return 64U << level;
}

/** ivs_roster_area_start() - where in the memory the area of @level begins, in bytes */
size_t ivs_roster_area_start(unsigned int level);

/** ivs_roster_slot_len() - bytes of each of its slots */
size_t ivs_roster_slot_len(unsigned int level);

#endif
