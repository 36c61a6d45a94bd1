/* SPDX-License-Identifier: BSD-3-Clause */
/* Tests of sections: bytes of headers and endpoints as in PROTOCOL.md C-5 to C-7, and damage. */
#include <criterion/criterion.h>
#include <string.h>

#include "channel/section.h"

#define LEN 32768u

static _Alignas(4096) uint8_t memory[LEN];
static struct ivs_endpoint_view view;

static uint64_t get(unsigned int endpoint, unsigned int word)
{
	uint64_t value = 0;

	for (unsigned int i = 8; i--;)
		value = value << 8 | memory[256 * endpoint + 8 * word + i];
	return value;
}

static void put(unsigned int endpoint, unsigned int word, uint64_t value)
{
	for (unsigned int i = 0; i < 8; i++)
		memory[256 * endpoint + 8 * word + i] = (uint8_t)(value >> 8 * i);
}

static void begin(void)
{
	const struct ivs_section_holder holder = {.id = 0x1234, .vector = 5};

	memset(memory, 0xff, sizeof(memory));
	put(0, 3, 41);
	ivs_section_begin(memory, 0x1122334455667788, &holder);
}

TestSuite(channel_section, .init = begin);

Test(channel_section, header)
{
	cr_expect(!memcmp(memory, "IVSSECTN", 8));
	cr_expect_eq(get(0, 1), 0x1122334455667788);
	cr_expect_eq(get(0, 2), UINT64_C(0x0001000500001234));
	cr_expect_eq(get(0, 3), 42);
	cr_expect_eq(ivs_section_life(memory), 0x1122334455667788);
	for (unsigned int i = 256; i < 16384; i++)
		cr_assert_eq(memory[i], 0, "byte %u", i);
	cr_expect_eq(memory[16384], 0xff);
	cr_expect_eq(memory[LEN - 1], 0xff);
}

Test(channel_section, holders)
{
	static const struct {
		uint64_t word;
		struct ivs_section_holder holder;
		bool packed;
	} cases[] = {
		{UINT64_C(0x0001000500001234), {0x1234, 5, false}, true},
		{UINT64_C(0x0003000500001234), {0x1234, 5, true}, true},
		{UINT64_C(0x0000000000000000), {0, -1, false}, true},
		{UINT64_C(0x0001ffff0000ffff), {65535, 65535, false}, true},
		{UINT64_C(0x00000000ffffffff), {-1, -1, false}, true},
		{UINT64_C(0x00020000ffffffff), {-1, -1, true}, true},
		{UINT64_C(0x0001000500010000), {-1, -1, false}, false},
		{UINT64_C(0x00010005ffffffff), {-1, -1, false}, false},
		{UINT64_C(0xfff9000300000001), {1, 3, false}, false},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct ivs_section_holder got;

		if (cases[i].packed) {
			ivs_section_begin(memory, 1, &cases[i].holder);
			if (cases[i].holder.left)
				ivs_section_end(memory, &cases[i].holder);
			cr_expect_eq(get(0, 2), cases[i].word, "case %zu: %lx", i, get(0, 2));
		}
		put(0, 2, cases[i].word);
		got = ivs_section_get_holder(memory);
		cr_expect_eq(got.id, cases[i].holder.id, "case %zu", i);
		cr_expect_eq(got.vector, cases[i].holder.vector, "case %zu", i);
		cr_expect_eq(got.left, cases[i].holder.left, "case %zu", i);
	}
}

static const struct ivs_endpoint_view sender = {
	.state = {IVS_ROLE_QUEUE_SENDER, false, 0xcafe0001},
	.name = "frames/\xc3\xa9",
	.at = 16384,
	.shape = {16, 1024, 0x89abcdef},
};

Test(channel_section, sender)
{
	uint64_t changes = get(0, 3);

	memset(memory + 256 * 3, 0x77, 256);
	ivs_endpoint_put(memory, 3, &sender);
	cr_expect_eq(get(3, 0), UINT64_C(0xcafe000100000001));
	cr_expect(!memcmp(memory + 256 * 3 + 8, "frames/\xc3\xa9\0\0\0\0\0\0\0", 16));
	for (unsigned int word = 3; word <= 5; word++)
		cr_expect_eq(get(3, word), 0);
	cr_expect_eq(get(3, 8), 16384);
	cr_expect_eq(get(3, 9), UINT64_C(0x0000040000000010));
	cr_expect_eq(get(3, 10), 0x89abcdef);
	cr_expect_eq(get(3, 13), 0);
	cr_expect_eq(get(3, 16), 0);
	cr_expect_eq(get(3, 24), UINT64_C(0xcafe000100000000));
	cr_expect_eq(get(0, 3), changes + 1);
	cr_assert(ivs_endpoint_get(memory, LEN, 3, &view));
	cr_expect_eq(view.state.role, IVS_ROLE_QUEUE_SENDER);
	cr_expect_not(view.state.closed);
	cr_expect_eq(view.state.incarnation, 0xcafe0001);
	cr_expect_str_eq(view.name, sender.name);
	cr_expect_eq(view.at, 16384);
	cr_expect_eq(view.shape.slots_n, 16);
	cr_expect_eq(view.shape.slot_len, 1024);
	cr_expect_eq(view.shape.base, 0x89abcdef);
}

