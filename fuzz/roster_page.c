/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fuzz target for ivs_roster_page_read(), with a region written by an untrusted peer.
 *
 * Input: a byte with the number of pages of the region, and flags; then up to 4096 bytes, which are
 * the last page of the region; then bytes that are placed right before that page. If EVEN is set,
 * the page's sequence is made even. The region ends where its allocation ends, so that a sanitizer
 * detects accesses beyond the end. The result of reading, and the events derived from it, must
 * comply with rule P-9 of PROTOCOL.md.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "roster_page/format.h"
#include "roster_page/reader.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t fuzz_make_input(uint64_t seed, uint8_t *out, size_t max);

#define PAGES_MAX 16
#define EVEN 0x80
#define LITTLE_ROOM 0x40
#define ENTRIES_MAX (PAGES_MAX * 4096 / 16)

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition))                                                                  \
			__builtin_trap();                                                          \
	} while (0)

static void region_fill(uint8_t *memory, size_t len, const uint8_t *data, size_t size, bool even)
{
	uint8_t *header = memory + len - IVS_ROSTER_PAGE_LEN;
	size_t n = size < IVS_ROSTER_PAGE_LEN ? size : IVS_ROSTER_PAGE_LEN;

	memset(memory, 0, len);
	memcpy(header, data, n);
	if (even)
		header[IVS_ROSTER_PAGE_SEQUENCE_AT] &= 0xfe;
	data += n;
	size -= n;
	n = size < len - IVS_ROSTER_PAGE_LEN ? size : len - IVS_ROSTER_PAGE_LEN;
	memcpy(header - n, data, n);
}

static void check_header(const struct ivs_roster_page_header *header, uint64_t len)
{
	CHECK(header->reserved_len >= IVS_ROSTER_PAGE_LEN && header->reserved_len <= len / 2);
	CHECK(header->table_offset >= len - header->reserved_len && header->table_offset < len);
	CHECK(header->entries_n >= 1 &&
	      header->entries_n <= (len - header->table_offset) / IVS_ROSTER_PAGE_ENTRY_LEN);
	CHECK(header->peers_n <= (IVS_ID_MAX + 1));
}

/* Check that encoding and decoding the header again yields the same header. */
static void check_again(const struct ivs_roster_page_header *header, uint64_t len)
{
	uint8_t bytes[IVS_ROSTER_PAGE_HEADER_LEN];
	struct ivs_roster_page_header again;

	ivs_roster_page_put_header(header, bytes);
	CHECK(!ivs_roster_page_get_header(bytes, len, &again));
	CHECK(again.sequence == header->sequence && again.generation == header->generation);
	CHECK(again.table_offset == header->table_offset && again.entries_n == header->entries_n);
	CHECK(again.reserved_len == header->reserved_len && again.maintained == header->maintained);
	CHECK(again.peers_n == header->peers_n);
}

/*
 * Check that one join is reported for each peer except the reader itself and, after the roster has
 * become empty, one leave for each of these peers.
 */
static void check_events(struct ivs_roster_page_entry *entries, uint32_t entries_n)
{
	struct ivs_roster_page_reader reader = {.own_id = 1};
	struct ivs_peer_change change;
	uint32_t joins_n = 0;
	uint32_t leaves_n = 0;
	uint32_t n = ivs_roster_page_reader_sort(entries, entries_n);
	bool own = false;

	CHECK(n <= entries_n);
	for (uint32_t i = 0; i < n; i++) {
		CHECK(!i || entries[i].id > entries[i - 1].id);
		own |= entries[i].id == 1;
	}
	/* Reporting high ids takes a long time, so test them rarely. */
	if (n && entries[n - 1].id > 1000 && entries[n - 1].since % 64)
		return;
	CHECK(!ivs_roster_page_reader_set(&reader, entries, n));
	for (; ivs_roster_page_reader_report(&reader, &change); joins_n++)
		CHECK(change.joined && change.id <= IVS_ID_MAX &&
		      change.vectors_n <= (IVS_VECTOR_MAX + 1));
	CHECK(!ivs_roster_page_reader_set(&reader, NULL, 0));
	for (; ivs_roster_page_reader_report(&reader, &change); leaves_n++)
		CHECK(!change.joined);
	CHECK(joins_n == n - own && leaves_n == joins_n);
	ivs_roster_page_reader_deinit(&reader);
}

