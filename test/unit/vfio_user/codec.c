/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tests of the codec (vfio_user/codec.h) and of the checksum of the migration stream
 * (vfio_user/stream.h).
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "vfio_user/codec.h"
#include "vfio_user/stream.h"

/* Encode without base/bytes.h, which the codec uses. */
static void put_number(uint8_t *out, size_t len, uint64_t value)
{
	for (size_t i = 0; i < len; i++)
		out[i] = (uint8_t)(value >> (8 * i));
}

Test(vfio_user_codec, numbers)
{
	uint8_t bytes[9] = {0};

	put_number(bytes + 1, 8, UINT64_C(0x8877665544332291));
	cr_assert_eq(ivs_get_le16(bytes + 1), 0x2291);
	cr_assert_eq(ivs_get_le32(bytes + 1), 0x44332291);
	cr_assert_eq(ivs_get_le64(bytes + 1), UINT64_C(0x8877665544332291));
	memset(bytes, 0xff, sizeof(bytes));
	cr_assert_eq(ivs_get_le16(bytes), UINT16_MAX);
	cr_assert_eq(ivs_get_le32(bytes), UINT32_MAX);
	cr_assert_eq(ivs_get_le64(bytes), UINT64_MAX);
	ivs_put_le16(bytes + 1, 0x1234);
	cr_assert_arr_eq(bytes, ((uint8_t[]){0xff, 0x34, 0x12, 0xff}), 4);
	ivs_put_le32(bytes + 1, 0x12345678);
	cr_assert_arr_eq(bytes, ((uint8_t[]){0xff, 0x78, 0x56, 0x34, 0x12, 0xff}), 6);
	ivs_put_le64(bytes + 1, UINT64_C(0x8877665544332211));
	cr_assert_arr_eq(bytes, ((uint8_t[]){0xff, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88}),
			 9);
}

static int get_header(uint32_t size, uint32_t flags, struct ivs_vfu_header *out)
{
	uint8_t bytes[IVS_VFU_HEADER_LEN];
	struct ivs_error err = {0};
	int result;

	put_number(bytes, 2, 0x1234);
	put_number(bytes + 2, 2, 0x5678);
	put_number(bytes + 4, 4, size);
	put_number(bytes + 8, 4, flags);
	put_number(bytes + 12, 4, 0x9abcdef0);
	result = ivs_vfu_get_header(bytes, out, &err);
	cr_assert_eq(!result, !*err.text, "there is a reason if and only if it is refused");
	return result;
}

Test(vfio_user_codec, header)
{
	struct ivs_vfu_header header;

	cr_assert_eq(get_header(0x1000, 0x10, &header), 0);
	cr_assert_eq(header.id, 0x1234);
	cr_assert_eq(header.command, 0x5678);
	cr_assert_eq(header.size, 0x1000);
	cr_assert_eq(header.flags, 0x10);
	cr_assert_eq(header.error, 0x9abcdef0);
}

Test(vfio_user_codec, header_sizes)
{
	static const struct {
		uint32_t size;
		int result;
	} rows[] = {
		{0, IVS_VFU_E_FRAMING},
		{1, IVS_VFU_E_FRAMING},
		{15, IVS_VFU_E_FRAMING},
		{16, 0},
		{17, 0},
		{16 + 16 + (1 << 20), 0},
		{16 + 17 + (1 << 20), IVS_VFU_E_FRAMING},
		{0x80000000, IVS_VFU_E_FRAMING},
		{UINT32_MAX, IVS_VFU_E_FRAMING},
	};
	struct ivs_vfu_header header;

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		cr_expect_eq(get_header(rows[i].size, 0, &header), rows[i].result, "%u",
			     rows[i].size);
}

Test(vfio_user_codec, header_types)
{
	struct ivs_vfu_header header;

	for (uint32_t type = 0; type < 16; type++) {
		cr_expect_eq(get_header(16, type, &header), type ? IVS_VFU_E_FRAMING : 0);
		cr_expect_eq(get_header(16, 0x30 | type, &header), type ? IVS_VFU_E_FRAMING : 0);
	}
}

