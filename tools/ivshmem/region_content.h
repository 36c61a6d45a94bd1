/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The content of a region: which parts may differ from zero, and overwriting it. Zeroes are never
 * written where there are zeroes already, so holes and reserved memory stay as they are.
 *
 * The region is read with pread(2) and written through a mapping: hugetlbfs does not support
 * pwrite(2), and pwrite(2) waits for a lock that any user of the file can hold.
 */
#ifndef TOOLS_IVSHMEM_REGION_CONTENT_H
#define TOOLS_IVSHMEM_REGION_CONTENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ivshmem/api.h"

#define CONTENT_STEP (1u << 20) /* the most that is read at a time */

enum content_error {
	CONTENT_E_SHRUNK = 1, /* a process has truncated the file */
	CONTENT_E_FULL,	      /* no memory for a part that is a hole */
};

/**
 * struct content - a region that is being overwritten
 * @memory:  the whole region, mapped
 * @sparse:  parts of the region may have no memory
 * @scratch: CONTENT_STEP bytes
 */
struct content {
	int fd;
	uint64_t size;
	uint8_t *memory;
	bool sparse;
	uint8_t *scratch;
};

/** content_roster_len() - the length of the server's roster at the end of the region, or 0 */
uint64_t content_roster_len(int fd, uint64_t size);

/** content_read() - read exactly @len bytes. Return: 0, CONTENT_E_SHRUNK, -errno. */
IVS_MUST_USE int content_read(int fd, uint64_t offset, uint8_t *out, size_t len);

/**
 * content_next() - the first offset at or after @at that may contain a byte other than zero, or
 * @end
 */
uint64_t content_next(int fd, uint64_t at, uint64_t end);

/** content_open() - map the region, to be closed with content_close(). Return: 0 or -errno. */
IVS_MUST_USE int content_open(int fd, uint64_t size, struct content *out);

void content_close(struct content *content);

/** content_need() - how much memory has to be added to write these bytes to @offset */
uint64_t content_need(const struct content *content, uint64_t offset, const uint8_t *bytes,
		      size_t len);

/**
 * content_put() - write bytes; call guard_start() first
 *
 * Return: 0, CONTENT_E_*, -errno.
 */
IVS_MUST_USE int content_put(struct content *content, uint64_t offset, const uint8_t *bytes,
			     size_t len);

/** content_clear() - fill with zeroes from @from to @to. Return: the same as content_put(). */
IVS_MUST_USE int content_clear(struct content *content, uint64_t from, uint64_t to);

#endif
