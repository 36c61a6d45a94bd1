/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The content of BAR 2, for who does not have it mapped. Strangers have the file, too, and may
 * truncate it or punch holes at any time: nothing here can raise SIGBUS.
 */
#ifndef IVS_VFIO_USER_MEMORY_H
#define IVS_VFIO_USER_MEMORY_H

#include "vfio_user/session.h"

/**
 * struct ivs_vfu_memory - a window of a file
 * @len:    of the window
 * @map:    the window, or NULL
 * @is_safe: what is in @map cannot go away: it may be touched
 */
struct ivs_vfu_memory {
	struct ivs_vfio_user_memory file;
	uint64_t len;
	uint8_t *map;
	bool is_safe;
};

/** ivs_vfu_memory_open() - @memory->fd may be -1: none; the fd stays the caller's */
void ivs_vfu_memory_open(struct ivs_vfu_memory *memory, const struct ivs_vfio_user_memory *file,
			 uint64_t len);

void ivs_vfu_memory_close(struct ivs_vfu_memory *memory);

/**
 * ivs_vfu_memory_read() - @len bytes at @offset, which are within the window
 *
 * An aligned access of 1, 2, 4 or 8 bytes does not tear, nor does such a write where the file cannot
 * be truncated (F_SEAL_SHRINK); else a write is as whole as the kernel makes it.
 *
 * Return: how many of them there are: less than @len beyond the end of a file that was truncated, or
 * without one. The rest is all ones, as what answers where nothing is.
 */
size_t ivs_vfu_memory_read(struct ivs_vfu_memory *memory, uint64_t offset, uint8_t *out,
			   size_t len);

/**
 * ivs_vfu_memory_write() - likewise
 *
 * Return: whether all of it was written; not if it is read-only, or there is none.
 */
bool ivs_vfu_memory_write(struct ivs_vfu_memory *memory, uint64_t offset, const uint8_t *in,
			  size_t len);

#endif
