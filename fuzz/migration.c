/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fuzz target for what the monitors of two VMs say before a migration (src/migration).
 *
 * Input: the output of "info ramblock" of the source, a NUL, that of the destination, a NUL, and
 * the JSON of query-migrate. All rules are then applied. Texts must be printable.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "migration/check.h"
#include "migration/progress.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t fuzz_make_input(uint64_t seed, uint8_t *out, size_t max);

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition))                                                                  \
			__builtin_trap();                                                          \
	} while (0)

static void check_blocks(const struct ivs_migration_side *side)
{
	CHECK(side->blocks_n <= IVS_MIGRATION_BLOCKS_MAX);
	for (unsigned int i = 0; i < side->blocks_n; i++) {
		size_t len = strlen(side->blocks[i].name);

		CHECK(len && len < IVS_MIGRATION_NAME_LEN);
	}
}

static void check_progress(const char *text)
{
	struct ivs_migration_progress progress;
	char shown[IVS_MIGRATION_PROGRESS_LEN];
	json_t *json = json_loads(text, 0, NULL);

	if (!json)
		return;
	ivs_migration_progress_parse(json, &progress);
	CHECK(ivs_text_is_printable(progress.status) && ivs_text_is_printable(progress.error) &&
	      ivs_text_is_printable(progress.blocked));
	CHECK(*ivs_migration_progress_text(&progress, shown));
	json_decref(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct ivs_migration_side source;
	static struct ivs_migration_side destination;
	static struct ivs_migration_problems problems;
	char *text = malloc(size + 3);
	const char *second;
	const char *third;

	CHECK(text);
	memcpy(text, data, size);
	memset(text + size, 0, 3);
	second = text + strlen(text) + 1;
	third = second + strlen(second) + 1;
	source.major = 10;
	ivs_migration_parse_blocks(text, &source);
	ivs_migration_parse_blocks(second, &destination);
	check_blocks(&source);
	check_blocks(&destination);
	ivs_migration_check(&source, &destination, &problems);
	CHECK(problems.n <= IVS_MIGRATION_PROBLEMS_MAX);
	for (unsigned int i = 0; i < problems.n; i++)
		CHECK(*problems.list[i].text && ivs_text_is_printable(problems.list[i].text));
	check_progress(third);
	free(text);
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

/* Join words that occur in such output, in any order. */
size_t fuzz_make_input(uint64_t seed, uint8_t *out, size_t max)
{
	static const char *const words[] = {
		"ram0 ",
		"4 KiB ",
		"0x0000000000000000 ",
		"0x0000000004000000 ",
		"0x10 0x20 0x30\n",
		"\n",
		"pc.ram ",
		"/rom@x ",
		"{\"status\": \"active\", \"ram\": {",
		"\"total\": ",
		"1073741824",
		", \"mbps\": 1e300",
		"}}",
		"\x1b[1m ",
		"\xff ",
	};
	uint64_t rng = seed;
	size_t len = 0;

	for (uint64_t n = pick(&rng, 60); n; n--) {
		const char *word = words[pick(&rng, sizeof(words) / sizeof(*words))];
		size_t word_len = strlen(word);

		if (!pick(&rng, 12)) {
			word = "";
			word_len = 1;
		}
		if (len + word_len > max)
			break;
		memcpy(out + len, word, word_len);
		len += word_len;
	}
	return len;
}
