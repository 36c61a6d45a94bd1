/* SPDX-License-Identifier: BSD-3-Clause */
#include "image/reader.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "base/bytes.h"
#include "base/error.h"
#include "image/checksum.h"

/* What the next piece is. */
enum step {
	STEP_HEADER,
	STEP_NAME,
	STEP_RECORD,
	STEP_CONTENT,
	STEP_END, /* nothing */
};

/**
 * struct ivs_image_reader - an image that is being read
 * @sum:      checksum of the last record, or of the header
 * @expected: the checksum in the header
 * @next:     the lowest number that the next chunk may have
 * @content:  the last chunk; NULL before the header has been checked
 * @complete: the last piece completed the chunk in @record
 */
struct ivs_image_reader {
	struct ivs_image_crc crc;
	ZSTD_DCtx *zstd;
	enum step step;
	struct ivs_image_header header;
	char name[IVS_IMAGE_NAME_MAX + 1];
	struct ivs_image_record record;
	uint8_t record_bytes[IVS_IMAGE_RECORD_LEN];
	uint64_t sum;
	uint64_t expected;
	uint64_t next;
	uint8_t *content;
	bool complete;
};

int ivs_image_reader_new(struct ivs_image_reader **out)
{
	struct ivs_image_reader *reader = calloc(1, sizeof(*reader));

	if (!reader)
		return -ENOMEM;
	reader->zstd = ZSTD_createDCtx();
	if (!reader->zstd) {
		free(reader);
		return -ENOMEM;
	}
	ivs_image_crc_init(&reader->crc);
	*out = reader;
	return 0;
}

void ivs_image_reader_free(struct ivs_image_reader *reader)
{
	if (!reader)
		return;
	ZSTD_freeDCtx(reader->zstd);
	free(reader->content);
	free(reader);
}

size_t ivs_image_reader_want(const struct ivs_image_reader *reader)
{
	switch (reader->step) {
	case STEP_HEADER:
		return IVS_IMAGE_HEADER_LEN;
	case STEP_NAME:
		return reader->header.name_len;
	case STEP_RECORD:
		return IVS_IMAGE_RECORD_LEN;
	case STEP_CONTENT:
		return reader->record.content_len;
	case STEP_END:
		break;
	}
	return 0;
}

/* Begin a message about the chunk in the record. Chunks are counted from 1 for people. */
#define CHUNK_FORMAT "chunk %" PRIu64 " of %" PRIu64 " (at byte %" PRIu64 " of the region)"
#define CHUNK_ARGS(reader)                                                                         \
	(reader)->record.number + 1, ivs_image_chunks_n(&(reader)->header),                        \
		(reader)->record.number *(reader)->header.chunk_len

void ivs_image_reader_cut(const struct ivs_image_reader *reader, struct ivs_error *err)
{
	if (reader->step == STEP_HEADER || reader->step == STEP_NAME)
		ivs_error_set(err, 0, "it is truncated: it ends within its header");
	else if (reader->step == STEP_CONTENT)
		ivs_error_set(err, 0, "it is truncated: it ends within " CHUNK_FORMAT,
			      CHUNK_ARGS(reader));
	else if (reader->next == ivs_image_chunks_n(&reader->header))
		ivs_error_set(err, 0, "it is truncated: it ends without its last record");
	else
		ivs_error_set(err, 0,
			      "it is truncated: it ends before chunk %" PRIu64 " of %" PRIu64
			      ", without its last record",
			      reader->next + 1, ivs_image_chunks_n(&reader->header));
}

/* The header and the name have been read. */
static int take_whole_header(struct ivs_image_reader *reader, struct ivs_error *err)
{
	size_t len = reader->header.chunk_len;

	if (reader->sum != reader->expected)
		return ivs_error_set(err, IVS_IMAGE_E_DAMAGED,
				     "the header is damaged: its checksum is %016" PRIx64
				     ", not %016" PRIx64,
				     reader->sum, reader->expected);
	if (reader->header.size < len)
		len = (size_t)reader->header.size;
	reader->content = malloc(len);
	if (!reader->content)
		return ivs_error_set(err, -ENOMEM, "out of memory");
	reader->step = STEP_RECORD;
	return 0;
}

static int take_header(struct ivs_image_reader *reader, const uint8_t *piece, struct ivs_error *err)
{
	int result = ivs_image_get_header(piece, &reader->header, err);

	if (result)
		return result;
	reader->sum = ivs_image_crc_add(&reader->crc, 0, piece, IVS_IMAGE_SUM_AT);
	reader->expected = ivs_get_le64(piece + IVS_IMAGE_SUM_AT);
	reader->step = STEP_NAME;
	return reader->header.name_len ? 0 : take_whole_header(reader, err);
}

static int take_name(struct ivs_image_reader *reader, const uint8_t *piece, struct ivs_error *err)
{
	memcpy(reader->name, piece, reader->header.name_len);
	reader->sum = ivs_image_crc_add(&reader->crc, reader->sum, piece, reader->header.name_len);
	return take_whole_header(reader, err);
}

static int record_invalid(const char *field, uint64_t value, const struct ivs_image_reader *reader,
			  struct ivs_error *err)
{
	return ivs_error_set(err, IVS_IMAGE_E_DAMAGED,
			     "the record before chunk %" PRIu64 " of %" PRIu64
			     " is damaged: its %s cannot be %" PRIu64,
			     reader->next + 1, ivs_image_chunks_n(&reader->header), field, value);
}

