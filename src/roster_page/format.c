/* SPDX-License-Identifier: BSD-3-Clause */
#include "roster_page/format.h"

#include <stddef.h>
#include <string.h>

#include "base/bytes.h"

#define WORDS_N (IVS_ROSTER_PAGE_HEADER_LEN / sizeof(uint64_t))
#define SEQUENCE_WORD (IVS_ROSTER_PAGE_SEQUENCE_AT / sizeof(uint64_t))
#define FLAG_KEPT 1u

/*
 * Each load is an acquire: loads that follow it in the program are not executed before it. So the
 * sequence, which is loaded last, is at least as recent as the words loaded before it. A test
 * redefines LOAD to run steps of a writer between the loads.
 */
#ifndef LOAD
#define LOAD(word) __atomic_load_n(word, __ATOMIC_ACQUIRE)
#endif

static uint64_t load_le64(const uint64_t *word)
{
	uint64_t n = LOAD(word);

	return ivs_get_le64((const uint8_t *)&n);
}

static uint64_t round_up(uint64_t n)
{
	return (n + IVS_ROSTER_PAGE_LEN - 1) / IVS_ROSTER_PAGE_LEN * IVS_ROSTER_PAGE_LEN;
}

int ivs_roster_page_layout(uint64_t region_len, uint32_t entries_n,
			   struct ivs_roster_page_header *out)
{
	uint64_t table_len = (uint64_t)entries_n * IVS_ROSTER_PAGE_ENTRY_LEN;
	bool one_page = entries_n <= IVS_ROSTER_PAGE_ENTRIES_DEFAULT;

	out->reserved_len = IVS_ROSTER_PAGE_LEN + (one_page ? 0 : round_up(table_len));
	if (out->reserved_len > region_len / 2)
		return IVS_ROSTER_PAGE_E_ABSENT;
	out->entries_n = entries_n;
	out->table_offset = region_len - out->reserved_len +
			    (one_page ? IVS_ROSTER_PAGE_HEADER_LEN : 0);
	return 0;
}

void ivs_roster_page_put_sequence(uint64_t sequence, uint8_t out[IVS_ROSTER_PAGE_SEQUENCE_LEN])
{
	ivs_put_le(sequence, out, IVS_ROSTER_PAGE_SEQUENCE_LEN);
}

void ivs_roster_page_put_header(const struct ivs_roster_page_header *header,
				uint8_t out[IVS_ROSTER_PAGE_HEADER_LEN])
{
	memcpy(out, IVS_ROSTER_PAGE_MAGIC, 8);
	ivs_put_le(IVS_ROSTER_PAGE_VERSION, out + 8, 4);
	ivs_put_le(IVS_ROSTER_PAGE_HEADER_LEN, out + 12, 4);
	ivs_roster_page_put_sequence(header->sequence, out + IVS_ROSTER_PAGE_SEQUENCE_AT);
	ivs_put_le(header->generation, out + 24, 8);
	ivs_put_le(header->table_offset, out + 32, 8);
	ivs_put_le(header->entries_n, out + 40, 4);
	ivs_put_le(header->peers_n, out + 44, 4);
	ivs_put_le(header->reserved_len, out + 48, 8);
	ivs_put_le(header->maintained ? FLAG_KEPT : 0, out + 56, 4);
	ivs_put_le(0, out + 60, 4);
}

void ivs_roster_page_put_entry(const struct ivs_roster_page_entry *entry,
			       uint8_t out[IVS_ROSTER_PAGE_ENTRY_LEN])
{
	ivs_put_le(entry->id, out, 4);
	ivs_put_le(entry->vectors_n, out + 4, 4);
	ivs_put_le(entry->since, out + 8, 8);
}

/* Check the offsets (P-9). No sum overflows, because all summands have already been checked. */
static bool is_placed(const struct ivs_roster_page_header *header, uint64_t header_len,
		      uint64_t region_len)
{
	uint64_t begin = header->table_offset;
	uint64_t len = (uint64_t)header->entries_n * IVS_ROSTER_PAGE_ENTRY_LEN;
	uint64_t page = region_len - IVS_ROSTER_PAGE_LEN;

	if (header->reserved_len < IVS_ROSTER_PAGE_LEN ||
	    header->reserved_len % IVS_ROSTER_PAGE_LEN || header->reserved_len > region_len / 2)
		return false;
	if (begin % IVS_ROSTER_PAGE_ENTRY_LEN || begin < region_len - header->reserved_len ||
	    begin > region_len || len > region_len - begin)
		return false;
	return begin + len <= page || begin >= page + header_len;
}

/* @words: a copy of the header. */
static int check_header(const uint64_t words[WORDS_N], uint64_t region_len,
			struct ivs_roster_page_header *out)
{
	uint64_t header_len = words[1] >> 32;

