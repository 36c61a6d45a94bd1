/* SPDX-License-Identifier: BSD-3-Clause */
/* Tests of roster_page/writer.h: how the server writes the roster page into a region. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "region/private.h"
#include "roster_page/writer.h"
#include "support/c/fds.h"

#define ENTRIES_MAX 1024
#define LEN 65536

static struct ivs_region *region;
static struct ivs_roster_page_writer *page;
static uint8_t *memory;
static struct ivs_roster_page_entry entries[ENTRIES_MAX];
static struct ivs_roster_page_snapshot seen;
static char name[64];
static unsigned int fds_before;

static void setup(void)
{
	struct ivs_region_options opts = IVS_REGION_OPTIONS_INIT;

	fds_before = test_fds_open();
	opts.size = LEN;
	snprintf(name, sizeof(name), "shm:ivs-test-page-%d", (int)getpid());
	cr_assert_eq(ivs_region_open(name, &opts, &region, NULL), 0);
	memory = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_SHARED, ivs_region_fd(region), 0);
	cr_assert_neq(memory, MAP_FAILED);
}

static void teardown(void)
{
	ivs_roster_page_writer_free(page);
	munmap(memory, LEN);
	if (ivs_region_remove(region))
		abort();
	ivs_region_close(region);
	test_fds_check(fds_before);
}

TestSuite(page, .init = setup, .fini = teardown);

static void open_page(uint32_t entries_n)
{
	ivs_roster_page_writer_free(page);
	page = NULL;
	cr_assert_eq(ivs_roster_page_writer_new(region, entries_n, &page, NULL), 0);
	cr_assert_eq(ivs_roster_page_writer_flush(page), 0);
}

static void look(void)
{
	seen = (struct ivs_roster_page_snapshot){.entries = entries, .entries_max = ENTRIES_MAX};
	cr_assert_eq(ivs_roster_page_read(memory, LEN, 1, &seen), 0);
}

static void flush_and_look(void)
{
	cr_assert_eq(ivs_roster_page_writer_flush(page), 0);
	look();
}

static void expect_entry(uint32_t at, uint32_t id, uint32_t vectors_n, uint64_t since)
{
	cr_assert_lt(at, seen.used_n);
	cr_expect_eq(seen.entries[at].id, id);
	cr_expect_eq(seen.entries[at].vectors_n, vectors_n);
	cr_expect_eq(seen.entries[at].since, since);
}

Test(page, joins_and_leaves_are_shown)
{
	uint64_t start;

	open_page(252);
	look();
	start = seen.header.generation;
	cr_expect_eq(seen.used_n, 0);
	cr_expect(seen.header.maintained);
	ivs_roster_page_writer_join(page, 0, 2, 0);
	ivs_roster_page_writer_join(page, 65535, 0, 0);
	look();
	cr_expect_eq(seen.used_n, 0, "nothing is written before the flush");
	flush_and_look();
	cr_expect_eq(seen.header.peers_n, 2);
	cr_expect_eq(seen.header.generation, start + 2);
	expect_entry(0, 0, 2, start + 1);
	expect_entry(1, 65535, 0, start + 2);
	ivs_roster_page_writer_leave(page, 0);
	ivs_roster_page_writer_leave(page, 0);
	ivs_roster_page_writer_leave(page, 9);
	flush_and_look();
	cr_expect_eq(seen.header.peers_n, 1);
	cr_expect_eq(seen.header.generation, start + 3);
	cr_expect_eq(seen.used_n, 1);
	expect_entry(0, 65535, 0, start + 2);
}

/* P-4: each write adds 2 to the sequence; without a change nothing is written. */
Test(page, the_sequence_grows_with_each_write)
{
	uint64_t before;

	open_page(4);
	look();
	before = seen.header.sequence;
	flush_and_look();
	cr_expect_eq(seen.header.sequence, before);
	ivs_roster_page_writer_join(page, 1, 1, 0);
	flush_and_look();
	cr_expect_eq(seen.header.sequence, before + 2);
}

