/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Parsing an image (image/format.h) piece by piece. The file is untrusted. The reader says how many
 * bytes the next piece has, and the caller passes exactly these. Pure.
 */
#ifndef IVS_IMAGE_READER_H
#define IVS_IMAGE_READER_H

#include "image/format.h"

struct ivs_image_reader;

/**
 * struct ivs_image_chunk - a chunk that has been read
 * @offset:  its offset in the region
 * @content: @len bytes, which belong to the reader and are valid until its next call
 */
struct ivs_image_chunk {
	uint64_t number;
	uint64_t offset;
	const uint8_t *content;
	size_t len;
};

/** ivs_image_reader_new() - create a reader for one image. Return: 0 or -ENOMEM. */
IVS_MUST_USE int ivs_image_reader_new(struct ivs_image_reader **out);

void ivs_image_reader_free(struct ivs_image_reader *reader);

/**
 * ivs_image_reader_want() - the length of the next piece, at most IVS_IMAGE_CHUNK_MAX
 *
 * Return: 0 after the last piece; the file must end there.
 */
size_t ivs_image_reader_want(const struct ivs_image_reader *reader);

/**
 * ivs_image_reader_take() - parse the next piece; after an error, only _free() may be called
 * @piece: as many bytes as ivs_image_reader_want() says
 *
 * Return: 0, IVS_IMAGE_E_*, -ENOMEM.
 */
IVS_MUST_USE int ivs_image_reader_take(struct ivs_image_reader *reader, const uint8_t *piece,
				       struct ivs_error *err);

/**
 * ivs_image_reader_cut() - set @err to say that the file ended within the piece that is wanted next
 */
void ivs_image_reader_cut(const struct ivs_image_reader *reader, struct ivs_error *err);

/** ivs_image_reader_header() - the header; NULL until it and the name have been read and checked */
const struct ivs_image_header *ivs_image_reader_header(const struct ivs_image_reader *reader);

/** ivs_image_reader_name() - the name of the region, up to its first NUL; any bytes */
const char *ivs_image_reader_name(const struct ivs_image_reader *reader);

/**
 * ivs_image_reader_chunk() - get the chunk that the last piece completed. Return: whether it
 * completed one.
 */
IVS_MUST_USE bool ivs_image_reader_chunk(const struct ivs_image_reader *reader,
					 struct ivs_image_chunk *out);

/** ivs_image_reader_sum() - the checksum of everything that has been read and checked so far */
uint64_t ivs_image_reader_sum(const struct ivs_image_reader *reader);

#endif