Test(vfio_user_codec, replies)
{
	const struct ivs_vfu_header request = {0x1234, 8, 36, 0x10, 99};
	uint8_t bytes[IVS_VFU_HEADER_LEN], expected[IVS_VFU_HEADER_LEN];

	put_number(expected, 2, 0x1234);
	put_number(expected + 2, 2, 8);
	put_number(expected + 4, 4, 16 + 5);
	put_number(expected + 8, 4, 1);
	put_number(expected + 12, 4, 0);
	ivs_vfu_put_reply(&request, 5, 0, bytes);
	cr_assert_arr_eq(bytes, expected, sizeof(bytes));
	put_number(expected + 4, 4, 16);
	put_number(expected + 8, 4, 0x21);
	put_number(expected + 12, 4, EINVAL);
	ivs_vfu_put_reply(&request, 0, EINVAL, bytes);
	cr_assert_arr_eq(bytes, expected, sizeof(bytes));
}

Test(vfio_user_codec, access_and_set_irqs)
{
	uint8_t bytes[20];
	struct ivs_vfu_access access;
	struct ivs_vfu_set_irqs set;

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i + 1);
	access = ivs_vfu_get_access(bytes);
	cr_assert_eq(access.offset, UINT64_C(0x0807060504030201));
	cr_assert_eq(access.region, 0x0c0b0a09);
	cr_assert_eq(access.count, 0x100f0e0d);
	set = ivs_vfu_get_set_irqs(bytes);
	cr_assert_eq(set.argsz, 0x04030201);
	cr_assert_eq(set.flags, 0x08070605);
	cr_assert_eq(set.index, 0x0c0b0a09);
	cr_assert_eq(set.start, 0x100f0e0d);
	cr_assert_eq(set.count, 0x14131211);
}

static bool check_set(uint32_t flags, uint32_t start, uint32_t count, size_t body_len,
		      unsigned int fds_n)
{
	const struct ivs_vfu_set_irqs set = {20, flags, 2, start, count};

	return ivs_vfu_check_set_irqs(&set, body_len, fds_n, 8);
}

Test(vfio_user_codec, set_irqs_flags)
{
	/* Valid flags have exactly one of the lower three bits and one of the upper three. */
	for (uint32_t flags = 0; flags < 128; flags++) {
		bool good = __builtin_popcount(flags & 7) == 1 &&
			    __builtin_popcount(flags & 0x38) == 1 && flags < 64;

		cr_expect_eq(check_set(flags, 0, 1, 21, 1), good, "0x%x", flags);
	}
	cr_expect(!check_set(0x80000021, 0, 1, 20, 0));
}

Test(vfio_user_codec, set_irqs_ranges)
{
	static const uint32_t edges[] = {0,	     1,		 7,	     8,		9,
					 0x7fffffff, 0x80000000, 0xfffffff8, UINT32_MAX};
	const size_t n = sizeof(edges) / sizeof(*edges);

	for (size_t i = 0; i < n * n; i++) {
		uint64_t start = edges[i / n], count = edges[i % n];
		bool good = count && start + count <= 8;

		cr_expect_eq(check_set(0x21, (uint32_t)start, (uint32_t)count, 20, 0), good,
			     "%lu %lu", start, count);
	}
}

Test(vfio_user_codec, set_irqs_data)
{
	cr_expect(check_set(0x22, 0, 3, 23, 0));
	cr_expect(check_set(0x22, 0, 3, 24, 0));
	cr_expect(!check_set(0x22, 0, 3, 22, 0));
	cr_expect(!check_set(0x22, 0, 1, 20, 0));
	cr_expect(check_set(0x24, 0, 3, 20, 0));
	cr_expect(!check_set(0x24, 0, 3, 20, 1));
	cr_expect(!check_set(0x24, 0, 3, 20, 2));
	cr_expect(check_set(0x24, 0, 3, 20, 3));
	cr_expect(check_set(0x24, 0, 3, 20, 4));
	cr_expect(check_set(0x21, 0, 3, 20, 2));
}

Test(vfio_user_codec, disables_all)
{
	cr_expect(ivs_vfu_disables_all(&(struct ivs_vfu_set_irqs){20, 0x21, 2, 0, 0}));
	cr_expect(!ivs_vfu_disables_all(&(struct ivs_vfu_set_irqs){20, 0x21, 2, 0, 1}));
	cr_expect(!ivs_vfu_disables_all(&(struct ivs_vfu_set_irqs){20, 0x21, 2, 1, 0}));
	cr_expect(!ivs_vfu_disables_all(&(struct ivs_vfu_set_irqs){20, 0x24, 2, 0, 0}));
	cr_expect(!ivs_vfu_disables_all(&(struct ivs_vfu_set_irqs){20, 0x11, 2, 0, 0}));
}

