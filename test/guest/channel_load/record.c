/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"

void fail(const struct load *load, const char *what, int result)
{
	fprintf(stderr, "channel-load: %s %s: %s: %s\n", load->kind->name, load->name, what,
		result < 0 ? strerror(-result) : ivs_channel_strerror(result));
	exit(1);
}

void check(const struct load *load, const char *what, int result)
{
	if (result)
		fail(load, what, result);
}

static uint64_t mix(uint64_t x)
{
	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

size_t record_len(uint64_t number)
{
	return RECORD_MIN + number % (sizeof(struct record) - RECORD_MIN + 1);
}

/* @to: '*' for all. Bytes behind the record's length are zero. */
void record_fill(struct record *record, char from, char to, uint64_t number)
{
	uint64_t state = mix(number ^ ((uint64_t)from << 56 | (uint64_t)to << 48));
	size_t len = record_len(number);

	record->words[0] = number;
	for (size_t i = 1; i < RECORD_WORDS; i++) {
		record->words[i] = i * 8 < len ? state : 0;
		state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	}
	if (len % 8)
		memset((char *)record + len, 0, 8 - len % 8);
}

uint64_t digest_of(uint64_t digest, const void *bytes, size_t len)
{
	uint64_t word;

	for (size_t at = 0; at < len; at += 8) {
		word = 0;
		memcpy(&word, (const char *)bytes + at, len - at < 8 ? len - at : 8);
		digest = (digest ^ word) * UINT64_C(0x9e3779b97f4a7c15);
		digest ^= digest >> 29;
	}
	return digest;
}

void tally_add(struct tally *tally, const struct record *record, uint64_t number)
{
	tally->digest = digest_of(tally->digest, record, record_len(number));
	tally->n++;
}

/* Check what was received as record @number of a peer, and count it. */
void take(const struct load *load, struct flow *flow, char to, uint64_t number, const void *bytes,
	  size_t len)
{
	struct record expected;
	struct record record = {0};

	record_fill(&expected, flow->peer, to, number);
	if (len != record_len(number) || memcmp(bytes, &expected, len)) {
		memcpy(&record, bytes, len < sizeof(record) ? len : sizeof(record));
		fprintf(stderr,
			"channel-load: %s %s from %c: expected record %lu of %zu bytes, got record "
			"%lu of %zu bytes, or one with wrong bytes\n",
			load->kind->name, load->name, flow->peer, number, record_len(number),
			record.words[0], len);
		exit(1);
	}
	memcpy(&record, bytes, len);
	tally_add(&flow->in, &record, number);
}

const char *name_of(const struct load *load, char from, char to)
{
	static char name[NAME_MAX_LEN];

	snprintf(name, sizeof(name), "%.30s-%c-%c", load->name, from, to);
	return name;
}
