/* SPDX-License-Identifier: BSD-3-Clause */
/* Tests of the layout header: its bytes as in PROTOCOL.md C-1 and C-2, and damaged headers. */
#include <criterion/criterion.h>
#include <string.h>

#include "channel/layout.h"

#define MIB (1u << 20)

static _Alignas(4096) uint8_t memory[8192];
static struct ivs_channel_layout out;

/* 4 sections of 252 KiB in a region of 1 MiB */
static const uint8_t golden[40] = {
	'I', 'V', 'S', 'C', 'H', 'A',  'N', 'L', 1, 0, 0, 0, 0, 0x10, 0, 0, 4, 0, 0, 0,
	0,   0,	  0,   0,   0,	 0x10, 0,   0,	 0, 0, 0, 0, 0, 0xf0, 3, 0, 0, 0, 0, 0,
};

TestSuite(channel_layout);

static int read_header(uint64_t len)
{
	return ivs_channel_layout_read(memory, len, &out);
}

static void put(unsigned int word, uint64_t value)
{
	for (unsigned int i = 0; i < 8; i++)
		memory[8 * word + i] = (uint8_t)(value >> 8 * i);
}

Test(channel_layout, bytes)
{
	struct ivs_channel_layout layout;

	cr_assert_eq(ivs_channel_layout_make(MIB, 4, &layout), 0);
	ivs_channel_layout_write(memory, &layout);
	cr_expect(!memcmp(memory, golden, sizeof(golden)));
	for (size_t i = sizeof(golden); i < sizeof(memory); i++)
		cr_assert_eq(memory[i], 0);
	cr_assert_eq(read_header(MIB), 0);
	cr_expect_eq(out.version, 1);
	cr_expect_eq(out.sections_n, 4);
	cr_expect_eq(out.section_len, 0x3f000);
	cr_expect_eq(out.sections_at, 4096);
}

Test(channel_layout, sizes)
{
	static const struct {
		uint64_t len;
		uint32_t asked, sections_n;
		uint64_t section_len; /* 0: refused */
	} cases[] = {
		{MIB, 0, 16, 65280 / 4096 * 4096},
		{4096 + 16 * 32768, 0, 16, 32768},
		{4096 + 16 * 32768 - 1, 0, 8, 65536 - 4096},
		{4096 + 2 * 32768, 0, 2, 32768},
		{4096 + 2 * 32768 - 1, 0, 2, 0},
		{64 * (uint64_t)MIB, 0, 64, MIB - 4096},
		{64 * (uint64_t)MIB - 4096, 0, 16, 4 * MIB - 4096},
		{0, 0, 2, 0},
		{4096, 0, 2, 0},
		{MIB, 1, 1, 0},
		{MIB, 31, 31, 32768},
		{MIB, 32, 32, 0},
		{MIB, UINT32_MAX, UINT32_MAX, 0},
		{4096 + 4096 * (uint64_t)32768, 4096, 4096, 32768},
		{UINT64_C(1) << 40, 4097, 4097, 0},
		{UINT64_MAX, 2, 2, (UINT64_MAX - 4096) / 2 / 4096 * 4096},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		int result = ivs_channel_layout_make(cases[i].len, cases[i].asked, &out);

		cr_expect_eq(result, cases[i].section_len ? 0 : IVS_CHANNEL_LAYOUT_E_SIZE, "%zu",
			     i);
		cr_expect_eq(out.sections_n, cases[i].sections_n, "%zu: %u", i, out.sections_n);
		cr_expect(!cases[i].section_len || out.section_len == cases[i].section_len,
			  "%zu: %lu", i, out.section_len);
	}
}

Test(channel_layout, headers)
{
	const uint64_t version = UINT64_C(4096) << 32 | 1;
	const uint64_t letters = UINT64_C(0x4c4e414843535649);
	static const struct {
		unsigned int word;
		uint64_t value;
		int result;
	} cases[] = {
		{0, 0, IVS_CHANNEL_LAYOUT_E_UNFINISHED},
		{0, UINT64_C(0x4c4e414843535648), IVS_CHANNEL_LAYOUT_E_FOREIGN},
		{1, UINT64_C(4096) << 32 | 2, IVS_CHANNEL_LAYOUT_E_VERSION},
		{1, UINT64_C(4096) << 32, IVS_CHANNEL_LAYOUT_E_VERSION},
		{2, 1, IVS_CHANNEL_LAYOUT_E_DAMAGED},
		{2, 0, IVS_CHANNEL_LAYOUT_E_DAMAGED},
		{2, 4097, IVS_CHANNEL_LAYOUT_E_DAMAGED},
		{2, 5, IVS_CHANNEL_LAYOUT_E_DAMAGED},
		{2, UINT64_C(0xffffffff00000004), 0},
		{2, 3, 0},
		{3, 0, IVS_CHANNEL_LAYOUT_E_DAMAGED},
		{3, 4097, IVS_CHANNEL_LAYOUT_E_DAMAGED},
		{3, 0x4000, 0},
		{3, 0x5000, IVS_CHANNEL_LAYOUT_E_DAMAGED},
		{3, UINT64_MAX - 4095, IVS_CHANNEL_LAYOUT_E_DAMAGED},
		{3, MIB, IVS_CHANNEL_LAYOUT_E_DAMAGED},
		{4, 0, IVS_CHANNEL_LAYOUT_E_DAMAGED},
		{4, 28672, IVS_CHANNEL_LAYOUT_E_DAMAGED},
		{4, 32768, 0},
		{4, 32768 + 2048, IVS_CHANNEL_LAYOUT_E_DAMAGED},
		{4, 0x40000, IVS_CHANNEL_LAYOUT_E_DAMAGED},
		{4, UINT64_C(1) << 62, IVS_CHANNEL_LAYOUT_E_DAMAGED},
		{4, UINT64_MAX - 4095, IVS_CHANNEL_LAYOUT_E_DAMAGED},
		{5, 1, 0},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		memset(memory, 0, sizeof(memory));
		memcpy(memory, golden, sizeof(golden));
		put(cases[i].word, cases[i].value);
		cr_expect_eq(read_header(MIB), cases[i].result, "case %zu: %d", i,
			     read_header(MIB));
	}
	memset(memory, 0, sizeof(memory));
	cr_expect_eq(read_header(MIB), IVS_CHANNEL_LAYOUT_E_EMPTY);
	cr_expect_eq(read_header(4095), IVS_CHANNEL_LAYOUT_E_FOREIGN);
	put(1, version);
	cr_expect_eq(read_header(MIB), IVS_CHANNEL_LAYOUT_E_UNFINISHED);
	put(511, 1);
	cr_expect_eq(read_header(MIB), IVS_CHANNEL_LAYOUT_E_FOREIGN);
	memset(memory, 0, sizeof(memory));
	put(511, 1);
	cr_expect_eq(read_header(MIB), IVS_CHANNEL_LAYOUT_E_FOREIGN);
	memset(memory, 0, sizeof(memory));
	put(2, 4);
	cr_expect_eq(read_header(MIB), IVS_CHANNEL_LAYOUT_E_FOREIGN);
	put(0, letters);
	cr_expect_eq(read_header(MIB), IVS_CHANNEL_LAYOUT_E_VERSION);
	/* What comes after the header is not looked at. */
	memset(memory, 0, sizeof(memory));
	memory[4096] = 1;
	cr_expect_eq(read_header(MIB), IVS_CHANNEL_LAYOUT_E_EMPTY);
}
