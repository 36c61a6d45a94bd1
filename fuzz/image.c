/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fuzz target for the reader of images (image/reader.h), with a file that an untrusted user wrote.
 *
 * Input: a byte with flags, then the file. If FIX is set, all checksums are corrected, so that what
 * they protect is reached. What the reader accepts must be in order and inside the region, and must
 * be the same if it is written and read again.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "image/checksum.h"
#include "image/reader.h"
#include "image/writer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t fuzz_make_input(uint64_t seed, uint8_t *out, size_t max);

#define FIX 0x80
#define CHUNK IVS_IMAGE_CHUNK_MIN

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition))                                                                  \
			__builtin_trap();                                                          \
	} while (0)

/* Corrects the checksums of the pieces of a file, in their order. */
struct fixer {
	struct ivs_image_crc crc;
	uint64_t sum;
	uint8_t *header;
	uint8_t *record;
};

static void fix_record(struct fixer *fixer, const uint8_t *content, size_t len)
{
	uint8_t before[8];

	ivs_put_le64(before, fixer->sum);
	fixer->sum = ivs_image_crc_add(&fixer->crc, 0, before, sizeof(before));
	fixer->sum = ivs_image_crc_add(&fixer->crc, fixer->sum, fixer->record,
				       IVS_IMAGE_RECORD_SUM_AT);
	fixer->sum = ivs_image_crc_add(&fixer->crc, fixer->sum, content, len);
	ivs_put_le64(fixer->record + IVS_IMAGE_RECORD_SUM_AT, fixer->sum);
}

/* Correct the header of a file, which includes the checksum of its name. */
static void fix_header(struct fixer *fixer, uint8_t *file, size_t size)
{
	size_t name_len;

	if (size < IVS_IMAGE_HEADER_LEN)
		return;
	name_len = ivs_get_le32(file + 12);
	if (name_len > size - IVS_IMAGE_HEADER_LEN)
		name_len = size - IVS_IMAGE_HEADER_LEN;
	fixer->sum = ivs_image_crc_add(&fixer->crc, 0, file, IVS_IMAGE_SUM_AT);
	fixer->sum = ivs_image_crc_add(&fixer->crc, fixer->sum, file + IVS_IMAGE_HEADER_LEN,
				       name_len);
	ivs_put_le64(file + IVS_IMAGE_SUM_AT, fixer->sum);
}

/* Correct the record at @at, and its content as far as the file contains it. */
static void fix_next(struct fixer *fixer, uint8_t *at, size_t left)
{
	size_t len;

	if (left < IVS_IMAGE_RECORD_LEN)
		return;
	len = ivs_get_le32(at + 4);
	if (len > left - IVS_IMAGE_RECORD_LEN)
		len = left - IVS_IMAGE_RECORD_LEN;
	fixer->record = at;
	fix_record(fixer, at + IVS_IMAGE_RECORD_LEN, len);
}

/*
 * Check a chunk, and check that it has the same content after it has been written and read again.
 */
static void check_chunk(const struct ivs_image_header *header, const struct ivs_image_chunk *chunk,
			uint64_t *next)
{
	const struct ivs_image_header alone = {.size = chunk->len, .chunk_len = header->chunk_len};
	struct ivs_image_writer *writer = NULL;
	struct ivs_image_piece piece;
	uint64_t sum = 0;

	CHECK(chunk->number >= *next && chunk->number < ivs_image_chunks_n(header));
	CHECK(chunk->offset == chunk->number * header->chunk_len);
	CHECK(chunk->len && chunk->offset + chunk->len <= header->size);
	*next = chunk->number + 1;
	for (size_t i = 0; i < chunk->len; i++)
		sum += chunk->content[i]; /* a sanitizer detects bytes that are not set */
	if (chunk->len > CHUNK)
		return;
	CHECK(!ivs_image_writer_new(&alone, "", &writer, &piece));
	piece = ivs_image_writer_add(writer, 0, chunk->content);
	CHECK((piece.len == 0) == (sum == 0));
	CHECK(piece.len <= IVS_IMAGE_RECORD_LEN + chunk->len);
	ivs_image_writer_free(writer);
}

