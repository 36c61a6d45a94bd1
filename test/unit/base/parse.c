/* SPDX-License-Identifier: BSD-3-Clause */
#include <criterion/criterion.h>

#include "base/parse.h"

static const struct {
	const char *text;
	bool good;
	uint64_t size;
} sizes[] = {
	{"0", true, 0},
	{"1", true, 1},
	{"4096", true, 4096},
	{"1k", true, 1024},
	{"1K", true, 1024},
	{"4M", true, 4 << 20},
	{"4m", true, 4 << 20},
	{"5G", true, UINT64_C(5) << 30},
	{"2T", true, UINT64_C(2) << 40},
	{"18446744073709551615", true, UINT64_MAX},
	{"16777215T", true, UINT64_C(16777215) << 40},
	{"16777216T", false, 0},
	{"18446744073709551616", false, 0},
	{"99999999999999999999999", false, 0},
	{"", false, 0},
	{"M", false, 0},
	{"-1", false, 0},
	{"+1", false, 0},
	{" 1", false, 0},
	{"1 ", false, 0},
	{"1 M", false, 0},
	{"1MB", false, 0},
	{"1MM", false, 0},
	{"1.5G", false, 0},
	{"0x10", false, 0},
	{"4X", false, 0},
};

Test(parse, sizes)
{
	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		uint64_t size = 77;
		bool good = ivs_parse_size(sizes[i].text, &size);

		cr_expect_eq(good, sizes[i].good, "\"%s\"", sizes[i].text);
		cr_expect_eq(size, good ? sizes[i].size : 77, "\"%s\" is %lu", sizes[i].text, size);
	}
}

Test(parse, numbers_must_be_in_range)
{
	uint64_t n = 77;

	cr_expect(ivs_parse_uint("0", 0, 5, &n));
	cr_expect_eq(n, 0);
	cr_expect(ivs_parse_uint("5", 0, 5, &n));
	cr_expect(ivs_parse_uint("007", 0, 7, &n));
	n = 77;
	cr_expect_not(ivs_parse_uint("6", 0, 5, &n));
	cr_expect_not(ivs_parse_uint("1", 2, 5, &n));
	cr_expect_not(ivs_parse_uint("", 0, 5, &n));
	cr_expect_not(ivs_parse_uint("1x", 0, 5, &n));
	cr_expect_not(ivs_parse_uint("-0", 0, 5, &n));
	cr_expect_eq(n, 77);
}

Test(parse, sizes_are_printed_with_the_largest_exact_suffix)
{
	char text[IVS_SIZE_TEXT_LEN];

	cr_expect_str_eq(ivs_size_text(0, text), "0");
	cr_expect_str_eq(ivs_size_text(4095, text), "4095");
	cr_expect_str_eq(ivs_size_text(4096, text), "4K");
	cr_expect_str_eq(ivs_size_text(3 << 20, text), "3M");
	cr_expect_str_eq(ivs_size_text(UINT64_C(5) << 30, text), "5G");
	cr_expect_str_eq(ivs_size_text((UINT64_C(1) << 30) + 1024, text), "1048577K");
	cr_expect_str_eq(ivs_size_text(UINT64_MAX, text), "18446744073709551615");
}

Test(parse, owners)
{
	char owner[IVS_OWNER_TEXT_LEN];

	cr_expect_str_eq(ivs_owner_text(5, 7, owner), "uid 5, gid 7");
	cr_expect_str_eq(ivs_owner_text((uid_t)-1, 7, owner), "gid 7");
	cr_expect_str_eq(ivs_owner_text(4294967294, (gid_t)-1, owner), "uid 4294967294");
	cr_expect_str_eq(ivs_owner_text(4294967294, 4294967294, owner),
			 "uid 4294967294, gid 4294967294");
	cr_expect_str_eq(ivs_owner_text((uid_t)-1, (gid_t)-1, owner), "");
}