static void check_snapshot(struct ivs_roster_page_snapshot *snapshot, uint64_t len)
{
	CHECK(snapshot->header.sequence % 2 == 0);
	check_header(&snapshot->header, len);
	check_again(&snapshot->header, len);
	CHECK(snapshot->used_n <= snapshot->header.entries_n);
	for (uint32_t i = 0; i < snapshot->used_n && i < snapshot->entries_max; i++) {
		CHECK(snapshot->entries[i].id <= IVS_ID_MAX);
		CHECK(snapshot->entries[i].vectors_n <= (IVS_VECTOR_MAX + 1));
		CHECK(snapshot->entries[i].since &&
		      snapshot->entries[i].since <= snapshot->header.generation);
	}
	check_events(snapshot->entries, snapshot->used_n < snapshot->entries_max
						? snapshot->used_n
						: snapshot->entries_max);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct ivs_roster_page_entry entries[ENTRIES_MAX];
	struct ivs_roster_page_snapshot snapshot = {.entries = entries, .entries_max = ENTRIES_MAX};
	struct ivs_roster_page_header header;
	uint8_t *memory;
	size_t len;
	int result;

	if (!size)
		return 0;
	len = (data[0] % PAGES_MAX + 1) * (size_t)IVS_ROSTER_PAGE_LEN;
	memory = malloc(len);
	CHECK(memory);
	region_fill(memory, len, data + 1, size - 1, data[0] & EVEN);
	result = ivs_roster_page_read_header(memory, len, &header);
	CHECK(result == 0 || result == IVS_ROSTER_PAGE_E_ABSENT);
	if (!result)
		check_header(&header, len);
	if (data[0] & LITTLE_ROOM)
		snapshot.entries_max = data[0] & 3;
	switch (ivs_roster_page_read(memory, len, 2, &snapshot)) {
	case 0:
		CHECK(!result);
		check_snapshot(&snapshot, len);
		break;
	case IVS_ROSTER_PAGE_E_BUSY: /* there is no writer, so the sequence must be odd */
		CHECK(!result && header.sequence % 2);
		break;
	default:
		CHECK(result == IVS_ROSTER_PAGE_E_ABSENT);
	}
	free(memory);
	return 0;
}

/* Return: a random number below @n, by splitmix64. */
static uint64_t pick(uint64_t *rng, uint64_t n)
{
	uint64_t z = (*rng += 0x9e3779b97f4a7c15u);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return (z ^ (z >> 31)) % n;
}

/* Create a valid roster page, usually with one defect. */
size_t fuzz_make_input(uint64_t seed, uint8_t *out, size_t max)
{
	uint64_t rng = seed;
	uint64_t pages = 2 + pick(&rng, PAGES_MAX - 1);
	uint32_t entries_n = (uint32_t)(1 + pick(&rng, IVS_ROSTER_PAGE_ENTRIES_DEFAULT - 1));
	struct ivs_roster_page_header header = {
		.sequence = pick(&rng, 1000),
		.generation = pick(&rng, 1000),
		.peers_n = (uint32_t)pick(&rng, 70000),
		.maintained = pick(&rng, 2),
	};
	size_t len = 1 + IVS_ROSTER_PAGE_HEADER_LEN;
	unsigned int ids_n = pick(&rng, 4) ? 300 : 66000;

	out[0] = (uint8_t)(pages - 1) | (pick(&rng, 8) ? EVEN : 0) |
		 (pick(&rng, 8) ? 0 : LITTLE_ROOM);
	if (ivs_roster_page_layout(pages * IVS_ROSTER_PAGE_LEN, entries_n, &header))
		return 1;
	ivs_roster_page_put_header(&header, out + 1);
	for (; entries_n-- && len + IVS_ROSTER_PAGE_ENTRY_LEN <= max;
	     len += IVS_ROSTER_PAGE_ENTRY_LEN) {
		struct ivs_roster_page_entry entry = {
			.id = (uint32_t)pick(&rng, pick(&rng, 4) ? 8 : ids_n),
			.vectors_n = (uint32_t)pick(&rng, pick(&rng, 9) ? 5 : 66000),
			.since = pick(&rng, 1100) * pick(&rng, 2),
		};

		ivs_roster_page_put_entry(&entry, out + len);
	}
	if (pick(&rng, 2))
		out[1 + pick(&rng, IVS_ROSTER_PAGE_HEADER_LEN)] = (uint8_t)pick(&rng, 256);
	if (!pick(&rng, 8))
		out[1 + pick(&rng, len - 1)] ^= (uint8_t)(1 << pick(&rng, 8));
	return len;
}
