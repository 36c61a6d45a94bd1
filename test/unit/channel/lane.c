/* SPDX-License-Identifier: BSD-3-Clause */
/* Tests of lanes: the words of slots as in PROTOCOL.md C-8 and C-9, and every wrong value. */
#include <criterion/criterion.h>
#include <string.h>

#include "channel/lane.h"

#define SLOTS_N 4u
#define SLOT_LEN 64u

static _Alignas(64) uint8_t memory[SLOTS_N * SLOT_LEN];
static struct ivs_lane_writer writer;
static struct ivs_lane_reader reader;

static void start(uint32_t base)
{
	const struct ivs_lane_shape shape = {SLOTS_N, SLOT_LEN, base};

	memset(memory, 0xaa, sizeof(memory));
	ivs_lane_prepare(&writer, memory, &shape);
	reader = (struct ivs_lane_reader){.slots = memory, .shape = shape};
}

/* The word of a slot, from its bytes: they are little-endian. */
static uint64_t get_word(unsigned int slot)
{
	uint64_t word = 0;

	for (unsigned int i = 8; i--;)
		word = word << 8 | memory[slot * SLOT_LEN + i];
	return word;
}

static void put_word(unsigned int slot, uint32_t number, uint32_t len)
{
	for (unsigned int i = 0; i < 4; i++) {
		memory[slot * SLOT_LEN + i] = (uint8_t)(len >> 8 * i);
		memory[slot * SLOT_LEN + 4 + i] = (uint8_t)(number >> 8 * i);
	}
}

static int peek(void)
{
	const void *message;
	uint32_t len;

	return ivs_lane_peek(&reader, &message, &len);
}

Test(channel_lane, shapes)
{
	static const struct {
		uint32_t slots_n, slot_len;
		bool possible;
	} cases[] = {
		{2, 64, true},
		{1u << 24, 64, true},
		{2, (1u << 30) + 64, true},
		{4, 192, true},
		{0, 64, false},
		{1, 64, false},
		{3, 64, false},
		{6, 64, false},
		{1u << 25, 64, false},
		{1u << 31, 64, false},
		{UINT32_MAX, 64, false},
		{2, 0, false},
		{2, 8, false},
		{2, 63, false},
		{2, 65, false},
		{2, 96, false},
		{2, (1u << 30) + 128, false},
		{2, UINT32_MAX - 63, false},
		{2, 1u << 31, false},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		const struct ivs_lane_shape shape = {cases[i].slots_n, cases[i].slot_len, 0};

		cr_expect_eq(ivs_lane_is_possible(&shape), cases[i].possible, "%u slots of %u",
			     shape.slots_n, shape.slot_len);
	}
}

