/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tests of the reader and the writer of images: a region is written and read again, and each way in
 * which an image can be damaged is detected, at the right chunk.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "image/checksum.h"
#include "image/reader.h"
#include "image/writer.h"

#define CHUNK 4096u
#define SIZE (5 * CHUNK + 100) /* the last chunk is shorter */
#define CHUNKS 6
#define FILE_MAX (SIZE + 4096)
#define FIRST (IVS_IMAGE_HEADER_LEN + 10) /* offset of the first record */

/* The image of a sample region. @record_at: offset of the record of each chunk, and of the last. */
struct world {
	uint8_t region[SIZE];
	uint8_t file[FILE_MAX];
	size_t len;
	size_t record_at[CHUNKS + 1];
};

static void append(struct world *world, struct ivs_image_piece piece)
{
	cr_assert_leq(world->len + piece.len, sizeof(world->file));
	memcpy(world->file + world->len, piece.bytes, piece.len);
	world->len += piece.len;
}

/* Chunks 0 and 5 compress well, chunk 1 does not; 2 is zero, 3 has one byte, 4 is zero. */
static struct world *make_world(void)
{
	static struct world world;
	const struct ivs_image_header header = {.size = SIZE, .chunk_len = CHUNK, .saved_ms = 77};
	struct ivs_image_writer *writer = NULL;
	struct ivs_image_piece piece;
	uint32_t noise = 1;

	world.len = 0;
	memset(world.region, 0, sizeof(world.region));
	memset(world.region, 'a', CHUNK);
	for (size_t i = 0; i < CHUNK; i++) {
		noise = noise * 1664525 + 1013904223;
		world.region[CHUNK + i] = (uint8_t)(noise >> 24);
	}
	world.region[3 * CHUNK + 17] = 1;
	memset(world.region + 5 * CHUNK, 'z', 100);
	cr_assert_eq(ivs_image_writer_new(&header, "shm:sample", &writer, &piece), 0);
	append(&world, piece);
	for (uint64_t i = 0; i < CHUNKS; i++) {
		world.record_at[i] = world.len;
		append(&world, ivs_image_writer_add(writer, i, world.region + i * CHUNK));
	}
	world.record_at[CHUNKS] = world.len;
	append(&world, ivs_image_writer_end(writer));
	ivs_image_writer_free(writer);
	return &world;
}

/* The result of reading a file. @chunks_n: number of chunks before the result. */
struct result {
	int code;
	bool cut;
	size_t left;
	unsigned int chunks_n;
	uint8_t region[SIZE];
	struct ivs_error err;
};

static void take_chunk(const struct ivs_image_reader *reader, struct result *result)
{
	struct ivs_image_chunk chunk;

	if (!ivs_image_reader_chunk(reader, &chunk))
		return;
	cr_assert_leq(chunk.offset + chunk.len, sizeof(result->region));
	cr_assert_eq(chunk.offset, chunk.number * CHUNK);
	memcpy(result->region + chunk.offset, chunk.content, chunk.len);
	result->chunks_n++;
}

static struct result *read_file(const uint8_t *file, size_t len)
{
	static struct result result;
	struct ivs_image_reader *reader = NULL;
	size_t want;

	memset(&result, 0, sizeof(result));
	cr_assert_eq(ivs_image_reader_new(&reader), 0);
	while (!result.code && (want = ivs_image_reader_want(reader))) {
		/* A copy of the exact length lets a sanitizer detect reads beyond it. */
		uint8_t *piece;

		cr_assert_leq(want, IVS_IMAGE_CHUNK_MAX);
		result.cut = want > len;
		if (result.cut) {
			ivs_image_reader_cut(reader, &result.err);
			break;
		}
		piece = malloc(want);
		cr_assert(piece);
		memcpy(piece, file, want);
		result.code = ivs_image_reader_take(reader, piece, &result.err);
		free(piece);
		file += want;
		len -= want;
		if (!result.code)
			take_chunk(reader, &result);
	}
	result.left = len;
	ivs_image_reader_free(reader);
	return &result;
}

static void expect_damage(const struct world *world, const char *text)
{
	const struct result *result = read_file(world->file, world->len);

	cr_assert_eq(result->code, IVS_IMAGE_E_DAMAGED, "%s: %d", text, result->code);
	cr_assert(strstr(result->err.text, text), "\"%s\" in \"%s\"", text, result->err.text);
}

Test(image_reader, reads_what_was_written)
{
	const struct world *world = make_world();
	const struct result *result = read_file(world->file, world->len);

	cr_assert(!result->code && !result->cut && !result->left, "%s", result->err.text);
	cr_assert_eq(result->chunks_n, 4);
	cr_assert_arr_eq(result->region, world->region, SIZE);
}

