/* SPDX-License-Identifier: BSD-3-Clause */
/* Composing an image (image/format.h) piece by piece. Pure. */
#ifndef IVS_IMAGE_WRITER_H
#define IVS_IMAGE_WRITER_H

#include "image/format.h"

struct ivs_image_writer;

/**
 * struct ivs_image_piece - bytes to be appended to the file
 *
 * They belong to the writer, and are valid until its next call.
 */
struct ivs_image_piece {
	const uint8_t *bytes;
	size_t len;
};

/**
 * ivs_image_writer_new() - create a writer
 * @header: its name_len is ignored
 * @name:   name of the region, truncated to IVS_IMAGE_NAME_MAX bytes
 * @first:  set to the bytes with which the file begins
 *
 * Return: 0 or -ENOMEM.
 */
IVS_MUST_USE int ivs_image_writer_new(const struct ivs_image_header *header, const char *name,
				      struct ivs_image_writer **out, struct ivs_image_piece *first);

void ivs_image_writer_free(struct ivs_image_writer *writer);

/**
 * ivs_image_writer_add() - add a chunk; numbers must be ascending
 * @content: the bytes of the chunk, of ivs_image_chunk_len()
 *
 * Return: the bytes; none if the chunk is full of zeroes.
 */
struct ivs_image_piece ivs_image_writer_add(struct ivs_image_writer *writer, uint64_t number,
					    const uint8_t *content);

/** ivs_image_writer_end() - return the last bytes of the file */
struct ivs_image_piece ivs_image_writer_end(struct ivs_image_writer *writer);

#endif
