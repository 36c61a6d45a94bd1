/* SPDX-License-Identifier: BSD-3-Clause */
/* The region has the right size, and two peers see the same data everywhere in it. */
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "conform.h"

#define COUNTS 20000
#define LENGTH 3000 /* not a power of two */

static void size(struct conform *c)
{
	size_t len = 0;

	ivs_peer_memory(c->peer, &len);
	EXPECT(c, len == c->size, "expected %zu bytes, got %zu", c->size, len);
}

static void size_of_partner(struct conform *c)
{
	EXPECT_OK(ASK(c, ASK_HELLO));
	EXPECT(c, (size_t)ask_result(c, 2) == c->size, "the partner's region has %lld bytes",
	       (long long)ask_result(c, 2));
}

static void without_len(struct conform *c)
{
	size_t len;

	EXPECT(c, ivs_peer_memory(c->peer, NULL) == ivs_peer_memory(c->peer, &len),
	       "the address depends on whether len is NULL");
}

static void aligned(struct conform *c)
{
	EXPECT(c, !((uintptr_t)c->memory % PAGE), "%p is not aligned to a page", (void *)c->memory);
}

static void usable(struct conform *c)
{
	size_t len = ivs_peer_usable_len(c->peer);

	if (!c->roster) {
		EXPECT(c, len == c->size, "expected all %zu bytes, got %zu", c->size, len);
		return;
	}
	EXPECT(c, len < c->size && len >= c->size / 2, "expected half to all of %zu, got %zu",
	       c->size, len);
	EXPECT(c, !(len % PAGE), "%zu is not a multiple of the page size (P-3)", len);
}

static bool from_partner(struct conform *c, uint64_t at, uint64_t len, uint64_t seed)
{
	uint64_t first = 0;
	uint64_t wrong;

	if (!ASK(c, ASK_WRITE, {at, len, seed}))
		return false;
	wrong = pattern_check(c->memory + at, len, seed, &first);
	if (wrong)
		conform_fail(c, "%llu of the partner's %llu bytes are wrong, the first at %llu",
			     (unsigned long long)wrong, (unsigned long long)len,
			     (unsigned long long)(at + first));
	return !wrong;
}

static bool to_partner(struct conform *c, uint64_t at, uint64_t len, uint64_t seed)
{
	pattern_write(c->memory + at, len, seed);
	if (!ASK(c, ASK_CHECK, {at, len, seed}))
		return false;
	if (ask_result(c, 0))
		conform_fail(c, "the partner read %lld of %llu bytes wrong, the first at %llu",
			     (long long)ask_result(c, 0), (unsigned long long)len,
			     (unsigned long long)at + (unsigned long long)ask_result(c, 1));
	return !c->failed;
}

static void read_partner(struct conform *c)
{
	EXPECT_OK(from_partner(c, SCRATCH_AT + 1, LENGTH, 1));
}

static void read_by_partner(struct conform *c)
{
	EXPECT_OK(to_partner(c, SCRATCH_AT + 3, LENGTH, 2));
}

static void first_page(struct conform *c)
{
	EXPECT_OK(from_partner(c, 0, PAGE, 3));
	EXPECT_OK(to_partner(c, 0, PAGE, 4));
}

static void last_page(struct conform *c)
{
	size_t at = ivs_peer_usable_len(c->peer) - PAGE;

	EXPECT_OK(from_partner(c, at, PAGE, 5));
	EXPECT_OK(to_partner(c, at, PAGE, 6));
}

static void first_byte(struct conform *c)
{
	for (uint64_t seed = 10; seed < 14; seed += 2) {
		EXPECT_OK(from_partner(c, 0, 1, seed));
		EXPECT_OK(to_partner(c, 0, 1, seed + 1));
	}
}

static void last_byte(struct conform *c)
{
	size_t at = ivs_peer_usable_len(c->peer) - 1;

	for (uint64_t seed = 20; seed < 24; seed += 2) {
		EXPECT_OK(from_partner(c, at, 1, seed));
		EXPECT_OK(to_partner(c, at, 1, seed + 1));
	}
}