static int record_check(const struct ivs_image_reader *reader, struct ivs_error *err)
{
	const struct ivs_image_record *record = &reader->record;
	uint64_t chunks_n = ivs_image_chunks_n(&reader->header);
	size_t len;

	if (record->kind == IVS_IMAGE_END) {
		if (record->number != chunks_n)
			return record_invalid("number of chunks", record->number, reader, err);
		return record->content_len
			       ? record_invalid("length", record->content_len, reader, err)
			       : 0;
	}
	if (record->kind != IVS_IMAGE_ZSTD && record->kind != IVS_IMAGE_PLAIN)
		return record_invalid("kind", record->kind, reader, err);
	if (record->number < reader->next || record->number >= chunks_n)
		return record_invalid("number", record->number, reader, err);
	len = ivs_image_chunk_len(&reader->header, record->number);
	if (record->kind == IVS_IMAGE_PLAIN ? record->content_len != len
					    : !record->content_len || record->content_len >= len)
		return record_invalid("length", record->content_len, reader, err);
	return 0;
}

/* Compute the checksum of the record, and compare it with the one in the record. */
static int record_check_sum(struct ivs_image_reader *reader, const uint8_t *content,
			    struct ivs_error *err)
{
	uint8_t before[8];
	uint64_t sum;

	ivs_put_le64(before, reader->sum);
	sum = ivs_image_crc_add(&reader->crc, 0, before, sizeof(before));
	sum = ivs_image_crc_add(&reader->crc, sum, reader->record_bytes, IVS_IMAGE_RECORD_SUM_AT);
	if (content)
		sum = ivs_image_crc_add(&reader->crc, sum, content, reader->record.content_len);
	reader->sum = reader->record.sum;
	if (sum == reader->record.sum)
		return 0;
	if (!content)
		return ivs_error_set(err, IVS_IMAGE_E_DAMAGED,
				     "the last record is damaged: its checksum is %016" PRIx64
				     ", not %016" PRIx64,
				     sum, reader->record.sum);
	return ivs_error_set(err, IVS_IMAGE_E_DAMAGED,
			     CHUNK_FORMAT " is damaged: its checksum is %016" PRIx64
					  ", not %016" PRIx64,
			     CHUNK_ARGS(reader), sum, reader->record.sum);
}

static int take_record(struct ivs_image_reader *reader, const uint8_t *piece, struct ivs_error *err)
{
	int result;

	memcpy(reader->record_bytes, piece, IVS_IMAGE_RECORD_LEN);
	ivs_image_get_record(piece, &reader->record);
	result = record_check(reader, err);
	if (result)
		return result;
	if (reader->record.kind != IVS_IMAGE_END) {
		reader->step = STEP_CONTENT;
		return 0;
	}
	reader->step = STEP_END;
	return record_check_sum(reader, NULL, err);
}

static int take_content(struct ivs_image_reader *reader, const uint8_t *piece,
			struct ivs_error *err)
{
	size_t len = ivs_image_chunk_len(&reader->header, reader->record.number);
	size_t found = len;
	int result = record_check_sum(reader, piece, err);

	if (result)
		return result;
	if (reader->record.kind == IVS_IMAGE_PLAIN)
		memcpy(reader->content, piece, len);
	else
		found = ZSTD_decompressDCtx(reader->zstd, reader->content, len, piece,
					    reader->record.content_len);
	if (ZSTD_isError(found))
		return ivs_error_set(err, IVS_IMAGE_E_DAMAGED,
				     CHUNK_FORMAT " cannot be decompressed: %s", CHUNK_ARGS(reader),
				     ZSTD_getErrorName(found));
	if (found != len)
		return ivs_error_set(err, IVS_IMAGE_E_DAMAGED,
				     CHUNK_FORMAT " has %zu bytes instead of %zu",
				     CHUNK_ARGS(reader), found, len);
	reader->next = reader->record.number + 1;
	reader->complete = true;
	reader->step = STEP_RECORD;
	return 0;
}

int ivs_image_reader_take(struct ivs_image_reader *reader, const uint8_t *piece,
			  struct ivs_error *err)
{
	reader->complete = false;
	switch (reader->step) {
	case STEP_HEADER:
		return take_header(reader, piece, err);
	case STEP_NAME:
		return take_name(reader, piece, err);
	case STEP_RECORD:
		return take_record(reader, piece, err);
	case STEP_CONTENT:
		return take_content(reader, piece, err);
	case STEP_END:
		break;
	}
	return ivs_error_set(err, IVS_IMAGE_E_DAMAGED, "bytes follow its last record");
}

const struct ivs_image_header *ivs_image_reader_header(const struct ivs_image_reader *reader)
{
	return reader->content ? &reader->header : NULL;
}

const char *ivs_image_reader_name(const struct ivs_image_reader *reader)
{
	return reader->name;
}

bool ivs_image_reader_chunk(const struct ivs_image_reader *reader, struct ivs_image_chunk *out)
{
	if (!reader->complete)
		return false;
	*out = (struct ivs_image_chunk){
		.number = reader->record.number,
		.offset = reader->record.number * reader->header.chunk_len,
		.content = reader->content,
		.len = ivs_image_chunk_len(&reader->header, reader->record.number),
	};
	return true;
}

uint64_t ivs_image_reader_sum(const struct ivs_image_reader *reader)
{
	return reader->sum;
}
