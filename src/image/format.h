/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The format of an image, a file with the content of a region: converting its bytes to numbers and
 * back. All numbers are little-endian.
 *
 * An image is a header, the name of the region, and records. The header has 64 bytes:
 *
 *   0   8  the letters IVSSAVED
 *   8   4  version: 1
 *   12  4  length of the name
 *   16  8  size of the region
 *   24  4  length of a chunk: a power of two from 4096 to 16777216. The last chunk of the region
 *          may be shorter
 *   28  4  0
 *   32  8  when the region was saved: ms since 1970
 *   40  8  length of the server's roster at the end of the region, which is saved as zeroes
 *   48  8  0
 *   56  8  checksum of the header before this field, and of the name
 *
 * A record has 24 bytes, followed by the content of the chunk:
 *
 *   0   4  kind: 1 compressed with zstd, 2 not compressed, 3 the last record, which has no content
 *   4   4  number of bytes that follow; for kind 1, less than the length of the chunk
 *   8   8  number of the chunk, from 0; for the last record, the number of chunks of the region
 *   16  8  checksum of the previous checksum, of the record before this field, and of the content
 *
 * Chunks are in order, and a chunk without a record is full of zeroes. As each checksum includes
 * the previous one, a record that is missing, repeated or from another image is detected. Nothing
 * follows the last record. Pure.
 */
#ifndef IVS_IMAGE_FORMAT_H
#define IVS_IMAGE_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ivshmem/api.h"

#define IVS_IMAGE_MAGIC "IVSSAVED"
#define IVS_IMAGE_VERSION 1
#define IVS_IMAGE_HEADER_LEN 64u
#define IVS_IMAGE_RECORD_LEN 24u
#define IVS_IMAGE_SUM_AT 56u	    /* offset of the checksum in the header */
#define IVS_IMAGE_RECORD_SUM_AT 16u /* offset of the checksum in a record */
#define IVS_IMAGE_NAME_MAX 4352u
#define IVS_IMAGE_CHUNK_MIN 4096u
#define IVS_IMAGE_CHUNK_MAX (16u << 20)
#define IVS_IMAGE_CHUNK_DEFAULT (1u << 20)
#define IVS_IMAGE_SIZE_MAX (UINT64_C(1) << 62)
#define IVS_IMAGE_TIME_MAX UINT64_C(253402300799999) /* the last ms of the year 9999 */

enum ivs_image_error {
	IVS_IMAGE_E_FOREIGN = 1, /* the file is not an image */
	IVS_IMAGE_E_VERSION,	 /* the image has a version that this program does not know */
	IVS_IMAGE_E_DAMAGED,	 /* a field is invalid, or a checksum is wrong */
};

enum ivs_image_kind {
	IVS_IMAGE_ZSTD = 1,
	IVS_IMAGE_PLAIN = 2,
	IVS_IMAGE_END = 3,
};

/**
 * struct ivs_image_header - what the header says
 * @size:       size of the region in bytes
 * @saved_ms:   when it was saved, in ms since 1970
 * @roster_len: length of the server's roster at the end of the region
 * @chunk_len:  length of a chunk
 * @name_len:   length of the name
 */
struct ivs_image_header {
	uint64_t size;
	uint64_t saved_ms;
	uint64_t roster_len;
	uint32_t chunk_len;
	uint32_t name_len;
};

/** struct ivs_image_record - what a record says; see the top of this file */
struct ivs_image_record {
	uint32_t kind;
	uint32_t content_len;
	uint64_t number;
	uint64_t sum;
};

/** ivs_image_put_header() - write the bytes of a header, except its checksum */
void ivs_image_put_header(const struct ivs_image_header *header, uint8_t out[IVS_IMAGE_HEADER_LEN]);

/**
 * ivs_image_get_header() - parse a header, and check all fields except its checksum
 *
 * Return: 0, IVS_IMAGE_E_*.
 */
IVS_MUST_USE int ivs_image_get_header(const uint8_t in[IVS_IMAGE_HEADER_LEN],
				      struct ivs_image_header *out, struct ivs_error *err);

/** ivs_image_put_record() - write the bytes of a record, with its checksum */
void ivs_image_put_record(const struct ivs_image_record *record, uint8_t out[IVS_IMAGE_RECORD_LEN]);

/** ivs_image_get_record() - parse a record. Nothing is checked. */
void ivs_image_get_record(const uint8_t in[IVS_IMAGE_RECORD_LEN], struct ivs_image_record *out);

/** ivs_image_chunks_n() - the number of chunks of the region */
static inline uint64_t ivs_image_chunks_n(const struct ivs_image_header *header)
{
	return header->size / header->chunk_len + (header->size % header->chunk_len != 0);
}

/** ivs_image_chunk_len() - the length of chunk @number, which must exist */
static inline size_t ivs_image_chunk_len(const struct ivs_image_header *header, uint64_t number)
{
	uint64_t left = header->size - number * header->chunk_len;

	return left < header->chunk_len ? (size_t)left : header->chunk_len;
}

/** ivs_image_is_zero() - whether all bytes are zero */
bool ivs_image_is_zero(const uint8_t *bytes, size_t len);

#endif
