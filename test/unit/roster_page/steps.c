/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Read the roster page while the server writes it (rule P-4 of PROTOCOL.md), with every possible
 * interleaving of loads and stores, for a few small histories.
 *
 * The writer is the server's code with process_vm_writev(2) replaced by a function that records
 * each write as stores of words, or of single bytes for the sequence, in one of several orders in
 * which the kernel may copy. The reader is the library's code. Before each of its loads, any number
 * of the next recorded stores are applied; loads of words that never change are left out. On
 * failure the program prints the number of stores before each load.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#include "ivshmem/region.h"

static uint64_t test_load(const uint64_t *word);
static ssize_t test_writev(const struct iovec *from, const struct iovec *to);

#define LOAD(word) test_load(word)
#define process_vm_writev(pid, from, from_n, to, to_n, flags) test_writev(from, to)
#include "../../../src/roster_page/format.c"
#include "../../../src/roster_page/writer.c"
#undef process_vm_writev

#define REGION_LEN 8192
#define ENTRIES_N 2
#define FLUSHES_MAX 4
#define STEPS_MAX 128
#define LOADS_MAX 128
#define SEQUENCE_OFFSET (REGION_LEN - IVS_ROSTER_PAGE_LEN + IVS_ROSTER_PAGE_SEQUENCE_AT)

enum order { ASCENDING, DESCENDING, FROM_THE_MIDDLE, ORDERS_N };

struct step {
	size_t offset;
	size_t len;
	uint8_t bytes[8];
};

/* A permitted result of the reader: the roster after one of the flushes. */
struct moment {
	uint64_t generation;
	uint32_t peers_n;
	bool maintained;
	uint32_t used_n;
	struct ivs_roster_page_entry entries[ENTRIES_N];
};

static uint64_t memory[REGION_LEN / 8]; /* the region as the reader loads it */
static uint8_t image[REGION_LEN];	/* the region with everything that the writer has written */
static uint8_t beginning[REGION_LEN];	/* @image before the first step */
static bool changes[REGION_LEN / 8];
static enum order order;
static bool noting;
static const struct ivs_roster_page_writer *mapped; /* the writer whose mapping is written to */
static struct step steps[STEPS_MAX];
static unsigned int steps_n;
static struct moment moments[FLUSHES_MAX + 1];
static unsigned int moments_n;

/* Before load number i of this run, choices[i] steps of the writer are applied. */
static unsigned int choices[LOADS_MAX];
static unsigned int options[LOADS_MAX];
static unsigned int choices_n;
static unsigned int at_load;
static unsigned int at_step;

static void fail(const char *what)
{
	fprintf(stderr, "roster-page-steps: %s; order %d, steps before each load:", what, order);
	for (unsigned int i = 0; i < at_load; i++)
		fprintf(stderr, " %u", choices[i]);
	fprintf(stderr, "\n");
	exit(1);
}

static void note_step(size_t offset, const uint8_t *bytes, size_t len)
{
	if (!memcmp(image + offset, bytes, len))
		return;
	if (steps_n == STEPS_MAX)
		fail("too many steps");
	memcpy(image + offset, bytes, len);
	changes[offset / 8] = true;
	steps[steps_n] = (struct step){.offset = offset, .len = len};
	memcpy(steps[steps_n++].bytes, bytes, len);
}

/* Return: which of @n pieces is the @i-th to be copied. */
static size_t pick(size_t i, size_t n)
{
	switch (order) {
	case DESCENDING:
		return n - 1 - i;
	case FROM_THE_MIDDLE:
		return (i + n / 2) % n;
	default:
		return i;
	}
}

static ssize_t test_writev(const struct iovec *from, const struct iovec *to)
{
	const uint8_t *bytes = from->iov_base;
	size_t len = from->iov_len;
	size_t offset = mapped->map_offset + (size_t)((uint8_t *)to->iov_base - mapped->map);
	size_t piece = offset == SEQUENCE_OFFSET ? 1 : 8;

	if (offset < REGION_LEN - IVS_ROSTER_PAGE_LEN || offset + len > REGION_LEN ||
	    to->iov_len != len)
		fail("a write outside the reserved page");
	if (!noting) {
		memcpy(image + offset, bytes, len);
		return (ssize_t)len;
	}
	for (size_t i = 0; i < len / piece; i++) {
		size_t at = pick(i, len / piece) * piece;

		note_step(offset + at, bytes + at, piece);
	}
	return (ssize_t)len;
}

static uint64_t test_load(const uint64_t *word)
{
	if (changes[word - memory]) {
		if (at_load == LOADS_MAX)
			fail("too many loads");
		if (at_load == choices_n)
			choices[choices_n++] = 0;
		options[at_load] = steps_n - at_step;
		for (unsigned int i = 0; i < choices[at_load]; i++, at_step++)
			memcpy((uint8_t *)memory + steps[at_step].offset, steps[at_step].bytes,
			       steps[at_step].len);
		at_load++;
	}
	return *word;
}