	if (words[0] != ivs_get_le64((const uint8_t *)IVS_ROSTER_PAGE_MAGIC) ||
	    (uint32_t)words[1] != IVS_ROSTER_PAGE_VERSION)
		return IVS_ROSTER_PAGE_E_ABSENT;
	*out = (struct ivs_roster_page_header){
		.sequence = words[SEQUENCE_WORD],
		.generation = words[3],
		.table_offset = words[4],
		.entries_n = (uint32_t)words[5],
		.peers_n = (uint32_t)(words[5] >> 32),
		.reserved_len = words[6],
		.maintained = words[7] & FLAG_KEPT,
	};
	if (header_len < IVS_ROSTER_PAGE_HEADER_LEN || header_len > IVS_ROSTER_PAGE_LEN ||
	    header_len % IVS_ROSTER_PAGE_ENTRY_LEN || !out->entries_n ||
	    out->entries_n > (IVS_ID_MAX + 1) || out->peers_n > IVS_ID_MAX + 1 ||
	    !is_placed(out, header_len, region_len))
		return IVS_ROSTER_PAGE_E_ABSENT;
	return 0;
}

static bool has_room(uint64_t region_len)
{
	return region_len >= 2 * (uint64_t)IVS_ROSTER_PAGE_LEN && region_len <= INT64_MAX &&
	       region_len % IVS_ROSTER_PAGE_LEN == 0;
}

int ivs_roster_page_get_header(const uint8_t bytes[IVS_ROSTER_PAGE_HEADER_LEN], uint64_t region_len,
			       struct ivs_roster_page_header *out)
{
	uint64_t words[WORDS_N];

	if (!has_room(region_len))
		return IVS_ROSTER_PAGE_E_ABSENT;
	for (unsigned int i = 0; i < WORDS_N; i++)
		words[i] = ivs_get_le64(bytes + 8 * (size_t)i);
	return check_header(words, region_len, out);
}

static const uint64_t *header_words(const void *memory, uint64_t len)
{
	return (const uint64_t *)((const uint8_t *)memory + (len - IVS_ROSTER_PAGE_LEN));
}

uint64_t ivs_roster_page_read_sequence(const void *memory, uint64_t len)
{
	return load_le64(header_words(memory, len) + SEQUENCE_WORD);
}

/* Return: whether the entry is in use and valid. */
static bool read_entry(const uint64_t *words, uint64_t generation,
		       struct ivs_roster_page_entry *out)
{
	uint64_t first = load_le64(words);

	*out = (struct ivs_roster_page_entry){
		.id = (uint32_t)first,
		.vectors_n = (uint32_t)(first >> 32),
		.since = load_le64(words + 1),
	};
	return out->since && out->since <= generation && out->id <= IVS_ID_MAX &&
	       out->vectors_n <= (IVS_VECTOR_MAX + 1);
}

static void read_entries(const void *memory, struct ivs_roster_page_snapshot *out)
{
	const uint64_t *words = (const uint64_t *)((const uint8_t *)memory +
						   out->header.table_offset);
	struct ivs_roster_page_entry entry;

	out->used_n = 0;
	for (uint32_t i = 0; i < out->header.entries_n; i++, words += 2) {
		if (!read_entry(words, out->header.generation, &entry))
			continue;
		if (out->used_n < out->entries_max)
			out->entries[out->used_n] = entry;
		out->used_n++;
	}
}

/* Load the sequence first, so that the other words are at least as recent. */
static int read_header(const uint64_t *header, uint64_t len, struct ivs_roster_page_header *out)
{
	uint64_t words[WORDS_N];

	words[SEQUENCE_WORD] = load_le64(header + SEQUENCE_WORD);
	for (unsigned int i = 0; i < WORDS_N; i++) {
		if (i != SEQUENCE_WORD)
			words[i] = load_le64(header + i);
	}
	out->sequence = words[SEQUENCE_WORD];
	return check_header(words, len, out);
}

int ivs_roster_page_read_header(const void *memory, uint64_t len,
				struct ivs_roster_page_header *out)
{
	return has_room(len) ? read_header(header_words(memory, len), len, out)
			     : IVS_ROSTER_PAGE_E_ABSENT;
}

/* P-4 */
static int read_once(const void *memory, uint64_t len, struct ivs_roster_page_snapshot *out)
{
	const uint64_t *header = header_words(memory, len);
	int result = read_header(header, len, &out->header);

	if (!result && out->header.sequence % 2)
		return IVS_ROSTER_PAGE_E_BUSY;
	if (!result)
		read_entries(memory, out);
	if (load_le64(header + SEQUENCE_WORD) != out->header.sequence)
		return IVS_ROSTER_PAGE_E_BUSY;
	return result;
}

int ivs_roster_page_read(const void *memory, uint64_t len, unsigned int tries,
			 struct ivs_roster_page_snapshot *out)
{
	int result = IVS_ROSTER_PAGE_E_BUSY;

	if (!has_room(len))
		return IVS_ROSTER_PAGE_E_ABSENT;
	for (unsigned int i = 0; i < tries && result == IVS_ROSTER_PAGE_E_BUSY; i++)
		result = read_once(memory, len, out);
	return result;
}
