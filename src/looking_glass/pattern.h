/* SPDX-License-Identifier: BSD-3-Clause */
/* A moving test pattern: colour bars, a white box that moves, and the number of the frame. Pure. */
#ifndef IVS_LOOKING_GLASS_PATTERN_H
#define IVS_LOOKING_GLASS_PATTERN_H

#include <stddef.h>
#include <stdint.h>

#define IVS_PATTERN_BARS_N 8
#define IVS_PATTERN_MIN 64 /* minimum width and height in pixels */
#define IVS_PATTERN_MAX 16384

/** struct ivs_pattern - a picture; a pixel is a 32-bit number, 0xRRGGBB (in bytes: B, G, R, 0) */
struct ivs_pattern {
	uint32_t width;
	uint32_t height;
	uint32_t stride; /* pixels per row in memory; at least @width */
};

/** struct ivs_pattern_box - position of the box in a frame, in pixels */
struct ivs_pattern_box {
	uint32_t x;
	uint32_t y;
	uint32_t len;
};

/** ivs_pattern_colour() - the colour of a bar, 0xRRGGBB */
uint32_t ivs_pattern_colour(unsigned int bar);

/** ivs_pattern_find_box() - find the position of the box in frame @number */
struct ivs_pattern_box ivs_pattern_find_box(const struct ivs_pattern *pattern, uint64_t number);

/**
 * ivs_pattern_draw() - draw frame @number
 * @out: height * stride pixels; only written, never read, because other processes may also write
 *       there
 */
void ivs_pattern_draw(const struct ivs_pattern *pattern, uint64_t number, uint32_t *out);

#endif