Test(channel_lane, slots_have_room_for_the_word_and_the_message)
{
	static const uint32_t cases[][2] = {
		{0, 64},
		{1, 64},
		{56, 64},
		{57, 128},
		{120, 128},
		{121, 192},
		{1u << 30, (1u << 30) + 64},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		cr_expect_eq(ivs_lane_slot_len(cases[i][0]), cases[i][1], "%u", cases[i][0]);
	cr_expect_eq(ivs_lane_len(&(struct ivs_lane_shape){1u << 24, 1u << 30, 0}), UINT64_C(1)
											    << 54);
}

Test(channel_lane, words_of_slots)
{
	static const uint8_t first[8] = {3, 0, 0, 0, 0x68, 0x67, 0x66, 0x65};

	start(0x65666767);
	/* Unused slots have the numbers of one lap earlier. */
	for (unsigned int i = 0; i < SLOTS_N; i++)
		cr_expect_eq(get_word(i), (uint64_t)(0x65666764 + i) << 32);
	memcpy(ivs_lane_reserve(&writer), "abc", 3);
	cr_expect_eq(get_word(0) >> 32, 0x65666764);
	ivs_lane_commit(&writer, 3);
	cr_expect(!memcmp(memory, first, 8));
	cr_expect(!memcmp(memory + 8, "abc", 3));
	cr_expect_eq(memory[8 + 3], 0xaa);
	cr_expect_eq(get_word(1) >> 32, 0x65666765);
}

/* Numbers pass 2^32 in the first lap, and the position has 64 bits. */
Test(channel_lane, numbers_wrap_around)
{
	static const uint32_t bases[] = {
		0, UINT32_MAX, UINT32_MAX - 1, UINT32_MAX - SLOTS_N, INT32_MAX, INT32_MAX - 2};
	const void *message;
	uint32_t len;

	for (size_t i = 0; i < sizeof(bases) / sizeof(*bases); i++) {
		start(bases[i]);
		for (uint32_t n = 0; n < 3 * SLOTS_N; n++) {
			cr_expect_eq(peek(), IVS_LANE_E_EMPTY);
			*(uint32_t *)ivs_lane_reserve(&writer) = n;
			ivs_lane_commit(&writer, 4);
			cr_expect_eq(get_word(n % SLOTS_N) >> 32, (uint32_t)(bases[i] + 1 + n));
			cr_assert_eq(ivs_lane_peek(&reader, &message, &len), 0);
			cr_expect_eq(len, 4);
			cr_expect_eq(*(const uint32_t *)message, n);
			ivs_lane_release(&reader);
			cr_expect_eq(ivs_lane_allow(&writer, reader.position), 0);
		}
	}
}

Test(channel_lane, full_lane_has_no_room)
{
	start(7);
	for (unsigned int i = 0; i < SLOTS_N; i++) {
		cr_expect_eq((uint8_t *)ivs_lane_reserve(&writer), memory + i * SLOT_LEN + 8);
		ivs_lane_commit(&writer, 0);
	}
	cr_expect_null(ivs_lane_reserve(&writer));
	cr_expect_eq(ivs_lane_allow(&writer, 0), 0);
	cr_expect_null(ivs_lane_reserve(&writer));
	cr_expect_eq(ivs_lane_allow(&writer, 1), 0);
	cr_expect_eq((uint8_t *)ivs_lane_reserve(&writer), memory + 8);
}

Test(channel_lane, positions_that_no_reader_can_have_are_refused)
{
	static const uint64_t wrong[] = {
		1, 6, 7, UINT64_MAX, INT64_MAX, UINT64_C(1) << 32, (UINT64_C(1) << 32) + 3};

	start(7);
	for (unsigned int i = 0; i < SLOTS_N; i++)
		ivs_lane_commit(&writer, 0);
	cr_expect_eq(ivs_lane_allow(&writer, 2), 0);
	ivs_lane_commit(&writer, 0);
	/* The reader has released 2 of 5: it can be at 2 to 5. */
	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++)
		cr_expect_eq(ivs_lane_allow(&writer, wrong[i]), IVS_LANE_E_BROKEN, "%lu", wrong[i]);
	cr_expect_eq(writer.limit, 6);
	for (uint64_t position = 2; position <= 5; position++)
		cr_expect_eq(ivs_lane_allow(&writer, position), 0);
	cr_expect_eq(ivs_lane_allow(&writer, 4), IVS_LANE_E_BROKEN);
}

Test(channel_lane, words_that_no_writer_can_store_are_refused)
{
	const uint32_t base = 1000;
	static const struct {
		int64_t number; /* relative to the message's */
		uint32_t len;
		int result;
	} cases[] = {
		{0, 0, 0},
		{0, 56, 0},
		{0, 57, IVS_LANE_E_BROKEN},
		{0, UINT32_MAX, IVS_LANE_E_EMPTY}, /* unfinished */
		{0, UINT32_MAX - 1, IVS_LANE_E_BROKEN},
		{-4, 0, IVS_LANE_E_EMPTY},
		{-4, UINT32_MAX, IVS_LANE_E_EMPTY},
		{4, 0, IVS_LANE_E_LAPPED},
		{400, 0, IVS_LANE_E_LAPPED},
		{-1, 0, IVS_LANE_E_BROKEN},
		{1, 0, IVS_LANE_E_BROKEN},
		{3, 0, IVS_LANE_E_BROKEN},
		{5, 0, IVS_LANE_E_BROKEN},
		{-8, 0, IVS_LANE_E_BROKEN},
		{INT32_MAX, 0, IVS_LANE_E_BROKEN},
		{INT32_MIN, 0, IVS_LANE_E_BROKEN},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		start(base);
		reader.position = 9;
		put_word(1, (uint32_t)(base + 10 + cases[i].number), cases[i].len);
		cr_expect_eq(peek(), cases[i].result, "%ld, length %u: %d", cases[i].number,
			     cases[i].len, peek());
	}
}

Test(channel_lane, overwritten_message_is_noticed)
{
	start(0);
	ivs_lane_commit(&writer, 1);
	cr_assert_eq(peek(), 0);
	cr_expect(ivs_lane_is_intact(&reader));
	put_word(0, 5, 1);
	cr_expect_not(ivs_lane_is_intact(&reader));
	cr_expect_eq(peek(), IVS_LANE_E_LAPPED);
}