/* Increment the last choice that is not at its maximum. Drop the choices after it, which then start
 * from 0. Return: false if all choices are at their maximum. */
static bool next_run(void)
{
	while (choices_n && choices[choices_n - 1] == options[choices_n - 1])
		choices_n--;
	if (!choices_n)
		return false;
	choices[choices_n - 1]++;
	return true;
}

static struct moment take_moment(const struct ivs_roster_page_writer *page)
{
	struct moment moment = {
		.generation = page->header.generation,
		.peers_n = page->header.peers_n,
		.maintained = page->header.maintained,
	};

	for (uint32_t entry = 0; entry < ENTRIES_N; entry++) {
		for (unsigned int id = 0; id < 8; id++) {
			const struct ivs_roster_page_writer_peer *peer = &page->peers[id];

			if (peer->since && peer->entry == entry)
				moment.entries[moment.used_n++] = (struct ivs_roster_page_entry){
					id, peer->vectors_n, peer->since};
		}
	}
	return moment;
}

static void check(const struct ivs_roster_page_snapshot *snapshot)
{
	for (unsigned int i = 0; i < moments_n; i++) {
		const struct moment *moment = &moments[i];

		if (moment->generation == snapshot->header.generation &&
		    moment->maintained == snapshot->header.maintained &&
		    moment->peers_n == snapshot->header.peers_n &&
		    moment->used_n == snapshot->used_n &&
		    !memcmp(moment->entries, snapshot->entries,
			    moment->used_n * sizeof(*moment->entries)))
			return;
	}
	fail("a mixture of two moments was read");
}

/*
 * Record the steps of a history. In @text, "+N" is a join of id N, "-N" its leave, "!" the server's
 * exit, and a space a flush. Everything up to the first space is written before the first step.
 */
static void note_history(struct ivs_roster_page_writer *page, const char *text)
{
	noting = false;
	moments_n = steps_n = 0;
	memset(changes, 0, sizeof(changes));
	for (;; text++) {
		unsigned int id = *text && *text != ' ' && *text != '!' ? text[1] - '0' : 0;

		if (*text == '+')
			ivs_roster_page_writer_join(page, id, id + 1, 0);
		if (*text == '-')
			ivs_roster_page_writer_leave(page, id);
		if (*text == '!')
			ivs_roster_page_writer_finish(page);
		text += *text == '+' || *text == '-';
		if (*text && *text != ' ')
			continue;
		if (ivs_roster_page_writer_flush(page))
			fail("a flush has failed");
		if (!noting)
			memcpy(beginning, image, sizeof(image));
		noting = true;
		moments[moments_n++] = take_moment(page);
		if (!*text)
			return;
	}
}

static unsigned long run_all(const char *history, unsigned int tries)
{
	struct ivs_region_options opts = IVS_REGION_OPTIONS_INIT;
	struct ivs_roster_page_entry entries[ENTRIES_N];
	struct ivs_region *region;
	unsigned long good_n = 0;
	unsigned long runs_n = 0;
	struct ivs_roster_page_writer *page;

	opts.size = REGION_LEN;
	if (ivs_region_open("memfd:", &opts, &region, NULL) ||
	    ivs_roster_page_writer_new(region, ENTRIES_N, &page, NULL))
		abort();
	memset(image, 0, sizeof(image));
	mapped = page;
	page->header.sequence = 0xf8; /* so that increments soon carry into the next byte */
	note_history(page, history);
	choices_n = 0;
	do {
		struct ivs_roster_page_snapshot snapshot = {.entries = entries,
							    .entries_max = ENTRIES_N};
		int result;

		memcpy(memory, beginning, sizeof(memory));
		at_load = at_step = 0;
		result = ivs_roster_page_read(memory, REGION_LEN, tries, &snapshot);
		if (!result)
			check(&snapshot);
		else if (result != IVS_ROSTER_PAGE_E_BUSY || !at_step)
			fail("the page could not be read, although no write was in progress");
		good_n += !result;
		runs_n++;
	} while (next_run());
	if (!good_n || good_n == runs_n)
		fail("either no read or every read succeeded");
	ivs_roster_page_writer_free(page);
	ivs_region_close(region);
	return runs_n;
}

int main(void)
{
	static const struct {
		const char *history;
		unsigned int tries;
	} worlds[] = {
		{"+0 +1", 2},	     {"+0 +1 -0", 1}, {"+0+1 -0+2 -1", 1},
		{" +0+1 -0-1", 1},   {"+0 -0 +0", 2}, {"+0+1+2 -0", 2},
		{"+0+1+2 -0 -1", 1}, {"+0 -0 ! ", 1}, {"+0 +1 -0 +2", 1},
	};
	unsigned long runs_n = 0;

	for (size_t i = 0; i < sizeof(worlds) / sizeof(*worlds); i++) {
		for (order = ASCENDING; order < ORDERS_N; order++)
			runs_n += run_all(worlds[i].history, worlds[i].tries);
	}
	printf("roster-page-steps: %lu interleavings\n", runs_n);
	return 0;
}