/* PROTOCOL.md, P-2 */
Test(page, a_peer_without_an_entry_gets_one_when_it_is_free)
{
	open_page(2);
	for (unsigned int id = 0; id < 5; id++)
		ivs_roster_page_writer_join(page, id, 1, 0);
	flush_and_look();
	cr_expect_eq(seen.header.peers_n, 5);
	cr_expect_eq(seen.used_n, 2);
	ivs_roster_page_writer_leave(page, 3); /* peer 3 has no entry */
	ivs_roster_page_writer_leave(page, 0);
	flush_and_look();
	cr_expect_eq(seen.header.peers_n, 3);
	cr_expect_eq(seen.used_n, 2);
	expect_entry(0, 2, 1, ivs_roster_page_writer_since(page, 2));
	expect_entry(1, 1, 1, ivs_roster_page_writer_since(page, 1));
	ivs_roster_page_writer_leave(page, 1);
	ivs_roster_page_writer_leave(page, 2);
	flush_and_look();
	cr_expect_eq(seen.used_n, 1);
	expect_entry(0, 4, 1, ivs_roster_page_writer_since(page, 4));
}

/* PROTOCOL.md, P-3 */
Test(page, a_table_of_several_pages)
{
	const uint8_t zeros[LEN - 4096 * 5] = {0};

	open_page(1000);
	for (unsigned int id = 0; id < 1000; id++) {
		ivs_roster_page_writer_join(page, id, 3, 0);
		if (id % 7 == 0)
			cr_assert_eq(ivs_roster_page_writer_flush(page), 0);
	}
	flush_and_look();
	cr_expect_eq(seen.used_n, 1000);
	cr_expect_eq(seen.header.reserved_len, 4096 * 5);
	for (unsigned int id = 0; id < 1000; id += 2)
		ivs_roster_page_writer_leave(page, id);
	flush_and_look();
	cr_expect_eq(seen.used_n, 500);
	for (uint32_t i = 0; i < 500; i++)
		cr_assert_eq(seen.entries[i].id, 2 * i + 1);
	cr_expect_arr_eq(memory, zeros, sizeof(zeros));
}

/* PROTOCOL.md, P-5 */
Test(page, the_next_server_continues_the_page)
{
	uint64_t generation;
	uint64_t sequence;

	open_page(252);
	for (unsigned int id = 0; id < 9; id++)
		ivs_roster_page_writer_join(page, id, 1, 0);
	flush_and_look();
	generation = seen.header.generation;
	sequence = seen.header.sequence;
	open_page(10);
	look();
	cr_expect_eq(seen.used_n, 0);
	cr_expect_eq(seen.header.peers_n, 0);
	cr_expect_eq(seen.header.entries_n, 10);
	cr_expect_eq(seen.header.generation, generation + 1);
	cr_expect_eq(seen.header.sequence, sequence + 2);
}

/* A peer that the previous server handed over keeps its generation. */
Test(page, a_peer_that_stays_keeps_its_generation)
{
	open_page(252);
	ivs_roster_page_writer_join(page, 4, 1, 0);
	ivs_roster_page_writer_join(page, 5, 1, 0);
	cr_assert_eq(ivs_roster_page_writer_flush(page), 0);
	{
		uint64_t since = ivs_roster_page_writer_since(page, 4);

		open_page(252);
		ivs_roster_page_writer_join(page, 4, 1, since);
		ivs_roster_page_writer_join(page, 5, 1, UINT64_MAX);
		flush_and_look();
		expect_entry(0, 4, 1, since);
		expect_entry(1, 5, 1, seen.header.generation);
		cr_expect_eq(ivs_roster_page_writer_since(page, 6), 0);
	}
}

/* P-9: a generation written by another process is ignored if it is too high to be incremented. */
Test(page, invalid_generations_are_ignored)
{
	static const struct {
		uint64_t generation;
		uint64_t sequence;
		bool believed;
	} rows[] = {
		{5, 6, true},
		{5, 7, true},
		{IVS_ROSTER_PAGE_COUNT_MAX - 1, 6, true},
		{IVS_ROSTER_PAGE_COUNT_MAX, 6, false},
		{UINT64_MAX, 6, false},
		{5, IVS_ROSTER_PAGE_COUNT_MAX, false},
		{5, UINT64_MAX, false},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct ivs_roster_page_header header = {.generation = rows[i].generation,
							.sequence = rows[i].sequence};

		cr_assert_eq(ivs_roster_page_layout(LEN, 3, &header), 0);
		ivs_roster_page_put_header(&header, memory + LEN - IVS_ROSTER_PAGE_LEN);
		open_page(3);
		look();
		cr_expect_eq(seen.header.generation, rows[i].believed ? rows[i].generation + 1 : 1,
			     "row %zu", i);
		cr_expect_gt(seen.header.sequence, rows[i].believed ? rows[i].sequence : 0);
	}
}

