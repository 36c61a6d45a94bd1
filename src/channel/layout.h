/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The layout header at the start of a region with channels: how many sections there are, and where
 * (C-1 to C-3 in PROTOCOL.md). It is written once, when the region is prepared, and copied when a
 * peer opens the channels. Pure.
 */
#ifndef IVS_CHANNEL_LAYOUT_H
#define IVS_CHANNEL_LAYOUT_H

#include <stdint.h>

#include "ivshmem/api.h"

#define IVS_CHANNEL_LAYOUT_LETTERS "IVSCHANL"
#define IVS_CHANNEL_LAYOUT_VERSION 1
#define IVS_CHANNEL_LAYOUT_LEN 4096u
#define IVS_CHANNEL_SECTIONS_MIN 2
#define IVS_CHANNEL_SECTIONS_MAX 4096
#define IVS_CHANNEL_SECTION_LEN_MIN 32768u

enum ivs_channel_layout_error {
	IVS_CHANNEL_LAYOUT_E_EMPTY = 1,	 /* the header consists of zeroes */
	IVS_CHANNEL_LAYOUT_E_UNFINISHED, /* a peer is writing the header, or died while it did */
	IVS_CHANNEL_LAYOUT_E_FOREIGN,	 /* the region has other content */
	IVS_CHANNEL_LAYOUT_E_VERSION,	 /* another version of the layout */
	IVS_CHANNEL_LAYOUT_E_DAMAGED,	 /* the numbers in the header are impossible */
	IVS_CHANNEL_LAYOUT_E_SIZE,	 /* the region is too small for so many sections */
};

/**
 * struct ivs_channel_layout - the layout header
 * @version:     version of the layout
 * @sections_n:  number of sections, IVS_CHANNEL_SECTIONS_MIN to IVS_CHANNEL_SECTIONS_MAX
 * @section_len: length of each section in bytes, a multiple of 4096
 * @sections_at: offset of the first section, a multiple of 4096
 */
struct ivs_channel_layout {
	uint32_t version;
	uint32_t sections_n;
	uint64_t section_len;
	uint64_t sections_at;
};

/**
 * ivs_channel_layout_make() - divide @len bytes into sections
 * @sections_n: 0: a number that depends on @len only
 *
 * Return: 0, IVS_CHANNEL_LAYOUT_E_SIZE.
 */
IVS_MUST_USE int ivs_channel_layout_make(uint64_t len, uint32_t sections_n,
					 struct ivs_channel_layout *out);

/**
 * ivs_channel_layout_write() - write the header to a region that starts with zeroes
 *
 * The letters are written last. Peers that write the same layout at the same time do not disturb
 * each other.
 */
void ivs_channel_layout_write(void *memory, const struct ivs_channel_layout *layout);

/**
 * ivs_channel_layout_read() - copy and check the header
 * @len: length of the region up to its roster page
 * @out: set if 0 is returned; with IVS_CHANNEL_LAYOUT_E_VERSION, only @version is set
 *
 * Return: 0, IVS_CHANNEL_LAYOUT_E_EMPTY, _UNFINISHED, _FOREIGN, _VERSION, _DAMAGED.
 */
IVS_MUST_USE int ivs_channel_layout_read(const void *memory, uint64_t len,
					 struct ivs_channel_layout *out);

#endif
