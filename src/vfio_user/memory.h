/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The content of BAR 2, for clients that do not map it. Untrusted processes have the file too, and
 * may truncate it or punch holes at any time: nothing here can raise SIGBUS.
 */
#ifndef IVS_VFIO_USER_MEMORY_H
#define IVS_VFIO_USER_MEMORY_H

#include <stddef.h>

#include "vfio_user/options.h"

/**
 * struct ivs_vfu_memory - a window of a file
 * @len:     bytes of the window
 * @map:     the mapped window, or NULL
 * @is_safe: pages of @map cannot be lost, so it may be accessed
 */
struct ivs_vfu_memory {
	struct ivs_vfio_user_memory file;
	uint64_t len;
	uint8_t *map;
	bool is_safe;
};

/** ivs_vfu_memory_open() - @file->fd stays the caller's, and may be -1: no memory */
void ivs_vfu_memory_open(struct ivs_vfu_memory *memory, const struct ivs_vfio_user_memory *file,
			 uint64_t len);

void ivs_vfu_memory_close(struct ivs_vfu_memory *memory);

/**
 * ivs_vfu_memory_read() - @len bytes at @offset, which must be within the window
 *
 * Aligned reads of 1, 2, 4 or 8 bytes do not tear. Such writes do not either if the file cannot be
 * truncated (F_SEAL_SHRINK); otherwise that is up to the kernel.
 *
 * Return: how many bytes exist: less than @len without a file, and beyond the end of one that was
 * truncated. The others read as all ones, as an access that no device claims.
 */
size_t ivs_vfu_memory_read(struct ivs_vfu_memory *memory, uint64_t offset, uint8_t *out,
			   size_t len);

/**
 * ivs_vfu_memory_write() - @len bytes at @offset, which must be within the window
 *
 * Return: whether all bytes were written; false if the memory is read-only or missing.
 */
bool ivs_vfu_memory_write(struct ivs_vfu_memory *memory, uint64_t offset, const uint8_t *in,
			  size_t len);

#endif