/* P-9: what another process wrote is overwritten at the next change of a peer on the same page. */
Test(page, other_writes_are_repaired)
{
	open_page(252);
	ivs_roster_page_writer_join(page, 0, 2, 0);
	ivs_roster_page_writer_join(page, 1, 2, 0);
	flush_and_look();
	memset(memory + LEN - 4096, 0xa5, 4096);
	ivs_roster_page_writer_join(page, 2, 2, 0);
	flush_and_look();
	cr_expect_eq(seen.used_n, 3);
	cr_expect_eq(seen.header.peers_n, 3);
}

/* PROTOCOL.md, P-7 */
Test(page, the_end_is_shown_and_the_table_stays)
{
	open_page(252);
	ivs_roster_page_writer_join(page, 0, 2, 0);
	cr_assert_eq(ivs_roster_page_writer_flush(page), 0);
	ivs_roster_page_writer_finish(page);
	flush_and_look();
	cr_expect_not(seen.header.maintained);
	cr_expect_eq(seen.used_n, 1);
}

/*
 * The writer does not extend a region that a client has truncated. Once the region has its original
 * length again, the whole page is written.
 */
Test(page, a_truncated_region_is_left_alone)
{
	struct stat st;

	open_page(1000);
	for (unsigned int id = 0; id < 600; id++)
		ivs_roster_page_writer_join(page, id, 2, 0);
	cr_assert_eq(ivs_roster_page_writer_flush(page), 0);
	cr_assert_eq(ftruncate(ivs_region_fd(region), 4096), 0);
	ivs_roster_page_writer_join(page, 600, 2, 0);
	cr_expect_eq(ivs_roster_page_writer_flush(page), IVS_ROSTER_PAGE_WRITER_E_CUT);
	cr_assert_eq(fstat(ivs_region_fd(region), &st), 0);
	cr_expect_eq(st.st_size, 4096);
	cr_assert_eq(ftruncate(ivs_region_fd(region), LEN), 0);
	flush_and_look();
	cr_expect_eq(seen.used_n, 601);
}

Test(page, a_failed_write_is_repeated_completely)
{
	open_page(252);
	ivs_roster_page_writer_join(page, 0, 2, 0);
	cr_assert_eq(ivs_roster_page_writer_flush(page), 0);
	cr_assert_eq(mprotect(page->map, IVS_ROSTER_PAGE_LEN, PROT_READ), 0);
	ivs_roster_page_writer_join(page, 1, 2, 0);
	cr_expect_eq(ivs_roster_page_writer_flush(page), IVS_ROSTER_PAGE_WRITER_E_NO_PAGE);
	cr_assert_eq(mprotect(page->map, IVS_ROSTER_PAGE_LEN, PROT_READ | PROT_WRITE), 0);
	memset(memory + LEN - 4096, 0, 4096);
	flush_and_look();
	cr_expect_eq(seen.used_n, 2);
	cr_expect_eq(seen.header.sequence % 2, 0);
}

Test(page, a_region_that_is_too_small_is_refused_with_numbers)
{
	struct ivs_error err;

	cr_expect_eq(ivs_roster_page_writer_new(region, 4096, &page, &err),
		     IVS_ROSTER_PAGE_WRITER_E_SIZE);
	cr_expect_not_null(strstr(err.text, "4096 peers needs 68K"), "%s", err.text);
	cr_expect_not_null(strstr(err.text, "a region of 64K"), "%s", err.text);
	cr_expect_not_null(strstr(err.text, "--size 256K"), "%s", err.text);
	cr_expect_null(page);
}

/* P-10. The writer looks only at the page size in struct ivs_region, so the test needs no real huge
 * pages. */
Test(page, huge_pages_are_refused)
{
	struct ivs_region huge = {.fd = -1, .size = 4 << 20, .page_size = 2 << 20};
	struct ivs_error err;

	cr_expect_eq(ivs_roster_page_writer_new(&huge, 252, &page, &err),
		     IVS_ROSTER_PAGE_WRITER_E_HUGE_PAGES);
	cr_expect_not_null(strstr(err.text, "remove huge pages from the region"), "%s", err.text);
	cr_expect_null(page);
}
