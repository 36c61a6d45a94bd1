/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/roster_memory.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define MAGIC "ivshmemS"
#define VERSION 1
#define ID_BITS 64 /* of a word in a set */

static_assert(sizeof(struct ivs_roster_header) == 24, "it is kept over an upgrade");
static_assert(offsetof(struct ivs_roster_slot, sets) == 48, "it is kept over an upgrade");

int ivs_roster_heap_grow(struct ivs_roster_memory *memory, size_t len)
{
	uint8_t *base = realloc(memory->base, len);

	if (!base)
		return -ENOMEM;
	memset(base + memory->len, 0, len - memory->len);
	memory->base = base;
	memory->len = len;
	return 0;
}

size_t ivs_roster_slot_len(unsigned int level)
{
	size_t words_n = ivs_roster_level_ids(level) / ID_BITS;

	return sizeof(struct ivs_roster_slot) + 2 * words_n * sizeof(uint64_t);
}

size_t ivs_roster_area_start(unsigned int level)
{
	size_t start = sizeof(struct ivs_roster_header);

	for (unsigned int below = 0; below < level; below++)
		start += ivs_roster_level_ids(below) * ivs_roster_slot_len(below);
	return start;
}

static struct ivs_roster_slot *slot_at(const struct ivs_roster_memory *memory, unsigned int level,
				       unsigned int id)
{
	return (struct ivs_roster_slot *)(void *)(memory->base + ivs_roster_area_start(level) +
						  id * ivs_roster_slot_len(level));
}

int ivs_roster_memory_init(struct ivs_roster_memory *memory)
{
	struct ivs_roster_header *header;
	int result = memory->grow(memory, ivs_roster_area_start(1));

	if (result)
		return result;
	header = ivs_roster_header(memory);
	header->version = VERSION;
	memcpy(header->magic, MAGIC, sizeof(header->magic));
	return 0;
}

bool ivs_roster_memory_check(const struct ivs_roster_memory *memory)
{
	const struct ivs_roster_header *header = ivs_roster_header(memory);

	return memory->len >= sizeof(*header) &&
	       !memcmp(header->magic, MAGIC, sizeof(header->magic)) && header->version == VERSION &&
	       header->level <= IVS_ROSTER_LEVEL_MAX &&
	       memory->len >= ivs_roster_area_start(header->level + 1);
}

static void copy_slot(const struct ivs_roster_memory *memory, unsigned int level, unsigned int id)
{
	const struct ivs_roster_slot *from = slot_at(memory, level, id);
	struct ivs_roster_slot *to = slot_at(memory, level + 1, id);
	unsigned int words_n = ivs_roster_level_ids(level) / ID_BITS;
	size_t set_len = words_n * sizeof(uint64_t);

	*to = *from;
	memcpy(to->sets, from->sets, set_len);
	memcpy(to->sets + 2 * words_n, from->sets + words_n, set_len);
}

int ivs_roster_memory_grow(struct ivs_roster_memory *memory)
{
	unsigned int level = ivs_roster_header(memory)->level;
	size_t len = ivs_roster_area_start(level + 2);
	int result;

	/* Whoever had this memory before may have died while growing it: that part is not used yet. */
	if (memory->len < len) {
		result = memory->grow(memory, len);
		if (result)
			return result;
	} else {
		memset(memory->base + ivs_roster_area_start(level + 1), 0,
		       len - ivs_roster_area_start(level + 1));
	}
	for (unsigned int id = 0; id < ivs_roster_level_ids(level); id++) {
		if (slot_at(memory, level, id)->present)
			copy_slot(memory, level, id);
	}
	atomic_signal_fence(memory_order_seq_cst);
	ivs_roster_header(memory)->level = level + 1;
	return 0;
}
