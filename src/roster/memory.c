/* SPDX-License-Identifier: BSD-3-Clause */
#include "roster/memory.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define MAGIC "ivshmemR"
#define VERSION 2
#define IDS_FIRST 64
#define RECORDS_FIRST 8

static_assert(sizeof(struct ivs_roster_memory_header) == 56, "it survives an upgrade");
static_assert(offsetof(struct ivs_roster_record, sets) == 96, "it survives an upgrade");

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

void ivs_roster_memory_discard(struct ivs_roster_memory *memory, size_t offset, size_t len,
			       bool zero)
{
	if (memory->discard)
		memory->discard(memory, offset, len, zero);
	else if (zero)
		memset(memory->base + offset, 0, len);
}

static uint64_t area_len(const struct ivs_roster_area *area)
{
	return area->records_n * ivs_roster_record_len(area->ids_n);
}

static struct ivs_roster_record *record_at(const struct ivs_roster_memory *memory,
					   const struct ivs_roster_area *area, unsigned int n)
{
	uint8_t *start = memory->base + area->offset;

	return (struct ivs_roster_record *)(void *)(start + n * ivs_roster_record_len(area->ids_n));
}

int ivs_roster_memory_init(struct ivs_roster_memory *memory)
{
	const struct ivs_roster_area area = {sizeof(struct ivs_roster_memory_header), IDS_FIRST,
					     RECORDS_FIRST};
	struct ivs_roster_memory_header *header;
	int result = memory->grow(memory, area.offset + area_len(&area));

	if (result)
		return result;
	header = ivs_roster_memory_header(memory);
	header->version = VERSION;
	header->areas[0] = area;
	memcpy(header->magic, MAGIC, sizeof(header->magic));
	return 0;
}

static bool is_sound(const struct ivs_roster_area *area, size_t memory_len)
{
	return area->ids_n && area->ids_n <= (IVS_ID_MAX + 1) && !(area->ids_n % 64) &&
	       area->records_n && area->records_n <= (IVS_ID_MAX + 1) &&
	       area->offset >= sizeof(struct ivs_roster_memory_header) && !(area->offset % 8) &&
	       area->offset <= memory_len && area_len(area) <= memory_len - area->offset;
}

bool ivs_roster_memory_header_check(const struct ivs_roster_memory_header *header,
				    size_t memory_len)
{
	return !memcmp(header->magic, MAGIC, sizeof(header->magic)) && header->version == VERSION &&
	       header->current <= 1 && is_sound(&header->areas[header->current], memory_len);
}

bool ivs_roster_memory_check(const struct ivs_roster_memory *memory)
{
	return memory->len >= sizeof(struct ivs_roster_memory_header) &&
	       ivs_roster_memory_header_check(ivs_roster_memory_header(memory), memory->len);
}

static void copy_record(const struct ivs_roster_memory *memory, const struct ivs_roster_area *from,
			const struct ivs_roster_area *to, unsigned int n)
{
	const struct ivs_roster_record *former = record_at(memory, from, n);
	struct ivs_roster_record *record = record_at(memory, to, n);
	unsigned int words_n = from->ids_n / 64;

	*record = *former;
	memcpy(record->sets, former->sets, words_n * sizeof(uint64_t));
	memcpy(record->sets + to->ids_n / 64, former->sets + words_n, words_n * sizeof(uint64_t));
}

/* Place the new area before the present area if there is room, otherwise directly after it. */
static void place_area(const struct ivs_roster_area *present, struct ivs_roster_area *area)
{
	area->offset = sizeof(struct ivs_roster_memory_header);
	if (area->offset + area_len(area) > present->offset)
		area->offset = present->offset + area_len(present);
}

int ivs_roster_memory_grow(struct ivs_roster_memory *memory, unsigned int ids_n,
			   unsigned int records_n)
{
	struct ivs_roster_memory_header *header = ivs_roster_memory_header(memory);
	struct ivs_roster_area from = header->areas[header->current];
	struct ivs_roster_area to = {.ids_n = ids_n, .records_n = records_n};
	int result;

	place_area(&from, &to);
	if (memory->len < to.offset + area_len(&to)) {
		result = memory->grow(memory, to.offset + area_len(&to));
		if (result)
			return result;
		header = ivs_roster_memory_header(memory);
	}
	ivs_roster_memory_discard(memory, to.offset, area_len(&to), true);
	for (unsigned int n = 0; n < from.records_n; n++) {
		if (record_at(memory, &from, n)->state)
			copy_record(memory, &from, &to, n);
	}
	header->areas[!header->current] = to;
	atomic_signal_fence(memory_order_seq_cst);
	header->current = !header->current;
	ivs_roster_memory_discard(memory, from.offset, area_len(&from), false);
	return 0;
}