Test(channel_section, reader)
{
	const struct ivs_endpoint_view reader = {
		.state = {IVS_ROLE_READER, true, 7},
		.target = {0xfff, 63, 0x01020304},
		.target_life = UINT64_C(0xfedcba9876543210),
	};

	ivs_endpoint_put(memory, 63, &reader);
	cr_expect_eq(get(63, 0), UINT64_C(0x0000000700000103));
	cr_expect_eq(get(63, 11), UINT64_C(0x01020304003f0fff));
	cr_expect_eq(get(63, 12), UINT64_C(0xfedcba9876543210));
	cr_assert(ivs_endpoint_get(memory, LEN, 63, &view));
	cr_expect(view.state.closed);
	cr_expect_eq(view.target.section, 0xfff);
	cr_expect_eq(view.target.index, 63);
	cr_expect_eq(view.target.incarnation, 0x01020304);
	cr_expect_eq(view.target_life, reader.target_life);
	cr_expect_eq(ivs_endpoint_sleeps(7, true), UINT64_C(0x0000000700000001));
}

Test(channel_section, lanes_outside_the_section_are_refused)
{
	static const struct {
		unsigned int word;
		uint64_t value;
		bool valid;
	} cases[] = {
		{8, 16384, true},
		{8, 16384 + 64, false}, /* too long for the rest of the section */
		{8, 16384 - 64, false},
		{8, 0, false},
		{8, 16384 + 8, false},
		{8, LEN, false},
		{8, UINT64_MAX - 63, false},
		{8, UINT64_C(1) << 63, false},
		{9, UINT64_C(1024) << 32 | 16, true},
		{9, UINT64_C(512) << 32 | 16, true},
		{9, UINT64_C(1024) << 32 | 32, false},
		{9, UINT64_C(1088) << 32 | 16, false},
		{9, UINT64_C(1024) << 32 | 3, false},
		{9, UINT64_C(1024) << 32 | 1, false},
		{9, UINT64_C(1024) << 32, false},
		{9, 16, false},
		{9, UINT64_C(0x80000000) << 32 | 0x80000000, false},
		{9, UINT64_MAX, false},
		{9, (UINT64_C(1) << 30) << 32 | 1u << 24, false},
		{0, UINT64_C(0xcafe000100000000), false}, /* unused */
		{0, UINT64_C(0xcafe0001000000ff), false}, /* a role that is not known */
		{0, UINT64_C(0xcafe0001fffffe01), true},  /* bits that are not known */
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct ivs_endpoint_view full = sender;

		full.shape.slots_n = 16;
		ivs_endpoint_put(memory, 1, &full);
		put(1, cases[i].word, cases[i].value);
		cr_expect_eq(ivs_endpoint_get(memory, LEN, 1, &view), cases[i].valid, "case %zu",
			     i);
	}
}

Test(channel_section, name_without_a_zero_ends)
{
	ivs_endpoint_put(memory, 1, &sender);
	for (unsigned int word = 1; word <= 5; word++)
		put(1, word, UINT64_C(0x6161616161616161));
	cr_assert(ivs_endpoint_get(memory, LEN, 1, &view));
	cr_expect_eq(strlen(view.name), 39);
}

/* Other peers may still load the position of an endpoint until its place is used again. */
Test(channel_section, unused_endpoint_is_told_from_the_next)
{
	const struct ivs_endpoint_state unused = {IVS_ROLE_NONE, false, 0xcafe0001};

	ivs_endpoint_put(memory, 1, &sender);
	ivs_endpoint_set_state(memory, 1, &unused);
	cr_expect_eq(get(1, 0), UINT64_C(0xcafe000100000000));
	cr_expect_not(ivs_endpoint_get(memory, LEN, 1, &view));
	cr_expect_eq(ivs_endpoint_get_state(memory, 1).incarnation, 0xcafe0001);
}

Test(channel_section, names)
{
	static const struct {
		const char *name;
		bool valid;
	} cases[] = {
		{"", false},
		{"a", true},
		{"a b", true},
		{" ", true},
		{"\x1f", false},
		{"\x7f", false},
		{"a\tb", false},
		{"\xc3\xa9\xff", true},
		{"123456789012345678901234567890123456789", true},
		{"1234567890123456789012345678901234567890", false},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		cr_expect_eq(ivs_endpoint_name_is_valid(cases[i].name), cases[i].valid, "%s",
			     cases[i].name);
}
