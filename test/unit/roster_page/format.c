/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tests of the roster page's format, and of the validation of untrusted pages (PROTOCOL.md, P-1 to
 * P-4, P-9).
 */
#include <criterion/criterion.h>
#include <string.h>
#include <sys/mman.h>

#include "roster_page/format.h"

#define GUARD 4096u
#define ENTRIES_MAX 1024

/* A region between unmapped pages, so that an access outside it crashes the test. */
struct world {
	uint8_t *mapping;
	uint8_t *memory;
	uint64_t len;
};

static struct world make_world(uint64_t len)
{
	struct world world = {.len = len};

	world.mapping = mmap(NULL, len + 2 * GUARD, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	cr_assert_neq(world.mapping, MAP_FAILED);
	world.memory = world.mapping + GUARD;
	cr_assert_eq(mprotect(world.memory, len, PROT_READ | PROT_WRITE), 0);
	return world;
}

static void end_world(struct world *world)
{
	munmap(world->mapping, world->len + 2 * GUARD);
}

static uint8_t *header_of(const struct world *world)
{
	return world->memory + world->len - IVS_ROSTER_PAGE_LEN;
}

static struct ivs_roster_page_header make_header(uint64_t region_len, uint32_t entries_n)
{
	struct ivs_roster_page_header header = {
		.sequence = 8, .generation = 100, .peers_n = 2, .maintained = true};

