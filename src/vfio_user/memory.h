/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Accesses the content of BAR 2 for clients that do not map it. Untrusted processes can truncate
 * the file or punch holes in it at any time; even then, no function raises SIGBUS.
 */
#ifndef IVS_VFIO_USER_MEMORY_H
#define IVS_VFIO_USER_MEMORY_H

#include <stddef.h>

#include "vfio_user/options.h"

/**
 * struct ivs_vfu_memory - a window of a file
 * @len:     length of the window in bytes
 * @map:     the mapped window, or NULL
 * @is_memory: the file is a memfd, or on tmpfs or hugetlbfs
 * @is_safe: pages of @map cannot be lost, so it may be accessed
 */
struct ivs_vfu_memory {
	struct ivs_vfio_user_memory file;
	uint64_t len;
	uint8_t *map;
	bool is_memory;
	bool is_safe;
};

/**
 * ivs_vfu_memory_open() - use @file, whose fd the caller keeps open; an fd of -1 means that there
 * is no memory
 */
void ivs_vfu_memory_open(struct ivs_vfu_memory *memory, const struct ivs_vfio_user_memory *file,
			 uint64_t len);

void ivs_vfu_memory_close(struct ivs_vfu_memory *memory);

/**
 * ivs_vfu_memory_read() - read @len bytes at @offset, which must be within the window
 *
 * Aligned reads of 1, 2, 4 or 8 bytes do not tear. Aligned writes of these lengths do not tear if
 * the file is sealed against shrinking and has no huge pages; otherwise they may tear.
 *
 * Return: the number of bytes that exist, which is less than @len if there is no file or the file
 * has been truncated. The other bytes are set to all ones, as for a read that no device claims.
 */
size_t ivs_vfu_memory_read(struct ivs_vfu_memory *memory, uint64_t offset, uint8_t *out,
			   size_t len);

/**
 * ivs_vfu_memory_write() - write @len bytes at @offset, which must be within the window
 *
 * Return: whether all bytes were written; false if the memory is read-only or missing.
 */
bool ivs_vfu_memory_write(struct ivs_vfu_memory *memory, uint64_t offset, const uint8_t *in,
			  size_t len);

#endif
