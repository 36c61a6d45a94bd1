/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fuzz target for ivs_roster_resume() with damaged memory.
 *
 * Input: the number of bytes to remove from the end of the memory (two bytes, only used with CUT);
 * a byte of flags (MANY, CUT); then records of four bytes: offset (two bytes), new value, length.
 * The records overwrite the memory of a small roster whose joins and leaves are partly announced.
 * If the roster can be resumed, its messages must be valid. Sanitizers check accesses to the
 * memory.
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
#define IDS_N 70 /* more ids than one word of a bitmap holds */
#define BATCH 16
#define MESSAGES_MAX 400

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition))                                                                  \
			__builtin_trap();                                                          \
	} while (0)

/* Send client @id up to @n messages. */
static void send_messages(struct ivs_roster *roster, unsigned int id, unsigned int n)
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
			CHECK(msgs[i].type != IVS_V0_LEAVE || !ivs_roster_quiet(roster, id));
			if (msgs[i].type != IVS_V0_VECTOR)
				continue;
			/* Only a peer that is present, or a vacant seat, has an fd to send. */
			CHECK(ivs_roster_present(roster, msgs[i].id) ||
			      ivs_roster_next_vacant(roster, msgs[i].id) == msgs[i].id);
			CHECK(msgs[i].vector < ivs_roster_vectors(roster, msgs[i].id));
		}
		ivs_roster_begin_send(roster, id);
		ivs_roster_end_send(roster, id, msgs, got);
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
		struct ivs_roster_newcomer newcomer = {.vectors_n = i % 4, .quiet = i % 3 == 1};

		CHECK(!ivs_roster_join(roster, &newcomer, &id));
		send_messages(roster, id, i * 7 % 23);
		if (i % 7 == 6)
			ivs_roster_begin_send(roster, id);
		if (i % 5 == 4 && ivs_roster_present(roster, i / 2 + 1))
			(void)ivs_roster_leave(roster, i / 2 + 1);
	}
	ivs_roster_free(roster);
}

/* Take every other vacant seat, and give up the rest. */
static void use_seats(struct ivs_roster *roster)
{
	bool takes = false;

	for (unsigned int id = ivs_roster_next_vacant(roster, 0); id <= IVS_ID_MAX;
	     id = ivs_roster_next_vacant(roster, id + 1)) {
		const struct ivs_roster_newcomer newcomer = {
			.vectors_n = ivs_roster_vectors(roster, id), .quiet = id % 2};

		takes = !takes;
		if (!takes || ivs_roster_join_seat(roster, &newcomer, id))
			ivs_roster_give_up(roster, id);
		else
			send_messages(roster, id, MESSAGES_MAX);
	}
}

static void use(struct ivs_roster *roster)
{
	unsigned int present_n = 0;
	unsigned int id;

	for (unsigned int i = 0; i < 65536; i++)
		present_n += ivs_roster_present(roster, i);
	CHECK(present_n == ivs_roster_peers(roster));
	CHECK(ivs_roster_unknown(roster) <= 65536 - present_n);
	for (unsigned int i = 0; i < 512; i++) {
		if (ivs_roster_present(roster, i))
			send_messages(roster, i, MESSAGES_MAX);
	}
	for (unsigned int i = 0; i < 4; i++) {
		struct ivs_roster_newcomer newcomer = {.vectors_n = 2, .quiet = i % 2};

		if (!ivs_roster_join(roster, &newcomer, &id))
			send_messages(roster, id, MESSAGES_MAX);
	}
	for (unsigned int i = 0; i < 512; i += 3) {
		if (ivs_roster_present(roster, i))
			(void)ivs_roster_leave(roster, i);
	}
	use_seats(roster);
	for (unsigned int i = 0; i < 512; i++) {
		if (ivs_roster_present(roster, i))
			send_messages(roster, i, MESSAGES_MAX);
	}
}

static void change(struct ivs_roster_memory *memory, const uint8_t *data, size_t size)
{
	for (; size >= 4; data += 4, size -= 4) {
		/* Skip magic and version, because offset 0 is frequent in inputs. */
		size_t at = (size_t)((data[0] | data[1] << 8) + 16) % memory->len;
		size_t n = 1 + data[3] % 16;

		if (n > memory->len - at)
			n = memory->len - at;
		memset(memory->base + at, data[2], n);
	}
}

/* Truncate the memory, in a new allocation, so that a sanitizer detects accesses beyond its end. */
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
		/* After the roster has been resumed and used, its memory must still be valid. */
		CHECK(!ivs_roster_resume(65536, &memory, &roster));
		ivs_roster_free(roster);
	}
	free(memory.base);
	return 0;
}