Test(image_reader, what_takes_space)
{
	const struct world *world = make_world();
	const size_t *at = world->record_at;

	cr_assert_eq(at[0], FIRST);
	cr_assert_lt(at[1] - at[0], 100, "a chunk that compresses well");
	cr_assert_eq(at[2] - at[1], IVS_IMAGE_RECORD_LEN + CHUNK, "a chunk that does not");
	cr_assert_eq(world->file[at[1]], IVS_IMAGE_PLAIN);
	cr_assert_eq(at[3], at[2], "a chunk of zeroes");
	cr_assert_eq(world->len - at[CHUNKS], IVS_IMAGE_RECORD_LEN);
}

Test(image_reader, header_and_name)
{
	const struct world *world = make_world();
	struct ivs_image_reader *reader = NULL;

	cr_assert_eq(ivs_image_reader_new(&reader), 0);
	cr_assert_null(ivs_image_reader_header(reader));
	cr_assert_eq(ivs_image_reader_take(reader, world->file, NULL), 0);
	cr_assert_null(ivs_image_reader_header(reader), "its checksum includes the name");
	cr_assert_eq(ivs_image_reader_take(reader, world->file + IVS_IMAGE_HEADER_LEN, NULL), 0);
	cr_assert_eq(ivs_image_reader_header(reader)->size, SIZE);
	cr_assert_eq(ivs_image_reader_header(reader)->saved_ms, 77);
	cr_assert_str_eq(ivs_image_reader_name(reader), "shm:sample");
	ivs_image_reader_free(reader);
}

/* Every bit of the file matters. */
Test(image_reader, each_bit)
{
	struct world *world = make_world();

	for (size_t i = 0; i < world->len * 8; i += i / 8 < FIRST + 200 ? 1 : 61) {
		const struct result *result;

		world->file[i / 8] ^= (uint8_t)(1 << i % 8);
		result = read_file(world->file, world->len);
		cr_assert(result->code > 0 || result->cut, "bit %zu", i);
		world->file[i / 8] ^= (uint8_t)(1 << i % 8);
	}
}

/* A file that was cut off at any offset is reported as truncated, with that offset. */
Test(image_reader, each_length)
{
	const struct world *world = make_world();

	for (size_t len = 0; len < world->len; len++) {
		const struct result *result = read_file(world->file, len);

		cr_assert(result->cut && !result->code, "%zu bytes: %s", len, result->err.text);
		cr_assert(strstr(result->err.text, "it is truncated: it ends "));
	}
	cr_assert(strstr(read_file(world->file, 10)->err.text, "within its header"));
	cr_assert(strstr(read_file(world->file, world->record_at[1])->err.text,
			 "before chunk 2 of 6, without its last record"));
	cr_assert(strstr(read_file(world->file, world->record_at[2] - 1)->err.text,
			 "within chunk 2 of 6 (at byte 4096 of the region)"));
}

Test(image_reader, says_which_chunk)
{
	struct world *world = make_world();

	world->file[world->record_at[3] + IVS_IMAGE_RECORD_LEN] ^= 1;
	expect_damage(world, "chunk 4 of 6 (at byte 12288 of the region) is damaged: its checksum "
			     "is ");
	cr_assert_eq(read_file(world->file, world->len)->chunks_n, 2);
}

/* Move the records [from, to) of the file to its offset @at, which must not be inside them. */
static void cut_out(struct world *world, size_t from, size_t to)
{
	memmove(world->file + from, world->file + to, world->len - to);
	world->len -= to - from;
}

Test(image_reader, missing_record)
{
	struct world *world = make_world();

	cut_out(world, world->record_at[1], world->record_at[2]);
	expect_damage(world, "chunk 4 of 6");
	world = make_world();
	cut_out(world, world->record_at[5], world->record_at[6]);
	expect_damage(world, "the last record is damaged: its checksum is ");
}

Test(image_reader, repeated_record)
{
	struct world *world = make_world();
	size_t len = world->record_at[1] - world->record_at[0];

	memmove(world->file + world->record_at[1], world->file + world->record_at[0],
		world->len - world->record_at[0]);
	world->len += len;
	expect_damage(world, "the record before chunk 2 of 6 is damaged: its number cannot be 0");
}

/* A record from an image of another region, with the same number. */
Test(image_reader, record_of_another_image)
{
	static struct world other;
	struct world *world = make_world();
	struct ivs_image_header header = {.size = SIZE, .chunk_len = CHUNK, .saved_ms = 78};
	struct ivs_image_writer *writer = NULL;
	struct ivs_image_piece piece;

	cr_assert_eq(ivs_image_writer_new(&header, "shm:sample", &writer, &piece), 0);
	append(&other, piece);
	append(&other, ivs_image_writer_add(writer, 0, world->region));
	ivs_image_writer_free(writer);
	memcpy(world->file, other.file, FIRST);
	expect_damage(world, "chunk 1 of 6 (at byte 0 of the region) is damaged");
}

