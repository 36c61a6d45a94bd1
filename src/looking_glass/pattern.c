/* SPDX-License-Identifier: BSD-3-Clause */
#include "looking_glass/pattern.h"

#define BOX_FRACTION 6 /* the smaller side is divided by this */
#define WHITE 0xffffffu
#define BLACK 0x000000u

/* The number is shown in the lower left corner, on a black strip. Unit: a dot of a digit. */
#define DIGITS_N 8
#define DIGIT_WIDTH 3
#define DIGIT_HEIGHT 5
#define DIGIT_STEP (DIGIT_WIDTH + 1)
#define STRIP_WIDTH (DIGITS_N * DIGIT_STEP + 1)
#define STRIP_HEIGHT (DIGIT_HEIGHT + 2)
#define DOT_FRACTION 64 /* the smaller side is divided by this */

/* Rows of 3 dots; the uppermost row is in the highest bits. */
static const uint16_t digits[10] = {
	0x7b6f, 0x2c97, 0x73e7, 0x73cf, 0x5bc9, 0x79cf, 0x79ef, 0x7249, 0x7bef, 0x7bcf,
};

uint32_t ivs_pattern_colour(unsigned int bar)
{
	static const uint32_t colours[IVS_PATTERN_BARS_N] = {
		0xc0c0c0, 0xc0c000, 0x00c0c0, 0x00c000, 0xc000c0, 0xc00000, 0x0000c0, 0x404040,
	};

	return colours[bar % IVS_PATTERN_BARS_N];
}

static uint32_t smaller_side(const struct ivs_pattern *pattern)
{
	return pattern->width < pattern->height ? pattern->width : pattern->height;
}

/* Go from 0 to @max and back, one step per unit of @way. */
static uint32_t bounce(uint64_t way, uint32_t max)
{
	uint32_t at = max ? (uint32_t)(way % (2 * (uint64_t)max)) : 0;

	return at <= max ? at : 2 * max - at;
}

struct ivs_pattern_box ivs_pattern_find_box(const struct ivs_pattern *pattern, uint64_t number)
{
	struct ivs_pattern_box box = {.len = smaller_side(pattern) / BOX_FRACTION};
	uint64_t step = 1 + smaller_side(pattern) / 128;

	box.x = bounce(number * 2 * step, pattern->width - box.len);
	box.y = bounce(number * step, pattern->height - box.len);
	return box;
}

/*
 * Fill the pixels from @left up to, but not including, @right in the rows from @top up to, but not
 * including, @bottom.
 */
static void fill(const struct ivs_pattern *pattern, uint32_t *out, const uint32_t left,
		 const uint32_t right, const uint32_t top, const uint32_t bottom, uint32_t colour)
{
	for (uint32_t y = top; y < bottom; y++) {
		uint32_t *row = out + (size_t)y * pattern->stride;

		for (uint32_t x = left; x < right; x++)
			row[x] = colour;
	}
}

static void draw_bars(const struct ivs_pattern *pattern, uint32_t *out)
{
	uint32_t left = 0;

	for (unsigned int bar = 0; bar < IVS_PATTERN_BARS_N; bar++) {
		uint32_t right = pattern->width * (bar + 1) / IVS_PATTERN_BARS_N;

		fill(pattern, out, left, right, 0, pattern->height, ivs_pattern_colour(bar));
		left = right;
	}
	fill(pattern, out, left, pattern->stride, 0, pattern->height, BLACK);
}

static void draw_digit(const struct ivs_pattern *pattern, uint32_t *out, uint32_t x, uint32_t y,
		       uint32_t dot, unsigned int digit)
{
	for (uint32_t i = 0; i < DIGIT_WIDTH * DIGIT_HEIGHT; i++) {
		uint32_t left = x + i % DIGIT_WIDTH * dot;
		uint32_t top = y + i / DIGIT_WIDTH * dot;

		if (digits[digit] >> (DIGIT_WIDTH * DIGIT_HEIGHT - 1 - i) & 1)
			fill(pattern, out, left, left + dot, top, top + dot, WHITE);
	}
}

static void draw_number(const struct ivs_pattern *pattern, uint32_t *out, uint64_t number)
{
	uint32_t dot = smaller_side(pattern) / DOT_FRACTION;
	uint32_t top = pattern->height - STRIP_HEIGHT * dot;

	fill(pattern, out, 0, STRIP_WIDTH * dot, top, pattern->height, BLACK);
	for (uint32_t i = DIGITS_N; i-- > 0; number /= 10)
		draw_digit(pattern, out, (i * DIGIT_STEP + 1) * dot, top + dot, dot,
			   (unsigned int)(number % 10));
}

void ivs_pattern_draw(const struct ivs_pattern *pattern, uint64_t number, uint32_t *out)
{
	struct ivs_pattern_box box = ivs_pattern_find_box(pattern, number);

	draw_bars(pattern, out);
	draw_number(pattern, out, number);
	fill(pattern, out, box.x, box.x + box.len, box.y, box.y + box.len, WHITE);
}
