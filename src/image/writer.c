/* SPDX-License-Identifier: BSD-3-Clause */
#include "image/writer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "base/bytes.h"
#include "image/checksum.h"

#define LEVEL 1 /* regions are large, and are saved while VMs wait */

/**
 * struct ivs_image_writer - an image that is being written
 * @sum:   checksum of the last record, or of the header
 * @room:  size of @bytes: a record and a chunk, or the header and the name
 * @bytes: the current piece
 */
struct ivs_image_writer {
	struct ivs_image_crc crc;
	struct ivs_image_header header;
	ZSTD_CCtx *zstd;
	uint64_t sum;
	size_t room;
	uint8_t bytes[];
};

static struct ivs_image_piece writer_begin(struct ivs_image_writer *writer, const char *name)
{
	const struct ivs_image_piece piece = {
		writer->bytes,
		IVS_IMAGE_HEADER_LEN + writer->header.name_len,
	};
	uint8_t *sum_at = writer->bytes + IVS_IMAGE_SUM_AT;

	ivs_image_put_header(&writer->header, writer->bytes);
	memcpy(writer->bytes + IVS_IMAGE_HEADER_LEN, name, writer->header.name_len);
	writer->sum = ivs_image_crc_add(&writer->crc, 0, writer->bytes, IVS_IMAGE_SUM_AT);
	writer->sum = ivs_image_crc_add(&writer->crc, writer->sum,
					writer->bytes + IVS_IMAGE_HEADER_LEN,
					writer->header.name_len);
	ivs_put_le64(sum_at, writer->sum);
	return piece;
}

int ivs_image_writer_new(const struct ivs_image_header *header, const char *name,
			 struct ivs_image_writer **out, struct ivs_image_piece *first)
{
	size_t room = IVS_IMAGE_HEADER_LEN + IVS_IMAGE_NAME_MAX;
	struct ivs_image_writer *writer;

	if (room < IVS_IMAGE_RECORD_LEN + (size_t)header->chunk_len)
		room = IVS_IMAGE_RECORD_LEN + (size_t)header->chunk_len;
	writer = malloc(sizeof(*writer) + room);
	if (!writer)
		return -ENOMEM;
	*writer = (struct ivs_image_writer){.header = *header, .room = room};
	writer->header.name_len = (uint32_t)strnlen(name, IVS_IMAGE_NAME_MAX);
	writer->zstd = ZSTD_createCCtx();
	if (!writer->zstd ||
	    ZSTD_isError(ZSTD_CCtx_setParameter(writer->zstd, ZSTD_c_compressionLevel, LEVEL)) ||
	    ZSTD_isError(ZSTD_CCtx_setParameter(writer->zstd, ZSTD_c_checksumFlag, 1))) {
		ivs_image_writer_free(writer);
		return -ENOMEM;
	}
	ivs_image_crc_init(&writer->crc);
	*first = writer_begin(writer, name);
	*out = writer;
	return 0;
}

void ivs_image_writer_free(struct ivs_image_writer *writer)
{
	if (writer)
		ZSTD_freeCCtx(writer->zstd);
	free(writer);
}

/* Complete the record in front of the content, which is already in place. */
static struct ivs_image_piece writer_seal(struct ivs_image_writer *writer,
					  struct ivs_image_record *record)
{
	const struct ivs_image_piece piece = {
		writer->bytes,
		IVS_IMAGE_RECORD_LEN + (size_t)record->content_len,
	};
	uint8_t before[8];

	ivs_put_le64(before, writer->sum);
	ivs_image_put_record(record, writer->bytes);
	record->sum = ivs_image_crc_add(&writer->crc, 0, before, sizeof(before));
	record->sum = ivs_image_crc_add(&writer->crc, record->sum, writer->bytes,
					IVS_IMAGE_RECORD_SUM_AT);
	record->sum = ivs_image_crc_add(&writer->crc, record->sum,
					writer->bytes + IVS_IMAGE_RECORD_LEN, record->content_len);
	ivs_image_put_record(record, writer->bytes);
	writer->sum = record->sum;
	return piece;
}

struct ivs_image_piece ivs_image_writer_add(struct ivs_image_writer *writer, uint64_t number,
					    const uint8_t *content)
{
	uint8_t *stored = writer->bytes + IVS_IMAGE_RECORD_LEN;
	size_t len = ivs_image_chunk_len(&writer->header, number);
	struct ivs_image_record record = {
		.kind = IVS_IMAGE_ZSTD,
		.number = number,
	};
	size_t stored_len;

	if (ivs_image_is_zero(content, len))
		return (struct ivs_image_piece){writer->bytes, 0};
	/*
	 * The result must be shorter than the chunk: otherwise there is no room for it, and
	 * compressing fails.
	 */
	stored_len = ZSTD_compress2(writer->zstd, stored, len - 1, content, len);
	if (ZSTD_isError(stored_len)) {
		record.kind = IVS_IMAGE_PLAIN;
		stored_len = len;
		memcpy(stored, content, len);
	}
	record.content_len = (uint32_t)stored_len;
	return writer_seal(writer, &record);
}

struct ivs_image_piece ivs_image_writer_end(struct ivs_image_writer *writer)
{
	struct ivs_image_record record = {
		.kind = IVS_IMAGE_END,
		.number = ivs_image_chunks_n(&writer->header),
	};

	return writer_seal(writer, &record);
}
