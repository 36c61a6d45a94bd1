/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fuzz target for ivs_roster_resume(): memory that another process left, or that only looks like it.
 *
 * Input: how many bytes of the memory are missing at its end (two bytes); what kind (a byte: MANY,
 * CUT, else the former does not count); then records of four bytes: where (two bytes), what it is changed to, and how many times. What is changed is the
 * memory of a small roster in which all kinds of things are under way. Whatever can be gone on with
 * is used: what is to be told must be possible, and nothing is touched outside (sanitizers).
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "roster/memory.h"
#include "roster/roster.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MANY 1
#define CUT 2
#define IDS_N 70 /* one level is not enough for them */
#define BATCH 16
#define MESSAGES_MAX 400

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition))                                                                  \
			__builtin_trap();                                                          \
	} while (0)

/* Tell @id up to @n messages. */
static void tell(struct ivs_roster *roster, unsigned int id, unsigned int n)
{
	struct ivs_v0_message msgs[BATCH];

	while (n) {
		unsigned int ask = n < BATCH ? n : BATCH;
		unsigned int got = ivs_roster_due(roster, id, msgs, ask);

		CHECK(got <= ask);
		for (unsigned int i = 0; i < got; i++) {
			CHECK(msgs[i].fd == -1);
			CHECK(msgs[i].type != IVS_V0_ID || msgs[i].id == id);
			CHECK(msgs[i].type != IVS_V0_LEAVE || msgs[i].id != id);
			if (msgs[i].type != IVS_V0_VECTOR)
				continue;
			/* The server takes the fd from there. */
			CHECK(ivs_roster_present(roster, msgs[i].id));
			CHECK(msgs[i].vector < ivs_roster_vectors(roster, msgs[i].id));
		}
		ivs_roster_telling(roster, id);
		ivs_roster_told(roster, id, msgs, got);
		n -= ask;
		if (!got)
			return;
	}
}

static void make(struct ivs_roster_memory *memory, unsigned int ids_n)
{
	struct ivs_roster *roster;
	unsigned int id;

	CHECK(!ivs_roster_new(65536, memory, &roster));
	for (unsigned int i = 0; i < ids_n; i++) {
		CHECK(!ivs_roster_join(roster, i % 4, &id));
		tell(roster, id, i * 7 % 23);
		if (i % 7 == 6)
			ivs_roster_telling(roster, id);
		if (i % 5 == 4 && ivs_roster_present(roster, i / 2 + 1))
			ivs_roster_leave(roster, i / 2 + 1);
	}
	ivs_roster_free(roster);
}

static void use(struct ivs_roster *roster)
{
	unsigned int there_n = 0;
	unsigned int id;

	for (unsigned int i = 0; i < 65536; i++)
		there_n += ivs_roster_present(roster, i);
	CHECK(there_n == ivs_roster_peers(roster));
	CHECK(ivs_roster_unheard(roster) <= 65536 - there_n);
	for (unsigned int i = 0; i < 512; i++) {
		if (ivs_roster_present(roster, i))
			tell(roster, i, MESSAGES_MAX);
	}
	for (unsigned int i = 0; i < 4; i++) {
		if (!ivs_roster_join(roster, 2, &id))
			tell(roster, id, MESSAGES_MAX);
	}
	for (unsigned int i = 0; i < 512; i += 3) {
		if (ivs_roster_present(roster, i))
			ivs_roster_leave(roster, i);
	}
	for (unsigned int i = 0; i < 512; i++) {
		if (ivs_roster_present(roster, i))
			tell(roster, i, MESSAGES_MAX);
	}
}

static void change(struct ivs_roster_memory *memory, const uint8_t *data, size_t size)
{
	for (; size >= 4; data += 4, size -= 4) {
		/* Most zeros are not to hit what makes all the rest worthless: magic and version. */
		size_t at = (size_t)((data[0] | data[1] << 8) + 16) % memory->len;
		size_t n = 1 + data[3] % 16;

		if (n > memory->len - at)
			n = memory->len - at;
		memset(memory->base + at, data[2], n);
	}
}

/* Exactly as long as the input says, so that a sanitizer sees what is touched behind it. */
static bool cut(struct ivs_roster_memory *memory, size_t missing)
{
	size_t len = memory->len - missing % (memory->len + 1);
	uint8_t *base = malloc(len ? len : 1);

	if (!base)
		return false;
	memcpy(base, memory->base, len);
	free(memory->base);
	memory->base = base;
	memory->len = len;
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ivs_roster_memory memory = {.grow = ivs_roster_heap_grow};
	struct ivs_roster *roster;

	if (size < 3)
		return 0;
	make(&memory, data[2] & MANY ? IDS_N : 12);
	change(&memory, data + 3, size - 3);
	if (cut(&memory, data[2] & CUT ? (size_t)(data[0] | data[1] << 8) : 0) &&
	    !ivs_roster_resume(65536, &memory, &roster)) {
		use(roster);
		ivs_roster_free(roster);
		/* What was made of it can be gone on with. */
		CHECK(!ivs_roster_resume(65536, &memory, &roster));
		ivs_roster_free(roster);
	}
	free(memory.base);
	return 0;
}