	cr_assert_eq(ivs_roster_page_layout(region_len, entries_n, &header), 0);
	return header;
}

static void put_entry(const struct world *world, const struct ivs_roster_page_header *header,
		      uint32_t i, struct ivs_roster_page_entry entry)
{
	ivs_roster_page_put_entry(&entry, world->memory + header->table_offset +
						  (uint64_t)i * IVS_ROSTER_PAGE_ENTRY_LEN);
}

static int read_world(const struct world *world, struct ivs_roster_page_snapshot *out)
{
	static struct ivs_roster_page_entry entries[ENTRIES_MAX];

	*out = (struct ivs_roster_page_snapshot){.entries = entries, .entries_max = ENTRIES_MAX};
	return ivs_roster_page_read(world->memory, world->len, 3, out);
}

/* PROTOCOL.md, P-1 */
Test(roster_page, the_header_has_these_bytes)
{
	static const uint8_t wanted[IVS_ROSTER_PAGE_HEADER_LEN] = {
		'I',  'V',  'S',  'R', 'O', 'S', 'T', 'R',  1,	  0, 0,	   0, 64, 0, 0, 0,
		0x11, 0x22, 0,	  0,   0,   0,	 0,   0x33, 0x44, 0, 0x55, 0, 0,  0, 0, 0,
		0x40, 0xf0, 0x3f, 0,   0,   0,	 0,   0,    0xfc, 0, 0,	   0, 7,  1, 0, 0,
		0,    0x10, 0,	  0,   0,   0,	 0,   0,    1,	  0, 0,	   0, 0,  0, 0, 0};
	struct ivs_roster_page_header header = make_header(4 << 20,
							   IVS_ROSTER_PAGE_ENTRIES_DEFAULT);
	uint8_t bytes[IVS_ROSTER_PAGE_HEADER_LEN];

	header.sequence = UINT64_C(0x3300000000002211);
	header.generation = 0x550044;
	header.peers_n = 0x107;
	ivs_roster_page_put_header(&header, bytes);
	cr_expect_arr_eq(bytes, wanted, sizeof(wanted));
	header.maintained = false;
	ivs_roster_page_put_header(&header, bytes);
	cr_expect_eq(bytes[56], 0);
}

/* PROTOCOL.md, P-2 */
Test(roster_page, an_entry_has_these_bytes)
{
	static const uint8_t wanted[IVS_ROSTER_PAGE_ENTRY_LEN] = {0xff, 0xff, 0, 0, 0, 8, 0, 0,
								  0x89, 0x67, 0, 0, 0, 0, 0, 1};
	const struct ivs_roster_page_entry entry = {65535, 2048, UINT64_C(0x0100000000006789)};
	uint8_t bytes[IVS_ROSTER_PAGE_ENTRY_LEN];

	ivs_roster_page_put_entry(&entry, bytes);
	cr_expect_arr_eq(bytes, wanted, sizeof(wanted));
}

/* P-3. @reserved_len is 0 if the layout must be refused. @from_end is the distance from the table
 * to the end of the region. */
Test(roster_page, table_is_placed_before_the_end)
{
	static const struct {
		uint32_t entries_n;
		uint64_t region_len;
		uint64_t reserved_len;
		uint64_t from_end;
	} rows[] = {
		{1, 8192, 4096, 4032},
		{252, 8192, 4096, 4032},
		{252, UINT64_C(1) << 40, 4096, 4032},
		{253, 32768, 8192, 8192},
		{256, 16384, 8192, 8192},
		{257, 32768, 12288, 12288},
		{65536, 4 << 20, (1 << 20) + 4096, (1 << 20) + 4096},
		{1, 4096, 0, 0},
		{253, 8192, 0, 0},
		{257, 16384, 0, 0},
		{65536, 2 << 20, 0, 0},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct ivs_roster_page_header header = {0};
		uint8_t bytes[IVS_ROSTER_PAGE_HEADER_LEN];
		int result = ivs_roster_page_layout(rows[i].region_len, rows[i].entries_n, &header);

		cr_expect_eq(result, rows[i].reserved_len ? 0 : IVS_ROSTER_PAGE_E_ABSENT, "%zu", i);
		if (result)
			continue;
		cr_expect_eq(header.reserved_len, rows[i].reserved_len, "%zu", i);
		cr_expect_eq(header.table_offset, rows[i].region_len - rows[i].from_end, "%zu", i);
		cr_expect_eq(header.entries_n, rows[i].entries_n);
		/* The reader must accept every layout that the writer creates. */
		ivs_roster_page_put_header(&header, bytes);
		cr_expect_eq(ivs_roster_page_get_header(bytes, rows[i].region_len, &header), 0,
			     "%zu", i);
	}
}

/* The rules of PROTOCOL.md for a header, implemented with integers that cannot overflow. */
static bool is_good(const uint8_t *bytes, uint64_t region_len)
{
	typedef unsigned __int128 wide;
	uint64_t words[8];
	wide table, table_end, reserved, header, header_len, entries_n;

	/* memcpy() decodes the words correctly on little-endian machines only. */
	memcpy(words, bytes, sizeof(words));
	header_len = words[1] >> 32;
	entries_n = words[5] & UINT32_MAX;
	reserved = words[6];
	table = words[4];
	table_end = table + entries_n * 16;
	header = region_len - 4096;
	return !memcmp(bytes, "IVSROSTR", 8) && (uint32_t)words[1] == 1 && header_len >= 64 &&
	       header_len <= 4096 && header_len % 16 == 0 && entries_n >= 1 && entries_n <= 65536 &&
	       words[5] >> 32 <= 65536 && reserved >= 4096 && reserved % 4096 == 0 &&
	       reserved * 2 <= region_len && table % 16 == 0 && table + reserved >= region_len &&
	       table_end <= region_len && (table_end <= header || table >= header + header_len);
}

/* Set one field of a valid header. The page must be accepted if and only if is_good() says so.
 * Return: true if the header is still valid. */
static bool try_field(const struct world *world, const struct ivs_roster_page_header *base,
		      unsigned int at, unsigned int len, uint64_t value)
{
	struct ivs_roster_page_snapshot snapshot;
	struct ivs_roster_page_header header;
	uint8_t *bytes = header_of(world);
	bool good;

	memset(world->memory, 0xff, world->len);
	ivs_roster_page_put_header(base, bytes);
	memcpy(bytes + at, &value, len);
	good = is_good(bytes, world->len);
	cr_assert_eq(ivs_roster_page_get_header(bytes, world->len, &header),
		     good ? 0 : IVS_ROSTER_PAGE_E_ABSENT, "field %u is %llx", at,
		     (unsigned long long)value);
	cr_assert_eq(read_world(world, &snapshot),
		     !good		   ? IVS_ROSTER_PAGE_E_ABSENT
		     : header.sequence % 2 ? IVS_ROSTER_PAGE_E_BUSY
					   : 0,
		     "field %u is %llx", at, (unsigned long long)value);
	return good;
}

static unsigned int try_all(uint64_t region_len, uint32_t entries_n, unsigned int *good_n)
{
	static const struct {
		unsigned int at;
		unsigned int len;
	} fields[] = {{0, 8},  {0, 1},	{7, 1},	 {8, 4},  {12, 4}, {16, 8}, {24, 8},
		      {32, 8}, {40, 4}, {44, 4}, {48, 8}, {56, 4}, {60, 4}};
	struct world world = make_world(region_len);
	struct ivs_roster_page_header base = make_header(region_len, entries_n);
	const uint64_t middles[] = {0,
				    16,
				    64,
				    4096,
				    8192,
				    65536,
				    UINT64_C(1) << 31,
				    UINT64_C(1) << 32,
				    UINT64_C(1) << 62,
				    UINT64_C(1) << 63,
				    base.entries_n,
				    base.table_offset,
				    base.reserved_len,
				    region_len,
				    region_len / 2,
				    region_len - 4096,
				    region_len - 4096 + 64,
				    region_len - entries_n * 16,
				    region_len - 4096 - entries_n * 16,
				    0 - (uint64_t)entries_n * 16};
	static const int steps[] = {-4096, -16, -8, -1, 0, 1, 8, 16, 4096};
	unsigned int rows_n = 0;

	for (size_t f = 0; f < sizeof(fields) / sizeof(*fields); f++) {
		for (size_t m = 0; m < sizeof(middles) / sizeof(*middles); m++) {
			for (size_t s = 0; s < sizeof(steps) / sizeof(*steps); s++, rows_n++)
				*good_n += try_field(&world, &base, fields[f].at, fields[f].len,
						     middles[m] + (uint64_t)(int64_t)steps[s]);
		}
	}
	end_world(&world);
	return rows_n;
}

Test(roster_page, each_field_at_its_bounds)
{
	unsigned int good_n = 0;
	unsigned int rows_n = 0;

	rows_n += try_all(8192, 1, &good_n);
	rows_n += try_all(8192, 252, &good_n);
	rows_n += try_all(16384, 200, &good_n);
	rows_n += try_all(32768, 257, &good_n);
	rows_n += try_all(65536, 1024, &good_n);
	cr_expect_eq(rows_n, 5 * 13 * 20 * 9);
	cr_expect_gt(good_n, rows_n / 10);
	cr_expect_lt(good_n, rows_n * 9 / 10);
}

Test(roster_page, a_region_of_odd_size_has_none)
{
	struct world world = make_world(16384);
	struct ivs_roster_page_header header = make_header(world.len, 1);
	struct ivs_roster_page_snapshot snapshot;
	static const uint64_t lens[] = {0, 1, 63, 64, 4095, 4096, 4097, 8191, 8193, 12289, 16383};

	for (size_t i = 0; i < sizeof(lens) / sizeof(*lens); i++) {
		uint8_t bytes[IVS_ROSTER_PAGE_HEADER_LEN];

		ivs_roster_page_put_header(&header, bytes);
		cr_expect_eq(ivs_roster_page_get_header(bytes, lens[i], &header),
			     IVS_ROSTER_PAGE_E_ABSENT);
		cr_expect_eq(ivs_roster_page_read(world.memory, lens[i], 1, &snapshot),
			     IVS_ROSTER_PAGE_E_ABSENT);
		cr_expect_eq(ivs_roster_page_read_header(world.memory, lens[i], &header),
			     IVS_ROSTER_PAGE_E_ABSENT);
	}
	end_world(&world);
}

/* P-2, P-9: a snapshot has the valid entries in the order of the table, and no others. */
Test(roster_page, invalid_entries_count_as_free)
{
	static const struct {
		struct ivs_roster_page_entry entry;
		bool good;
	} rows[] = {
		{{3, 2, 100}, true},	     {{0, 0, 1}, true},
		{{0, 2, 0}, false},	     {{65535, 65536, 50}, true},
		{{65536, 1, 50}, false},     {{1, 65537, 50}, false},
		{{1, 1, 101}, false},	     {{UINT32_MAX, 1, 5}, false},
		{{1, UINT32_MAX, 5}, false}, {{1, 1, UINT64_MAX}, false},
	};
	struct world world = make_world(8192);
	struct ivs_roster_page_header header = make_header(world.len, sizeof(rows) / sizeof(*rows));
	struct ivs_roster_page_snapshot snapshot;
	uint32_t at = 0;

	ivs_roster_page_put_header(&header, header_of(&world));
	for (uint32_t i = 0; i < header.entries_n; i++)
		put_entry(&world, &header, i, rows[i].entry);
	cr_assert_eq(read_world(&world, &snapshot), 0);
	for (uint32_t i = 0; i < header.entries_n; i++) {
		if (!rows[i].good)
			continue;
		cr_assert_lt(at, snapshot.used_n);
		cr_expect_eq(snapshot.entries[at].id, rows[i].entry.id);
		cr_expect_eq(snapshot.entries[at].vectors_n, rows[i].entry.vectors_n);
		cr_expect_eq(snapshot.entries[at].since, rows[i].entry.since);
		at++;
	}
	cr_expect_eq(at, snapshot.used_n);
	cr_expect_eq(snapshot.header.generation, 100);
	end_world(&world);
}

Test(roster_page, peers_without_an_entry_are_counted)
{
	struct world world = make_world(8192);
	struct ivs_roster_page_header header = make_header(world.len, 5);
	struct ivs_roster_page_entry entries[3] = {[2] = {.id = 77}};
	struct ivs_roster_page_snapshot snapshot = {.entries = entries, .entries_max = 2};

	ivs_roster_page_put_header(&header, header_of(&world));
	for (uint32_t i = 0; i < 5; i++)
		put_entry(&world, &header, i, (struct ivs_roster_page_entry){i, 1, i + 1});
	cr_assert_eq(ivs_roster_page_read(world.memory, world.len, 1, &snapshot), 0);
	cr_expect_eq(snapshot.used_n, 5);
	cr_expect_eq(entries[1].id, 1);
	cr_expect_eq(entries[2].id, 77);
	end_world(&world);
}

/* P-4: an odd sequence means that a write is in progress; the header is valid nevertheless. */
Test(roster_page, half_written_is_busy)
{
	struct world world = make_world(8192);
	struct ivs_roster_page_header header = make_header(world.len, 5);
	struct ivs_roster_page_snapshot snapshot;

	header.sequence = 9;
	ivs_roster_page_put_header(&header, header_of(&world));
	cr_expect_eq(read_world(&world, &snapshot), IVS_ROSTER_PAGE_E_BUSY);
	cr_expect_eq(ivs_roster_page_read_sequence(world.memory, world.len), 9);
	cr_expect_eq(ivs_roster_page_read_header(world.memory, world.len, &header), 0);
	cr_expect_eq(header.reserved_len, 4096);
	end_world(&world);
}
