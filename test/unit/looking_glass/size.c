/* SPDX-License-Identifier: BSD-3-Clause */
#include <criterion/criterion.h>

#include "looking_glass/size.h"

#define MIB (UINT64_C(1) << 20)

enum {
	B7_SDR,
	B7_HDR,
	IDD,
	COLUMNS,
};

/* The table in Looking Glass's documentation, in MiB. */
static const struct {
	uint32_t width;
	uint32_t height;
	unsigned int size[COLUMNS];
} documented[] = {
	{1280, 720, {32, 32, 16}},	{1920, 1080, {32, 64, 32}},
	{1920, 1200, {32, 64, 32}},	{2560, 1080, {32, 64, 64}},
	{2560, 1440, {64, 128, 64}},	{3440, 1440, {64, 128, 64}},
	{3840, 1600, {64, 128, 128}},	{3840, 2160, {128, 256, 128}},
	{5120, 1440, {128, 128, 128}},	{5120, 2880, {128, 256, 256}},
	{7680, 4320, {512, 1024, 512}},
};

/*
 * With IDD, lines of 1366 pixels and of 1 pixel are padded. 1024x768 and 64x16384 fill a region
 * exactly.
 */
static const struct {
	uint32_t width;
	uint32_t height;
	unsigned int size[COLUMNS];
} others[] = {
	{1, 1, {16, 16, 8}},	   {1366, 768, {32, 32, 32}},  {1365, 767, {32, 32, 32}},
	{1, 16384, {16, 16, 16}},  {16384, 1, {16, 16, 8}},    {1024, 699, {16, 32, 16}},
	{1024, 768, {16, 32, 16}}, {1024, 769, {32, 32, 16}},  {64, 16384, {32, 32, 16}},
	{65, 16384, {32, 32, 32}}, {1024, 1024, {32, 32, 16}}, {1024, 1025, {32, 32, 32}},
};

static void expect_size(uint32_t width, uint32_t height, int column, unsigned int expected)
{
	struct ivs_looking_glass_mode mode = {
		.width = width,
		.height = height,
		.hdr = column == B7_HDR,
		.release = column == IDD ? IVS_LOOKING_GLASS_IDD : IVS_LOOKING_GLASS_B7,
	};
	uint64_t size = 0;

	cr_expect_eq(ivs_looking_glass_size(&mode, &size), 0, "%ux%u", width, height);
	cr_expect_eq(size, expected * MIB, "%ux%u column %d: %lu", width, height, column,
		     size / MIB);
	mode.hdr = true;
	if (column == IDD) {
		cr_expect_eq(ivs_looking_glass_size(&mode, &size), 0);
		cr_expect_eq(size, expected * MIB, "HDR needs no additional memory");
	}
}

Test(size, is_the_documented_one)
{
	for (size_t i = 0; i < sizeof(documented) / sizeof(*documented); i++) {
		for (int column = 0; column < COLUMNS; column++)
			expect_size(documented[i].width, documented[i].height, column,
				    documented[i].size[column]);
	}
}

Test(size, of_other_modes)
{
	for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++) {
		for (int column = 0; column < COLUMNS; column++)
			expect_size(others[i].width, others[i].height, column,
				    others[i].size[column]);
	}
}

Test(size, of_the_largest_region)
{
	struct ivs_looking_glass_mode mode = {12288, 10816};
	uint64_t size = 0;

	cr_expect_eq(ivs_looking_glass_size(&mode, &size), 0);
	cr_expect_eq(size, 1024 * MIB);
}

static const struct {
	struct ivs_looking_glass_mode mode;
	int expected;
} impossible[] = {
	{{0, 1080}, IVS_LOOKING_GLASS_E_ZERO},
	{{1920, 0}, IVS_LOOKING_GLASS_E_ZERO},
	{{16385, 1}, IVS_LOOKING_GLASS_E_HUGE},
	{{1, 16385}, IVS_LOOKING_GLASS_E_HUGE},
	{{UINT32_MAX, UINT32_MAX}, IVS_LOOKING_GLASS_E_HUGE},
	{{16384, 16384}, IVS_LOOKING_GLASS_E_CLIENT},
	{{16384, 16384, .hdr = true}, IVS_LOOKING_GLASS_E_CLIENT},
	{{16384, 16384, .release = IVS_LOOKING_GLASS_IDD}, IVS_LOOKING_GLASS_E_CLIENT},
	{{12288, 10817}, IVS_LOOKING_GLASS_E_CLIENT},
};

Test(size, impossible_modes)
{
	for (size_t i = 0; i < sizeof(impossible) / sizeof(*impossible); i++) {
		uint64_t size = 77;

		cr_expect_eq(ivs_looking_glass_size(&impossible[i].mode, &size),
			     impossible[i].expected, "row %zu", i);
		cr_expect_eq(size, 77);
	}
}

static const struct {
	const char *text;
	int expected;
	uint32_t width;
	uint32_t height;
} texts[] = {
	{"3840x2160", 0, 3840, 2160},
	{"1x1", 0, 1, 1},
	{"16384x16384", 0, 16384, 16384},
	{"0001x00000000000000000000000002", 0, 1, 2},
	{"", IVS_LOOKING_GLASS_E_FORMAT, 0, 0},
	{"x", IVS_LOOKING_GLASS_E_FORMAT, 0, 0},
	{"1920", IVS_LOOKING_GLASS_E_FORMAT, 0, 0},
	{"1920x", IVS_LOOKING_GLASS_E_FORMAT, 0, 0},
	{"x1080", IVS_LOOKING_GLASS_E_FORMAT, 0, 0},
	{"1920X1080", IVS_LOOKING_GLASS_E_FORMAT, 0, 0},
	{"1920x1080x", IVS_LOOKING_GLASS_E_FORMAT, 0, 0},
	{"1920x1080 ", IVS_LOOKING_GLASS_E_FORMAT, 0, 0},
	{" 1920x1080", IVS_LOOKING_GLASS_E_FORMAT, 0, 0},
	{"1920x-1080", IVS_LOOKING_GLASS_E_FORMAT, 0, 0},
	{"-1920x1080", IVS_LOOKING_GLASS_E_FORMAT, 0, 0},
	{"+1920x1080", IVS_LOOKING_GLASS_E_FORMAT, 0, 0},
	{"1920.5x1080", IVS_LOOKING_GLASS_E_FORMAT, 0, 0},
	{"0x1080", IVS_LOOKING_GLASS_E_ZERO, 0, 0},
	{"1920x0", IVS_LOOKING_GLASS_E_ZERO, 0, 0},
	{"0x0", IVS_LOOKING_GLASS_E_ZERO, 0, 0},
	{"16385x1", IVS_LOOKING_GLASS_E_HUGE, 0, 0},
	{"1x16385", IVS_LOOKING_GLASS_E_HUGE, 0, 0},
	{"4294967296x4294967296", IVS_LOOKING_GLASS_E_HUGE, 0, 0},
	{"18446744073709551617x1", IVS_LOOKING_GLASS_E_HUGE, 0, 0},
	{"99999999999999999999999999999999x1", IVS_LOOKING_GLASS_E_HUGE, 0, 0},
};

Test(parse, resolutions)
{
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		struct ivs_looking_glass_mode mode = {0};

		cr_expect_eq(ivs_looking_glass_parse(texts[i].text, &mode), texts[i].expected,
			     "\"%s\"", texts[i].text);
		cr_expect_eq(mode.width, texts[i].width, "\"%s\"", texts[i].text);
		cr_expect_eq(mode.height, texts[i].height, "\"%s\"", texts[i].text);
	}
}