static void mib_from_partner(struct conform *c)
{
	EXPECT_OK(from_partner(c, LARGE_AT, MIB, 7));
}

static void mib_to_partner(struct conform *c)
{
	EXPECT_OK(to_partner(c, LARGE_AT, MIB, 8));
}

/* Patterns in adjacent pages do not overwrite each other: no page is mapped twice. */
static void pages_apart(struct conform *c)
{
	for (uint64_t page = 0; page < 4; page++)
		pattern_write(c->memory + LARGE_AT + page * PAGE, PAGE, 30 + page);
	for (uint64_t page = 0; page < 4; page++) {
		EXPECT_OK(ASK(c, ASK_CHECK, {LARGE_AT + page * PAGE, PAGE, 30 + page}));
		EXPECT(c, !ask_result(c, 0), "the partner sees a different page instead of page %d",
		       (int)page);
	}
}

/* Atomic operations of two peers on the same word lose no updates. */
static void counted_by_both(struct conform *c)
{
	_Atomic uint64_t *counter = (_Atomic uint64_t *)(void *)(c->memory + WORDS_AT);

	*counter = 0;
	ask_begin(c, &(const struct ask){ASK_ADD, {WORDS_AT, COUNTS}});
	for (unsigned int i = 0; i < COUNTS; i++)
		(*counter)++;
	EXPECT_OK(ask_end(c));
	EXPECT(c, *counter == 2 * COUNTS, "expected %u, got %llu", 2 * COUNTS,
	       (unsigned long long)*counter);
}

/* Loads and stores of each width work as in ordinary memory. */
static void widths(struct conform *c)
{
	volatile uint8_t *at = c->memory + SCRATCH_AT;

	*(volatile uint64_t *)(volatile void *)at = 0x1122334455667788;
	*(volatile uint32_t *)(volatile void *)(at + 8) = 0x99aabbcc;
	*(volatile uint16_t *)(volatile void *)(at + 12) = 0xddee;
	at[14] = 0xff;
	EXPECT(c, at[0] == 0x88 && at[7] == 0x11, "a store of 8 bytes went wrong");
	EXPECT(c, at[8] == 0xcc && at[11] == 0x99, "a store of 4 bytes went wrong");
	EXPECT(c, at[12] == 0xee && at[13] == 0xdd && at[14] == 0xff,
	       "a store of 2 bytes or 1 byte went wrong");
	EXPECT(c, *(volatile uint32_t *)(volatile void *)(at + 4) == 0x11223344,
	       "a 4-byte load returned a wrong value");
	EXPECT(c, *(volatile uint16_t *)(volatile void *)(at + 2) == 0x5566,
	       "a load of 2 bytes went wrong");
}

/* memcpy() may use any load and store instructions. */
static void copied(struct conform *c)
{
	static uint8_t there[MIB];
	static uint8_t back[MIB];

	pattern_write(there, sizeof(there), 9);
	memcpy(c->memory + LARGE_AT, there, sizeof(there));
	EXPECT_OK(ASK(c, ASK_CHECK, {LARGE_AT, MIB, 9}));
	EXPECT(c, !ask_result(c, 0), "the partner read %lld bytes wrong",
	       (long long)ask_result(c, 0));
	memcpy(back, c->memory + LARGE_AT, sizeof(back));
	EXPECT(c, !memcmp(there, back, sizeof(back)), "the data differs after being copied back");
}

static void stays_when_closed(struct conform *c)
{
	uint64_t first;

	pattern_write(c->memory + SCRATCH_AT, LENGTH, 40);
	EXPECT_OK(conform_reopen(c, NULL));
	EXPECT(c, !pattern_check(c->memory + SCRATCH_AT, LENGTH, 40, &first),
	       "data written before closing is lost");
}

