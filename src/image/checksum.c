/* SPDX-License-Identifier: BSD-3-Clause */
#include "image/checksum.h"

#include "base/bytes.h"

#define POLYNOMIAL UINT64_C(0xc96c5795d7870f42)

void ivs_image_crc_init(struct ivs_image_crc *crc)
{
	for (unsigned int i = 0; i < 256; i++) {
		uint64_t sum = i;

		for (unsigned int bit = 0; bit < 8; bit++)
			sum = sum >> 1 ^ (sum & 1 ? POLYNOMIAL : 0);
		crc->table[0][i] = sum;
	}
	/* Row n has the effect of a byte that is followed by n zero bytes. */
	for (unsigned int n = 1; n < 8; n++) {
		for (unsigned int i = 0; i < 256; i++) {
			uint64_t sum = crc->table[n - 1][i];

			crc->table[n][i] = sum >> 8 ^ crc->table[0][sum & 0xff];
		}
	}
}

uint64_t ivs_image_crc_add(const struct ivs_image_crc *crc, uint64_t sum, const uint8_t *in,
			   size_t len)
{
	sum = ~sum;
	for (; len >= 8; in += 8, len -= 8) {
		uint64_t word = sum ^ ivs_get_le64(in);

		sum = 0;
		for (unsigned int i = 0; i < 8; i++)
			sum ^= crc->table[7 - i][word >> (8 * i) & 0xff];
	}
	for (; len; in++, len--)
		sum = sum >> 8 ^ crc->table[0][(sum ^ *in) & 0xff];
	return ~sum;
}
