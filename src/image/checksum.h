/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The checksum of an image: CRC-64 with the polynomial of ECMA-182, bits reflected, as in .xz
 * files. Pure.
 */
#ifndef IVS_IMAGE_CHECKSUM_H
#define IVS_IMAGE_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

/** struct ivs_image_crc - tables that process eight bytes at a time */
struct ivs_image_crc {
	uint64_t table[8][256];
};

/** ivs_image_crc_init() - compute the tables */
void ivs_image_crc_init(struct ivs_image_crc *crc);

/**
 * ivs_image_crc_add() - the checksum of more bytes
 * @sum: the checksum of the bytes before; 0 if there are none
 */
uint64_t ivs_image_crc_add(const struct ivs_image_crc *crc, uint64_t sum, const uint8_t *in,
			   size_t len);

#endif
