/* SPDX-License-Identifier: BSD-3-Clause */
/* Tests of the format of images (image/format.h): the exact bytes, and the checks of the header. */
#include <criterion/criterion.h>
#include <string.h>

#include "image/format.h"

static const struct ivs_image_header sample = {
	.size = UINT64_C(0x123456789000),
	.saved_ms = 0x18c2a4b5c6d,
	.roster_len = 0x2000,
	.chunk_len = 1u << 20,
	.name_len = 5,
};

Test(image_format, header_bytes)
{
	static const uint8_t expected[IVS_IMAGE_HEADER_LEN] = {
		'I',  'V',  'S',  'S',	'A',  'V',  'E', 'D', 1, 0,    0,    0, 5, 0, 0, 0,
		0x00, 0x90, 0x78, 0x56, 0x34, 0x12, 0,	 0,   0, 0,    0x10, 0, 0, 0, 0, 0,
		0x6d, 0x5c, 0x4b, 0x2a, 0x8c, 0x01, 0,	 0,   0, 0x20, 0,    0, 0, 0, 0, 0,
	};
	uint8_t bytes[IVS_IMAGE_HEADER_LEN];
	struct ivs_image_header again;

	memset(bytes, 0xff, sizeof(bytes));
	ivs_image_put_header(&sample, bytes);
	cr_assert_arr_eq(bytes, expected, sizeof(bytes));
	cr_assert_eq(ivs_image_get_header(bytes, &again, NULL), 0);
	cr_assert_eq(memcmp(&again, &sample, sizeof(again)), 0);
}

Test(image_format, record_bytes)
{
	static const uint8_t expected[IVS_IMAGE_RECORD_LEN] = {
		1, 0, 0, 0, 4,	  3,	2,    0,    9,	  8,	7,    6,
		5, 0, 0, 0, 0xef, 0xcd, 0xab, 0x89, 0x67, 0x45, 0x23, 0x01,
	};
	const struct ivs_image_record record = {
		.kind = IVS_IMAGE_ZSTD,
		.content_len = 0x20304,
		.number = UINT64_C(0x506070809),
		.sum = UINT64_C(0x0123456789abcdef),
	};
	uint8_t bytes[IVS_IMAGE_RECORD_LEN];
	struct ivs_image_record again;

	ivs_image_put_record(&record, bytes);
	cr_assert_arr_eq(bytes, expected, sizeof(bytes));
	ivs_image_get_record(bytes, &again);
	cr_assert_eq(again.kind, record.kind);
	cr_assert_eq(again.content_len, record.content_len);
	cr_assert_eq(again.number, record.number);
	cr_assert_eq(again.sum, record.sum);
}

/* Check the result of parsing a header, and what the message contains. */
static void expect(const struct ivs_image_header *header, int result, const char *text)
{
	uint8_t bytes[IVS_IMAGE_HEADER_LEN];
	struct ivs_image_header out;
	struct ivs_error err = {0};

	ivs_image_put_header(header, bytes);
	cr_assert_eq(ivs_image_get_header(bytes, &out, &err), result, "%s", text);
	cr_assert(!result || strstr(err.text, text), "\"%s\" in \"%s\"", text, err.text);
}

Test(image_format, limits)
{
	const struct {
		struct ivs_image_header header;
		int result;
		const char *text;
	} rows[] = {
		{{.size = 1, .chunk_len = 4096}, 0, ""},
		{{.size = IVS_IMAGE_SIZE_MAX, .chunk_len = 16u << 20}, 0, ""},
		{{.size = 0, .chunk_len = 4096}, IVS_IMAGE_E_DAMAGED, "the size of the region"},
		{{.size = IVS_IMAGE_SIZE_MAX + 1, .chunk_len = 4096},
		 IVS_IMAGE_E_DAMAGED,
		 "the size of the region cannot be 4611686018427387905"},
		{{.size = 1, .chunk_len = 0}, IVS_IMAGE_E_DAMAGED, "a chunk cannot be 0"},
		{{.size = 1, .chunk_len = 2048}, IVS_IMAGE_E_DAMAGED, "a chunk cannot be 2048"},
		{{.size = 1, .chunk_len = 5000}, IVS_IMAGE_E_DAMAGED, "a chunk cannot be 5000"},
		{{.size = 1, .chunk_len = 32u << 20}, IVS_IMAGE_E_DAMAGED, "33554432"},
		{{.size = 1, .chunk_len = 4096, .name_len = IVS_IMAGE_NAME_MAX}, 0, ""},
		{{.size = 1, .chunk_len = 4096, .name_len = IVS_IMAGE_NAME_MAX + 1},
		 IVS_IMAGE_E_DAMAGED,
		 "the length of the name cannot be 4353"},
		{{.size = 8192, .chunk_len = 4096, .roster_len = 4096}, 0, ""},
		{{.size = 8192, .chunk_len = 4096, .roster_len = 4097},
		 IVS_IMAGE_E_DAMAGED,
		 "the length of the roster"},
		{{.size = 1, .chunk_len = 4096, .saved_ms = IVS_IMAGE_TIME_MAX}, 0, ""},
		{{.size = 1, .chunk_len = 4096, .saved_ms = IVS_IMAGE_TIME_MAX + 1},
		 IVS_IMAGE_E_DAMAGED,
		 "the time"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		expect(&rows[i].header, rows[i].result, rows[i].text);
}

Test(image_format, other_files)
{
	uint8_t bytes[IVS_IMAGE_HEADER_LEN];
	struct ivs_image_header out;
	struct ivs_error err = {0};

	ivs_image_put_header(&sample, bytes);
	bytes[0] = 'i';
	cr_assert_eq(ivs_image_get_header(bytes, &out, &err), IVS_IMAGE_E_FOREIGN);
	cr_assert(strstr(err.text, "not written by \"ivshmem save\""));
	/* The version is checked first, because later versions may change the other fields. */
	memset(bytes, 0xff, sizeof(bytes));
	memcpy(bytes, IVS_IMAGE_MAGIC "\2\0\0", 12);
	cr_assert_eq(ivs_image_get_header(bytes, &out, &err), IVS_IMAGE_E_VERSION);
	cr_assert(strstr(err.text, "version 2, but this program reads only version 1"));
}

Test(image_format, chunks)
{
	const struct ivs_image_header header = {.size = 10000, .chunk_len = 4096};

	cr_assert_eq(ivs_image_chunks_n(&header), 3);
	cr_assert_eq(ivs_image_chunk_len(&header, 0), 4096);
	cr_assert_eq(ivs_image_chunk_len(&header, 2), 10000 - 8192);
}

Test(image_format, zeroes)
{
	uint8_t bytes[100] = {0};

	cr_assert(ivs_image_is_zero(bytes, 0));
	cr_assert(ivs_image_is_zero(bytes, sizeof(bytes)));
	for (size_t i = 0; i < sizeof(bytes); i++) {
		bytes[i] = 1;
		cr_assert(!ivs_image_is_zero(bytes, sizeof(bytes)), "byte %zu", i);
		cr_assert(ivs_image_is_zero(bytes, i));
		bytes[i] = 0;
	}
}
