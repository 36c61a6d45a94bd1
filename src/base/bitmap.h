/* SPDX-License-Identifier: BSD-3-Clause */
/* Sets of small numbers, as bitmaps of 64-bit words. */
#ifndef IVS_BASE_BITMAP_H
#define IVS_BASE_BITMAP_H

#include <stdbool.h>
#include <stdint.h>

#define IVS_BITMAP_BITS 64

static inline bool ivs_bitmap_has(const uint64_t *map, unsigned int bit)
{
	return map[bit / IVS_BITMAP_BITS] >> (bit % IVS_BITMAP_BITS) & 1;
}

static inline void ivs_bitmap_add(uint64_t *map, unsigned int bit)
{
	map[bit / IVS_BITMAP_BITS] |= UINT64_C(1) << (bit % IVS_BITMAP_BITS);
}

static inline void ivs_bitmap_remove(uint64_t *map, unsigned int bit)
{
	map[bit / IVS_BITMAP_BITS] &= ~(UINT64_C(1) << (bit % IVS_BITMAP_BITS));
}

/**
 * ivs_bitmap_next_in() - find the first number from @from to @end - 1 in a set whose words are
 * computed
 * @word_of: called with @set and the number of a word
 *
 * Return: the number, or @end if no number qualifies.
 */
static inline unsigned int ivs_bitmap_next_in(uint64_t (*word_of)(const void *set,
								  unsigned int word),
					      const void *set, unsigned int from, unsigned int end)
{
	unsigned int bit = from;

	while (bit < end) {
		unsigned int word = bit / IVS_BITMAP_BITS;
		uint64_t left = word_of(set, word) >> (bit % IVS_BITMAP_BITS);

		if (left) {
			bit += (unsigned int)__builtin_ctzll(left);
			return bit < end ? bit : end;
		}
		bit = (word + 1) * IVS_BITMAP_BITS;
	}
	return end;
}

/**
 * ivs_bitmap_next_andnot() - find the first number from @from to @end - 1, in @in and not in @out
 * @out: NULL stands for the empty set
 *
 * Return: the number, or @end if no number qualifies.
 */
static inline unsigned int ivs_bitmap_next_andnot(const uint64_t *in, const uint64_t *out,
						  unsigned int from, unsigned int end)
{
	unsigned int bit = from;

	while (bit < end) {
		unsigned int word = bit / IVS_BITMAP_BITS;
		uint64_t left = (out ? in[word] & ~out[word] : in[word]) >> (bit % IVS_BITMAP_BITS);

		if (left) {
			bit += (unsigned int)__builtin_ctzll(left);
			return bit < end ? bit : end;
		}
		bit = (word + 1) * IVS_BITMAP_BITS;
	}
	return end;
}

#endif
