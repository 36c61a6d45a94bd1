/* SPDX-License-Identifier: BSD-3-Clause */
/* The size of the region that Looking Glass needs. */
#ifndef IVS_LOOKING_GLASS_SIZE_H
#define IVS_LOOKING_GLASS_SIZE_H

#include <stdbool.h>
#include <stdint.h>

#include "ivshmem/api.h"

#define IVS_LOOKING_GLASS_SIDE_MAX 16384

enum ivs_looking_glass_release {
	IVS_LOOKING_GLASS_B7,
	IVS_LOOKING_GLASS_IDD, /* in development (2026); has a display driver for guests */
};

enum ivs_looking_glass_error {
	IVS_LOOKING_GLASS_E_FORMAT = 1, /* the text does not have the form WIDTHxHEIGHT */
	IVS_LOOKING_GLASS_E_ZERO,	/* width or height is 0 */
	IVS_LOOKING_GLASS_E_HUGE,	/* width or height is above IVS_LOOKING_GLASS_SIDE_MAX */
	IVS_LOOKING_GLASS_E_CLIENT,	/* the client cannot map a region of 2 GiB or more */
};

/**
 * struct ivs_looking_glass_mode - the picture that is shown
 * @hdr: whether it has a high dynamic range
 */
struct ivs_looking_glass_mode {
	uint32_t width;
	uint32_t height;
	bool hdr;
	enum ivs_looking_glass_release release;
};

/**
 * ivs_looking_glass_parse() - parse a resolution: "3840x2160"
 *
 * Return: 0, IVS_LOOKING_GLASS_E_*. On failure @out is unchanged.
 */
IVS_MUST_USE int ivs_looking_glass_parse(const char *text, struct ivs_looking_glass_mode *out);

/**
 * ivs_looking_glass_size() - the size of the region in bytes, using the release's formula
 *
 * Return: 0, IVS_LOOKING_GLASS_E_ZERO, _HUGE, _CLIENT.
 */
IVS_MUST_USE int ivs_looking_glass_size(const struct ivs_looking_glass_mode *mode, uint64_t *out);

#endif
