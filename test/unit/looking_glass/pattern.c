/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tests of the test pattern: bars, box and number are drawn, and nothing is drawn outside the
 * picture.
 */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <stdlib.h>
#include <string.h>

#include "looking_glass/pattern.h"

#define GUARD_N 64u /* pixels before and after the picture */
#define GUARD 0x5a5a5a5au

struct picture {
	struct ivs_pattern pattern;
	uint32_t *memory;
	uint32_t *pixels;
	size_t pixels_n;
};

static struct picture make_picture(uint32_t width, uint32_t height, uint32_t stride)
{
	struct picture picture = {.pattern = {width, height, stride}};

	picture.pixels_n = (size_t)stride * height;
	picture.memory = malloc((picture.pixels_n + 2 * GUARD_N) * sizeof(uint32_t));
	cr_assert_not_null(picture.memory);
	for (size_t i = 0; i < picture.pixels_n + 2 * GUARD_N; i++)
		picture.memory[i] = GUARD;
	picture.pixels = picture.memory + GUARD_N;
	return picture;
}

static void end_picture(struct picture *picture)
{
	for (size_t i = 0; i < GUARD_N; i++) {
		cr_assert_eq(picture->memory[i], GUARD);
		cr_assert_eq(picture->pixels[picture->pixels_n + i], GUARD);
	}
	free(picture->memory);
}

static uint32_t pixel(const struct picture *picture, uint32_t x, uint32_t y)
{
	return picture->pixels[(size_t)y * picture->pattern.stride + x];
}

Test(pattern, bars_box_and_number)
{
	struct picture picture = make_picture(640, 480, 640);
	struct ivs_pattern_box box;

	ivs_pattern_draw(&picture.pattern, 10, picture.pixels);
	box = ivs_pattern_find_box(&picture.pattern, 10);
	cr_assert_eq(box.len, 80);
	cr_assert_eq(pixel(&picture, box.x, box.y), 0xffffff);
	cr_assert_eq(pixel(&picture, box.x + 79, box.y + 79), 0xffffff);
	cr_assert_eq(pixel(&picture, box.x + 80, box.y + 80), ivs_pattern_colour(2));
	for (uint32_t bar = 0; bar < IVS_PATTERN_BARS_N; bar++) {
		cr_assert_eq(pixel(&picture, bar * 80, 300), ivs_pattern_colour(bar), "%u", bar);
		cr_assert_eq(pixel(&picture, bar * 80 + 79, 300), ivs_pattern_colour(bar));
	}
	cr_assert_eq(pixel(&picture, 0, 479), 0, "the strip of the number is black");
	end_picture(&picture);
}

/* Two frames differ, and the box bounces off each side without leaving the picture. */
Test(pattern, the_box_moves_within_the_picture)
{
	static const uint32_t modes[][2] = {{64, 64}, {640, 480}, {1920, 1080}, {65, 16384}};

	for (size_t i = 0; i < sizeof(modes) / sizeof(*modes); i++) {
		struct ivs_pattern pattern = {modes[i][0], modes[i][1], modes[i][0]};
		struct ivs_pattern_box last = ivs_pattern_find_box(&pattern, UINT64_MAX);

		for (uint64_t number = 0; number < 5000; number++) {
			struct ivs_pattern_box box = ivs_pattern_find_box(&pattern, number);

			cr_assert_leq(box.x + box.len, pattern.width);
			cr_assert_leq(box.y + box.len, pattern.height);
			cr_assert(box.x != last.x || box.y != last.y, "%lu", (long)number);
			last = box;
		}
	}
}

Test(pattern, the_number_is_drawn)
{
	struct picture a = make_picture(128, 64, 128);
	struct picture b = make_picture(128, 64, 128);

	/* The box has moved, and the strip of 7 rows differs only in the last digit. */
	ivs_pattern_draw(&a.pattern, 1, a.pixels);
	ivs_pattern_draw(&b.pattern, 2, b.pixels);
	cr_assert_arr_eq(a.pixels + (size_t)57 * 128, b.pixels + (size_t)57 * 128, 29 * 4);
	cr_assert(memcmp(a.pixels + (size_t)57 * 128, b.pixels + (size_t)57 * 128, 7 * 128 * 4));
	/* In the digit 1, the middle dot of the first row is white, and the first dot is black. */
	cr_assert_eq(pixel(&a, 29, 58), 0);
	cr_assert_eq(pixel(&a, 30, 58), 0xffffff);
	end_picture(&a);
	end_picture(&b);
}

/* Odd sizes and padded rows: each pixel is drawn, padding is black, nothing else is written. */
Test(pattern, every_pixel_and_no_other)
{
	static const uint32_t modes[][3] = {
		{64, 64, 64}, {65, 67, 128}, {639, 64, 640}, {64, 4097, 100}, {4097, 64, 4160}};

	for (size_t i = 0; i < sizeof(modes) / sizeof(*modes); i++) {
		struct picture picture = make_picture(modes[i][0], modes[i][1], modes[i][2]);

		for (uint64_t number = 0; number < 40; number++)
			ivs_pattern_draw(&picture.pattern, number * number * 7919, picture.pixels);
		for (size_t at = 0; at < picture.pixels_n; at++)
			cr_assert_leq(picture.pixels[at], 0xffffff);
		for (uint32_t x = modes[i][0]; x < modes[i][2]; x++)
			cr_assert_eq(pixel(&picture, x, 0), 0);
		end_picture(&picture);
	}
}