/* Compute the checksums of the header and of the first record again. */
static void fix_sums(struct world *world)
{
	struct ivs_image_crc crc;
	struct ivs_image_record record;
	uint8_t *at = world->file + FIRST;
	uint8_t before[8];
	uint64_t sum;

	ivs_image_crc_init(&crc);
	sum = ivs_image_crc_add(&crc, 0, world->file, IVS_IMAGE_SUM_AT);
	sum = ivs_image_crc_add(&crc, sum, world->file + IVS_IMAGE_HEADER_LEN, 10);
	ivs_put_le64(world->file + IVS_IMAGE_SUM_AT, sum);
	ivs_put_le64(before, sum);
	ivs_image_get_record(at, &record);
	sum = ivs_image_crc_add(&crc, 0, before, sizeof(before));
	sum = ivs_image_crc_add(&crc, sum, at, IVS_IMAGE_RECORD_SUM_AT);
	if (record.content_len <= CHUNK)
		sum = ivs_image_crc_add(&crc, sum, at + IVS_IMAGE_RECORD_LEN, record.content_len);
	ivs_put_le64(at + IVS_IMAGE_RECORD_SUM_AT, sum);
}

/* Set the fields of the first record, and its content, as a hostile writer could. */
static void forge(struct world *world, uint32_t kind, uint32_t len, uint64_t number,
		  const uint8_t *content)
{
	const struct ivs_image_record record = {.kind = kind, .content_len = len, .number = number};

	ivs_image_put_record(&record, world->file + FIRST);
	if (content)
		memcpy(world->file + FIRST + IVS_IMAGE_RECORD_LEN, content, len);
	fix_sums(world);
}

Test(image_reader, forged_records)
{
	static const struct {
		uint32_t kind;
		uint32_t len;
		uint64_t number;
		const char *text;
	} rows[] = {
		{0, 10, 0, "its kind cannot be 0"},
		{4, 10, 0, "its kind cannot be 4"},
		{IVS_IMAGE_ZSTD, 0, 0, "its length cannot be 0"},
		{IVS_IMAGE_ZSTD, CHUNK, 0, "its length cannot be 4096"},
		{IVS_IMAGE_ZSTD, UINT32_MAX, 0, "its length cannot be 4294967295"},
		{IVS_IMAGE_PLAIN, CHUNK - 1, 0, "its length cannot be 4095"},
		{IVS_IMAGE_PLAIN, CHUNK, 5, "its length cannot be 4096"},
		{IVS_IMAGE_ZSTD, 10, 6, "its number cannot be 6"},
		{IVS_IMAGE_ZSTD, 10, UINT64_MAX, "its number cannot be 18446744073709551615"},
		{IVS_IMAGE_END, 1, 6, "its length cannot be 1"},
		{IVS_IMAGE_END, 0, 5, "its number of chunks cannot be 5"},
		{IVS_IMAGE_ZSTD, 10, 0, "cannot be decompressed"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct world *world = make_world();

		/* The last row has bytes that are not those of zstd. */
		forge(world, rows[i].kind, rows[i].len, rows[i].number,
		      rows[i].len == 10 ? world->region : NULL);
		expect_damage(world, rows[i].text);
	}
}

/* Content that is shorter or longer than the chunk when it is decompressed. */
Test(image_reader, forged_lengths)
{
	static const uint32_t sizes[] = {CHUNK - 1, CHUNK + 1, 16 * CHUNK};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		const struct ivs_image_header header = {.size = sizes[i], .chunk_len = 16 * CHUNK};
		struct world *world = make_world();
		struct ivs_image_writer *writer = NULL;
		struct ivs_image_piece piece;
		uint8_t *content = malloc(sizes[i]);

		cr_assert(content);
		memset(content, 'x', sizes[i]);
		cr_assert_eq(ivs_image_writer_new(&header, "", &writer, &piece), 0);
		piece = ivs_image_writer_add(writer, 0, content);
		forge(world, IVS_IMAGE_ZSTD, (uint32_t)(piece.len - IVS_IMAGE_RECORD_LEN), 0,
		      piece.bytes + IVS_IMAGE_RECORD_LEN);
		expect_damage(world, sizes[i] < CHUNK ? "has 4095 bytes instead of 4096"
						      : "cannot be decompressed");
		ivs_image_writer_free(writer);
		free(content);
	}
}

Test(image_reader, nothing_after_the_end)
{
	const struct world *world = make_world();
	struct ivs_image_reader *reader = NULL;
	size_t at = 0;
	size_t want;

	cr_assert_eq(ivs_image_reader_new(&reader), 0);
	while ((want = ivs_image_reader_want(reader))) {
		cr_assert_eq(ivs_image_reader_take(reader, world->file + at, NULL), 0);
		at += want;
	}
	cr_assert_eq(ivs_image_reader_take(reader, world->file, NULL), IVS_IMAGE_E_DAMAGED);
	ivs_image_reader_free(reader);
}
