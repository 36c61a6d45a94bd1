/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The parts of the arena of the peer's section that are in use. The table is private memory: the
 * region has no free list. Each endpoint has at most one part. Pure.
 */
#ifndef IVS_CHANNEL_ARENA_H
#define IVS_CHANNEL_ARENA_H

#include "channel/section.h"

/**
 * struct ivs_arena - the parts by endpoint
 * @section_len: length of the section
 * @parts:       offset from the start of the section, and length; a length of 0: no part
 */
struct ivs_arena {
	uint64_t section_len;
	struct {
		uint64_t at;
		uint64_t len;
	} parts[IVS_SECTION_ENDPOINTS_N];
};

/**
 * ivs_arena_take() - find room for @len bytes for endpoint @index, which has no part
 * @at: set to the offset from the start of the section, a multiple of IVS_LANE_SLOT_ALIGN
 *
 * Return: false if there is no room.
 */
IVS_MUST_USE bool ivs_arena_take(struct ivs_arena *arena, unsigned int index, uint64_t len,
				 uint64_t *at);

/** ivs_arena_give_back() - free the part of endpoint @index, if it has one */
void ivs_arena_give_back(struct ivs_arena *arena, unsigned int index);

/** ivs_arena_largest() - length of the largest part that ivs_arena_take() would find */
IVS_MUST_USE uint64_t ivs_arena_largest(const struct ivs_arena *arena);

#endif