static void two_mappings(struct conform *c)
{
	struct ivs_peer *other;
	struct ivs_error err;
	uint64_t first;
	uint8_t *memory;
	int result = conform_open(c, c->address, NULL, &other, &err);

	if (is_transport(c, "vfio")) {
		EXPECT(c, result == -EBUSY, "expected -EBUSY, got %s", conform_result(result));
		return;
	}
	EXPECT(c, !result, "opening a second peer: %s: %s", conform_result(result), err.text);
	memory = ivs_peer_memory(other, NULL);
	EXPECT(c, memory != c->memory,
	       "two peers share a mapping, which the first to close would unmap");
	pattern_write(c->memory + SCRATCH_AT, LENGTH, 50);
	EXPECT(c, !pattern_check(memory + SCRATCH_AT, LENGTH, 50, &first),
	       "two peers of one process see different data");
}

static bool reopen_read_only(struct conform *c)
{
	struct ivs_error err;
	int result;

	conform_close(c);
	result = ivs_peer_open_read_only(c->address, NULL, &c->peer, &err);
	if (result) {
		c->peer = NULL;
		conform_fail(c, "opening for reading only: %s: %s", conform_result(result),
			     err.text);
		return false;
	}
	c->memory = ivs_peer_memory(c->peer, NULL);
	return true;
}

static void handle_fault(int signo)
{
	(void)signo;
	raise(SIGKILL);
}

/* A signal that is handled adds no line to a guest's kernel log. */
static void store_a_byte(struct conform *c)
{
	signal(SIGSEGV, handle_fault);
	*(volatile uint8_t *)(c->memory + SCRATCH_AT) = 1;
}

/* Over every transport, a store to read-only memory raises SIGSEGV at that instruction. */
static void read_only(struct conform *c)
{
	uint64_t first;
	const char *why;
	int signo;

	pattern_write(c->memory + SCRATCH_AT, LENGTH, 60);
	EXPECT_OK(reopen_read_only(c));
	EXPECT(c, ivs_peer_caps(c->peer) == (c->expected & ~(unsigned int)IVS_CAP_WRITE),
	       "caps 0x%x", ivs_peer_caps(c->peer));
	why = ivs_peer_cap_reason(c->peer, IVS_CAP_WRITE);
	EXPECT(c, why && strstr(why, "reading only"), "the reason: %s", why ? why : "none");
	EXPECT(c, strstr(ivs_peer_describe(c->peer), "read-only"), "described as %s",
	       ivs_peer_describe(c->peer));
	EXPECT(c, !pattern_check(c->memory + SCRATCH_AT, LENGTH, 60, &first),
	       "data written earlier is missing");
	signo = conform_in_child(c, store_a_byte);
	EXPECT(c, signo == SIGKILL, "a store raises no SIGSEGV: signal %d", signo);
	if (can(c, IVS_CAP_RING))
		EXPECT_RESULT(c, ivs_peer_ring(c->peer, (unsigned int)c->partner, 0), 0);
	EXPECT_OK(conform_reopen(c, NULL));
	if (can(c, IVS_CAP_RING))
		EXPECT_OK(ask_rung(c, 0)); /* not earlier: the request itself is a store */
	EXPECT(c, !pattern_check(c->memory + SCRATCH_AT, LENGTH, 60, &first),
	       "the store has reached the region");
}

const struct conform_case memory_cases[] = {
	{"memory: as large as the region", size},
	{"memory: as large as the partner's", size_of_partner},
	{"memory: len may be NULL", without_len},
	{"memory: begins at a page boundary", aligned},
	{"memory: usable except for the roster page", usable},
	{"memory: the peer reads the partner's data", read_partner},
	{"memory: the partner reads the peer's data", read_by_partner},
	{"memory: the first page, both ways", first_page},
	{"memory: the last usable page, both ways", last_page},
	{"memory: the first byte, both ways", first_byte},
	{"memory: the last usable byte, both ways", last_byte},
	{"memory: 1 MiB from the partner", mib_from_partner},
	{"memory: 1 MiB to the partner", mib_to_partner},
	{"memory: no page is mapped twice", pages_apart},
	{"memory: both peers count in the same word", counted_by_both},
	{"memory: loads and stores of 1, 2, 4 and 8 bytes", widths},
	{"memory: 1 MiB copied in and out by memcpy()", copied},
	{"memory: data remains after the peer is closed", stays_when_closed},
	{"memory: two peers of one process see the same data", two_mappings},
	{"memory: opened for reading only", read_only},
	{0},
};
