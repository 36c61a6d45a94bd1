/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/copy.h"

#include <stdbool.h>
#include <string.h>

#include "base/clock.h"

#define WAITS_AT_MOST 16 /* times as long as a copy: then it is not the reader that is waited for */

#ifdef __SSE2__
#include <emmintrin.h>

#define LINE_LEN 64u
#define VECTOR_LEN sizeof(__m128i)

/* @to is aligned to VECTOR_LEN, and @len is a multiple of LINE_LEN. */
static void copy_lines(uint8_t *to, const uint8_t *from, size_t len)
{
	for (size_t i = 0; i < len; i += LINE_LEN) {
		__m128i *out = (__m128i *)(void *)(to + i);
		const __m128i *in = (const __m128i *)(const void *)(from + i);
		__m128i a = _mm_loadu_si128(in);
		__m128i b = _mm_loadu_si128(in + 1);
		__m128i c = _mm_loadu_si128(in + 2);
		__m128i d = _mm_loadu_si128(in + 3);

		_mm_stream_si128(out, a);
		_mm_stream_si128(out + 1, b);
		_mm_stream_si128(out + 2, c);
		_mm_stream_si128(out + 3, d);
	}
	_mm_sfence();
}

void ivs_copy_past_caches(void *to, const void *from, size_t len)
{
	uint8_t *out = to;
	const uint8_t *in = from;
	size_t head = -(uintptr_t)out % VECTOR_LEN;
	size_t lines = (len - head) / LINE_LEN * LINE_LEN;

	memcpy(out, in, head);
	copy_lines(out + head, in + head, lines);
	memcpy(out + head + lines, in + head + lines, len - head - lines);
}
#else
void ivs_copy_past_caches(void *to, const void *from, size_t len)
{
	memcpy(to, from, len);
}
#endif

/* All threads share the choices. Updates that get lost do no harm. */
static struct ivs_copy_choice own_choices[IVS_COPY_CLASSES];
static struct ivs_copy_choice shared_choices[IVS_COPY_CLASSES];

static uint32_t load(const uint32_t *at)
{
	return __atomic_load_n(at, __ATOMIC_RELAXED);
}

static void store(uint32_t *at, uint32_t value)
{
	__atomic_store_n(at, value, __ATOMIC_RELAXED);
}

unsigned int ivs_copy_choose(struct ivs_copy_choice *choice)
{
	uint32_t turn = load(&choice->turn);
	unsigned int better = load(&choice->cost[1]) < load(&choice->cost[0]);

	store(&choice->turn, turn + 1);
	if (turn < IVS_COPY_TRIES)
		return turn / IVS_COPY_RUN % 2;
	return turn % IVS_COPY_PERIOD < IVS_COPY_RUN ? !better : better;
}

/*
 * At the start of a run, memory may be touched first, and the caches are as the other method has
 * left them. But a method that takes half as long again is not tried for longer than that.
 */
static bool counts(struct ivs_copy_choice *choice, unsigned int method, uint64_t cost)
{
	uint32_t turn = load(&choice->turn);
	uint32_t at = (turn - 1) % IVS_COPY_RUN;
	uint32_t other = load(&choice->cost[!method]);

	if (at >= 1 && other && cost / 3 > other / 2) {
		store(&choice->turn, turn + IVS_COPY_RUN - 1 - at);
		return true;
	}
	return at >= IVS_COPY_RUN - 2;
}

void ivs_copy_learn(struct ivs_copy_choice *choice, unsigned int method, uint64_t cost)
{
	uint32_t known = load(&choice->cost[method]);
	uint32_t most = known ? known + known / 8 + 1 : IVS_COPY_COST_MAX;

	if (!counts(choice, method, cost))
		return;
	/* What the program does has changed: what the other method cost before says nothing. */
	if (load(&choice->turn) >= IVS_COPY_TRIES && cost < known / 2) {
		store(&choice->turn, 0);
		store(&choice->cost[!method], 0);
	}
	most = most < IVS_COPY_COST_MAX ? most : IVS_COPY_COST_MAX;
	store(&choice->cost[method], cost < most ? (uint32_t)cost : most);
}

static unsigned int class_of(size_t len)
{
	unsigned int class = 63 - (unsigned int)__builtin_clzll(len / IVS_COPY_LONG);

	return class < IVS_COPY_CLASSES ? class : IVS_COPY_CLASSES - 1;
}

/* Return: when the copy was complete. *began_ns: when it began. */
static int64_t copy_by(unsigned int method, void *to, const void *from, size_t len,
		       int64_t *began_ns)
{
	*began_ns = ivs_clock_ns();
	if (method)
		ivs_copy_past_caches(to, from, len);
	else
		memcpy(to, from, len);
	return ivs_clock_ns();
}

static uint64_t per_mib(int64_t ns, size_t len)
{
	return (uint64_t)ns / (len / IVS_COPY_LONG);
}

static void copy_long(void *to, const void *from, size_t len)
{
	struct ivs_copy_choice *choice = &own_choices[class_of(len)];
	unsigned int method = ivs_copy_choose(choice);
	int64_t began_ns;
	int64_t ended_ns = copy_by(method, to, from, len, &began_ns);

	ivs_copy_learn(choice, method, per_mib(ended_ns - began_ns, len));
}

static void copy_long_for_others(void *to, const void *from, size_t len)
{
	static __thread int64_t last_ns[IVS_COPY_CLASSES];
	struct ivs_copy_choice *choice = &shared_choices[class_of(len)];
	unsigned int method = ivs_copy_choose(choice);
	int64_t *last = &last_ns[class_of(len)];
	int64_t began_ns;
	int64_t ended_ns = copy_by(method, to, from, len, &began_ns);
	int64_t most_ns = (ended_ns - began_ns) * WAITS_AT_MOST;
	int64_t ns = ended_ns - *last;

	*last = ended_ns;
	ivs_copy_learn(choice, method, per_mib(ns < most_ns ? ns : most_ns, len));
}

void ivs_copy(void *to, const void *from, size_t len)
{
	if (len >= IVS_COPY_LONG)
		copy_long(to, from, len);
	else if (len)
		memcpy(to, from, len);
}

void ivs_copy_for_others(void *to, const void *from, size_t len)
{
	if (len >= IVS_COPY_LONG)
		copy_long_for_others(to, from, len);
	else if (len)
		memcpy(to, from, len);
}
