/* SPDX-License-Identifier: BSD-3-Clause */
/* Tests of the checksum of images, against a computation bit by bit. */
#include <criterion/criterion.h>
#include <string.h>

#include "image/checksum.h"

/* The checksum, computed one bit at a time from the definition. */
static uint64_t naive(const uint8_t *in, size_t len)
{
	uint64_t sum = ~UINT64_C(0);

	for (size_t i = 0; i < len * 8; i++) {
		uint64_t bit = in[i / 8] >> i % 8 & 1;

		sum = (sum >> 1) ^ ((sum & 1) ^ bit ? UINT64_C(0xc96c5795d7870f42) : 0);
	}
	return ~sum;
}

Test(image_checksum, published_value)
{
	struct ivs_image_crc crc;

	ivs_image_crc_init(&crc);
	cr_assert_eq(ivs_image_crc_add(&crc, 0, (const uint8_t *)"123456789", 9),
		     UINT64_C(0x995dc9bbdf1939fa));
	cr_assert_eq(ivs_image_crc_add(&crc, 0, NULL, 0), 0);
}

Test(image_checksum, lengths_and_parts)
{
	struct ivs_image_crc crc;
	uint8_t bytes[64];

	ivs_image_crc_init(&crc);
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 151 + 7);
	for (size_t len = 0; len <= sizeof(bytes); len++) {
		uint64_t whole = ivs_image_crc_add(&crc, 0, bytes, len);

		cr_assert_eq(whole, naive(bytes, len), "%zu bytes", len);
		for (size_t cut = 0; cut <= len; cut++) {
			uint64_t part = ivs_image_crc_add(&crc, 0, bytes, cut);

			part = ivs_image_crc_add(&crc, part, bytes + cut, len - cut);
			cr_assert_eq(part, whole, "%zu bytes, cut at %zu", len, cut);
		}
	}
}