static const struct {
	const char *json; /* if NULL, there is no JSON and no terminating NUL */
	uint16_t major;
	bool good;
	uint64_t fds_max;
} versions[] = {
	{NULL, 0, true, 1},
	{NULL, 1, false, 1},
	{"{}", 0, true, 1},
	{"{}", 1, false, 1},
	{" {\"capabilities\" : {} } ", 0, true, 1},
	{"{\"capabilities\":{\"max_msg_fds\":8}}", 0, true, 8},
	{"{\"capabilities\":{\"max_msg_fds\":0}}", 0, true, 0},
	{"{\"capabilities\":{\"max_msg_fds\":9223372036854775807}}", 0, true, INT64_MAX},
	{"{\"capabilities\":{\"max_msg_fds\":9223372036854775808}}", 0, false, 1},
	{"{\"capabilities\":{\"max_msg_fds\":-1}}", 0, false, 1},
	{"{\"capabilities\":{\"max_msg_fds\":1.5}}", 0, false, 1},
	{"{\"capabilities\":{\"max_msg_fds\":\"8\"}}", 0, false, 1},
	{"{\"capabilities\":{\"pgsizes\":4096,\"write_multiple\":true}}", 0, true, 1},
	{"{\"max_msg_fds\":8}", 0, true, 1},
	{"{\"capabilities\":null}", 0, false, 1},
	{"{\"capabilities\":[]}", 0, false, 1},
	{"", 0, false, 1},
	{"8", 0, false, 1},
	{"[]", 0, false, 1},
	{"{", 0, false, 1},
	{"{}x", 0, false, 1},
	{"{\"a\":\"\xff\"}", 0, false, 1},
};

Test(vfio_user_codec, version)
{
	for (size_t i = 0; i < sizeof(versions) / sizeof(*versions); i++) {
		const char *json = versions[i].json;
		uint8_t bytes[256] = {0};
		size_t len = IVS_VFU_VERSION_LEN + (json ? strlen(json) + 1 : 0);
		struct ivs_error err = {0};
		uint64_t fds_max;
		int result;

		put_number(bytes, 2, versions[i].major);
		put_number(bytes + 2, 2, i);
		if (json)
			memcpy(bytes + IVS_VFU_VERSION_LEN, json, strlen(json));
		result = ivs_vfu_get_version(bytes, len, &fds_max, &err);
		cr_expect_eq(result, versions[i].good ? 0 : IVS_VFU_E_VERSION, "%s", json);
		cr_expect_eq(!result, !*err.text);
		if (!result)
			cr_expect_eq(fds_max, versions[i].fds_max, "%s", json);
	}
}

Test(vfio_user_codec, version_without_its_nul)
{
	const uint8_t bytes[] = {0, 0, 0, 0, '{', '}'};
	struct ivs_error err = {0};
	uint64_t fds_max;

	cr_assert_eq(ivs_vfu_get_version(bytes, sizeof(bytes), &fds_max, &err), IVS_VFU_E_VERSION);
}

/* Compute the checksum in one pass over all bytes, without the code under test. */
static void naive_sum(const uint8_t *bytes, size_t len, uint8_t out[IVS_VFU_STREAM_SUM_LEN])
{
	uint64_t a = 0, b = 0;

	for (size_t at = 0; at < len; at += 8) {
		uint64_t word = 0;

		for (size_t i = at; i < len && i < at + 8; i++)
			word |= (uint64_t)bytes[i] << (8 * (i - at));
		a += word;
		b += a;
	}
	put_number(out, 8, a);
	put_number(out + 8, 8, b);
}

Test(vfio_user_codec, sum_in_any_pieces)
{
	uint8_t bytes[61], expected[IVS_VFU_STREAM_SUM_LEN], got[IVS_VFU_STREAM_SUM_LEN];

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 37 + 200);
	for (size_t len = 0; len <= sizeof(bytes); len++) {
		naive_sum(bytes, len, expected);
		for (size_t first = 0; first <= len; first++) {
			for (size_t step = 1; step < 20; step++) {
				struct ivs_vfu_sum sum = {0};

				ivs_vfu_sum_add(&sum, bytes, first);
				for (size_t at = first; at < len; at += step)
					ivs_vfu_sum_add(&sum, bytes + at,
							len - at < step ? len - at : step);
				ivs_vfu_sum_put(&sum, got);
				if (memcmp(got, expected, sizeof(got)))
					cr_assert_fail("%zu bytes, %zu and then %zu", len, first,
						       step);
			}
		}
	}
}
