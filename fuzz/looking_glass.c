/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fuzz target for ivs_publisher_step(), with a region that untrusted processes write to.
 *
 * Input: a byte with the flag FORCE; then operations. The two low bits of an operation's first byte
 * say what it does:
 *
 *   0  a step, after as many ms as the other bits say
 *   1  write a number of 32 bits: an offset in 16 bits (in units of 4 bytes), the number
 *   2  write as many bytes as the other bits say: an offset in 16 bits, the bytes
 *   3 set or clear bits of the clients of the frame queue: 8 bits of each half
 *
 * The region ends where its allocation ends, so that a sanitizer detects accesses beyond the end;
 * without a sanitizer, the bytes around it are checked.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "looking_glass/publisher.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t fuzz_make_input(uint64_t seed, uint8_t *out, size_t max);

#define FORCE 1
#define SIDE 64u
#define GUARD_LEN 4096u
#define GUARD 0xa5
#define SHARED_LEN 8192u /* most of these bytes are read */
#define SUBSCRIBERS_AT (32 + 416)
#define MS 1000000
#define STEPS_MAX 400

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition))                                                                  \
			__builtin_trap();                                                          \
	} while (0)

struct input {
	const uint8_t *data;
	size_t size;
};

static uint32_t take(struct input *input, size_t n)
{
	uint32_t value = 0;

	for (; n > 0 && input->size > 0; n--, input->size--)
		value = value << 8 | *input->data++;
	return value;
}

static void check_guards(const uint8_t *memory, size_t len)
{
	for (size_t i = 0; i < GUARD_LEN; i++)
		CHECK(memory[i] == GUARD && memory[GUARD_LEN + len + i] == GUARD);
}

static void check_report(const struct ivs_publisher_report *report)
{
	CHECK(!(report->attached & report->detached) && !(report->detached & report->late));
	CHECK(report->cause <= IVS_PUBLISHER_BROKEN);
	for (size_t i = 0; i < IVS_LGMP_CLIENTS_MAX; i++)
		CHECK(report->taken[i] <= IVS_PUBLISHER_FRAMES_N);
}

/* Return: whether the publisher continues. */
static bool take_step(struct ivs_publisher *publisher, int64_t now_ns)
{
	struct ivs_publisher_report report;
	int result = ivs_publisher_step(publisher, now_ns, &report);

	check_report(&report);
	CHECK(ivs_publisher_due_ns(publisher) > now_ns);
	CHECK(ivs_publisher_due_ns(publisher) <= now_ns + 10 * MS);
	CHECK(!result || (result == IVS_PUBLISHER_E_OTHER && !publisher->options.force));
	return !result;
}

static void operate(struct input *input, struct ivs_publisher *publisher, uint8_t *memory,
		    size_t len)
{
	int64_t now_ns = 1000 * (int64_t)MS;
	bool continues = true;

	for (unsigned int n = 0; continues && input->size > 0 && n < STEPS_MAX; n++) {
		uint8_t operation = (uint8_t)take(input, 1);
		size_t at;

		switch (operation & 3) {
		case 0:
			now_ns += (int64_t)(operation >> 2) * MS;
			continues = take_step(publisher, now_ns);
			break;
		case 1:
			at = take(input, 2) * 4 % SHARED_LEN;
			for (uint32_t i = 0, value = take(input, 4); i < 4; i++)
				memory[at + i] = (uint8_t)(value >> 8 * i);
			break;
		case 2:
			for (size_t i = take(input, 2), left = operation >> 2; left > 0;
			     i++, left--)
				memory[i % len] = (uint8_t)take(input, 1);
			break;
		default:
			memory[SUBSCRIBERS_AT] = (uint8_t)take(input, 1);
			memory[SUBSCRIBERS_AT + 4] = (uint8_t)take(input, 1);
		}
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = {.data = data, .size = size};
	struct ivs_publisher_options options = {
		.width = SIDE, .height = SIDE, .fps = 100, .force = take(&input, 1) & FORCE};
	struct ivs_publisher publisher;
	size_t len = ivs_publisher_size(SIDE, SIDE);
	uint8_t *memory = aligned_alloc(GUARD_LEN, len + 2 * (size_t)GUARD_LEN);

	CHECK(memory);
	memset(memory, GUARD, len + 2 * (size_t)GUARD_LEN);
	CHECK(!ivs_publisher_init(&publisher, &options, memory + GUARD_LEN, len));
	ivs_publisher_start(&publisher, 1000 * (int64_t)MS);
	operate(&input, &publisher, memory + GUARD_LEN, len);
	ivs_publisher_end(&publisher);
	check_guards(memory, len);
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

/*
 * Create operations: clients subscribe; then come steps, and writes to words that clients also
 * write.
 */
size_t fuzz_make_input(uint64_t seed, uint8_t *out, size_t max)
{
	static const uint16_t words[] = {
		0,   8,	  16,  24,  (32 + 16),	(32 + 20),  (32 + 24),	(32 + 408), (32 + 416),
		420, 424, 440, 448, (32 + 424), (32 + 432), (32 + 440), 5808 + 12,  5824 + 12,
	};
	uint64_t rng = seed;
	size_t len = 0;

	out[len++] = (uint8_t)pick(&rng, 2);
	while (len + 8 < max && pick(&rng, 100)) {
		uint64_t kind = pick(&rng, 8);
		uint16_t at = words[pick(&rng, sizeof(words) / sizeof(*words))] / 4;

		if (kind < 5) {
			out[len++] = (uint8_t)(pick(&rng, 64) << 2);
		} else if (kind < 7) {
			out[len++] = 1;
			out[len++] = (uint8_t)(at >> 8);
			out[len++] = (uint8_t)at;
			for (int i = 0; i < 4; i++)
				out[len++] = pick(&rng, 2) ? 0 : (uint8_t)pick(&rng, 256);
		} else {
			out[len++] = 3;
			out[len++] = (uint8_t)(pick(&rng, 4) ? 0 : pick(&rng, 256));
			out[len++] = (uint8_t)pick(&rng, 256);
		}
	}
	return len;
}