/* Read the file, as tools/ivshmem/image_file.c does. */
static void read_file(struct fixer *fixer, bool fix, uint8_t *file, size_t size)
{
	struct ivs_image_reader *reader = NULL;
	const struct ivs_image_header *header;
	struct ivs_image_chunk chunk;
	struct ivs_error err = {0};
	uint64_t next = 0;
	bool in_record = false;
	size_t at = 0;
	size_t want;
	int result = 0;

	CHECK(!ivs_image_reader_new(&reader));
	while (!result && (want = ivs_image_reader_want(reader))) {
		CHECK(want <= IVS_IMAGE_CHUNK_MAX);
		if (want > size - at) {
			ivs_image_reader_cut(reader, &err);
			CHECK(*err.text);
			break;
		}
		header = ivs_image_reader_header(reader);
		if (fix && header && !in_record)
			fix_next(fixer, file + at, size - at);
		in_record = header && !in_record;
		result = ivs_image_reader_take(reader, file + at, &err);
		CHECK(result >= 0 && (!result || *err.text));
		at += want;
		header = ivs_image_reader_header(reader);
		if (!result && ivs_image_reader_chunk(reader, &chunk))
			check_chunk(header, &chunk, &next);
	}
	CHECK(strlen(ivs_image_reader_name(reader)) <= IVS_IMAGE_NAME_MAX);
	ivs_image_reader_free(reader);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fixer fixer = {0};
	uint8_t *file;

	if (!size)
		return 0;
	file = malloc(size);
	CHECK(file);
	memcpy(file, data + 1, size - 1);
	ivs_image_crc_init(&fixer.crc);
	if (data[0] & FIX)
		fix_header(&fixer, file, size - 1);
	read_file(&fixer, data[0] & FIX, file, size - 1);
	free(file);
	return 0;
}

/* Return: a random number below @n, by splitmix64. */
static uint64_t pick(uint64_t *rng, uint64_t n)
{
	uint64_t z = (*rng += 0x9e3779b97f4a7c15u);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return (z ^ (z >> 31)) % n;
}

/* Append a piece if there is room. */
static void put_piece(struct ivs_image_piece piece, uint8_t *out, size_t max, size_t *len)
{
	if (*len + piece.len > max)
		return;
	memcpy(out + *len, piece.bytes, piece.len);
	*len += piece.len;
}

/* Write a valid image of a few chunks that compress well, often with a defect. */
size_t fuzz_make_input(uint64_t seed, uint8_t *out, size_t max)
{
	static uint8_t content[CHUNK];
	uint64_t rng = seed;
	struct ivs_image_header header = {
		.size = 1 + pick(&rng, 6 * CHUNK),
		.saved_ms = pick(&rng, IVS_IMAGE_TIME_MAX),
		.chunk_len = CHUNK,
	};
	struct ivs_image_writer *writer = NULL;
	struct ivs_image_piece piece;
	size_t len = 1;

	out[0] = pick(&rng, 4) ? FIX : 0;
	CHECK(!ivs_image_writer_new(&header, pick(&rng, 4) ? "shm:name" : "", &writer, &piece));
	put_piece(piece, out, max, &len);
	for (uint64_t i = 0; i < ivs_image_chunks_n(&header); i++) {
		memset(content, pick(&rng, 3) ? (int)pick(&rng, 256) : 0, sizeof(content));
		for (uint64_t n = pick(&rng, 100); n; n--)
			content[pick(&rng, CHUNK)] = (uint8_t)pick(&rng, 256);
		put_piece(ivs_image_writer_add(writer, i, content), out, max, &len);
	}
	put_piece(ivs_image_writer_end(writer), out, max, &len);
	ivs_image_writer_free(writer);
	for (uint64_t n = pick(&rng, 3); n; n--)
		out[1 + pick(&rng, len - 1)] = (uint8_t)pick(&rng, 256);
	if (!pick(&rng, 4))
		len = 1 + pick(&rng, len);
	return len;
}
