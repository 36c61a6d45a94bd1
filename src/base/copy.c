/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/copy.h"

#include <stdint.h>
#include <string.h>

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

static void copy_long(uint8_t *to, const uint8_t *from, size_t len)
{
	size_t head = -(uintptr_t)to % VECTOR_LEN;
	size_t lines = (len - head) / LINE_LEN * LINE_LEN;

	memcpy(to, from, head);
	copy_lines(to + head, from + head, lines);
	memcpy(to + head + lines, from + head + lines, len - head - lines);
}
#else
static void copy_long(uint8_t *to, const uint8_t *from, size_t len)
{
	memcpy(to, from, len);
}
#endif

void ivs_copy(void *to, const void *from, size_t len)
{
	if (len >= IVS_COPY_LONG)
		copy_long(to, from, len);
	else if (len)
		memcpy(to, from, len);
}
