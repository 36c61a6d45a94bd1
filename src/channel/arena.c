/* SPDX-License-Identifier: BSD-3-Clause */
#include "channel/arena.h"

static uint64_t round_up(uint64_t n)
{
	return (n + IVS_LANE_SLOT_ALIGN - 1) / IVS_LANE_SLOT_ALIGN * IVS_LANE_SLOT_ALIGN;
}

/* Return: how many bytes from @at on are free; 0 if @at is in a part. */
static uint64_t free_from(const struct ivs_arena *arena, uint64_t at)
{
	uint64_t end = arena->section_len;

	for (unsigned int i = 0; i < IVS_SECTION_ENDPOINTS_N; i++) {
		if (!arena->parts[i].len)
			continue;
		if (arena->parts[i].at <= at && at < arena->parts[i].at + arena->parts[i].len)
			return 0;
		if (arena->parts[i].at > at && arena->parts[i].at < end)
			end = arena->parts[i].at;
	}
	return at < end ? end - at : 0;
}

/* A free part begins at the start of the arena or at the end of a part in use. */
static uint64_t candidate(const struct ivs_arena *arena, unsigned int i)
{
	return i ? arena->parts[i].at + arena->parts[i].len : IVS_SECTION_ARENA_AT;
}

bool ivs_arena_take(struct ivs_arena *arena, unsigned int index, uint64_t len, uint64_t *at)
{
	if (len > arena->section_len) /* so that rounding up cannot overflow */
		return false;
	for (unsigned int i = 0; i < IVS_SECTION_ENDPOINTS_N; i++) {
		if ((i && !arena->parts[i].len) ||
		    free_from(arena, candidate(arena, i)) < round_up(len))
			continue;
		*at = candidate(arena, i);
		arena->parts[index].at = *at;
		arena->parts[index].len = round_up(len);
		return true;
	}
	return false;
}

void ivs_arena_give_back(struct ivs_arena *arena, unsigned int index)
{
	arena->parts[index].len = 0;
}

uint64_t ivs_arena_largest(const struct ivs_arena *arena)
{
	uint64_t largest = 0;

	for (unsigned int i = 0; i < IVS_SECTION_ENDPOINTS_N; i++) {
		uint64_t len = i && !arena->parts[i].len ? 0
							 : free_from(arena, candidate(arena, i));

		largest = len > largest ? len : largest;
	}
	return largest;
}
