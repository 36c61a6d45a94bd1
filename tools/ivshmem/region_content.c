/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/ivshmem/region_content.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image/format.h"
#include "roster_page/format.h"
#include "tools/shared/guard.h"

#define BLOCK 4096u /* either written or left unchanged as a whole */
#define STAT_BLOCK 512
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

uint64_t content_roster_len(int fd, uint64_t size)
{
	struct ivs_roster_page_header header;
	uint8_t bytes[IVS_ROSTER_PAGE_HEADER_LEN];

	if (size < IVS_ROSTER_PAGE_LEN ||
	    content_read(fd, size - IVS_ROSTER_PAGE_LEN, bytes, sizeof(bytes)) ||
	    ivs_roster_page_get_header(bytes, size, &header))
		return 0;
	return header.reserved_len;
}

int content_read(int fd, uint64_t offset, uint8_t *out, size_t len)
{
	while (len) {
		ssize_t n = pread(fd, out, len, (off_t)offset);

		if (!n)
			return CONTENT_E_SHRUNK;
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0) {
			out += n;
			offset += (uint64_t)n;
			len -= (size_t)n;
		}
	}
	return 0;
}

uint64_t content_next(int fd, uint64_t at, uint64_t end)
{
	off_t found = at < end ? lseek(fd, (off_t)at, SEEK_DATA) : -1;

	if (found < 0) /* ENXIO: only holes follow. Other errors: the file system cannot tell. */
		return at < end && errno != ENXIO ? at : end;
	return (uint64_t)found < end ? (uint64_t)found : end;
}

int content_open(int fd, uint64_t size, struct content *out)
{
	struct stat st;
	void *memory;

	if (fstat(fd, &st))
		return -errno;
	memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (memory == MAP_FAILED)
		return -errno;
	*out = (struct content){
		.fd = fd,
		.size = size,
		.memory = memory,
		.sparse = (uint64_t)st.st_blocks * STAT_BLOCK < size,
		.scratch = malloc(CONTENT_STEP),
	};
	if (out->scratch)
		return 0;
	content_close(out);
	return -ENOMEM;
}

void content_close(struct content *content)
{
	if (content->memory)
		munmap(content->memory, content->size);
	free(content->scratch);
	*content = (struct content){.fd = -1};
}

/*
 * Find the next run of blocks, at or after *at, that each contain a byte other than zero.
 * Return: its length, with its offset in *at; 0 if there is none.
 */
static size_t run_find(const uint8_t *bytes, size_t len, size_t *at)
{
	size_t end;

	for (; *at < len; *at += BLOCK) {
		if (!ivs_image_is_zero(bytes + *at, len - *at < BLOCK ? len - *at : BLOCK))
			break;
	}
	for (end = *at; end < len; end += BLOCK) {
		if (ivs_image_is_zero(bytes + end, len - end < BLOCK ? len - end : BLOCK))
			break;
	}
	return *at < len ? (end < len ? end : len) - *at : 0;
}

/* Return: how much of the range has no data, and so may need memory. */
static uint64_t hole_len(int fd, uint64_t from, uint64_t to)
{
	uint64_t len = 0;

	while (from < to) {
		uint64_t data = content_next(fd, from, to);
		off_t hole = data < to ? lseek(fd, (off_t)data, SEEK_HOLE) : -1;

		len += data - from;
		from = hole < 0 ? to : (uint64_t)hole;
	}
	return len;
}

uint64_t content_need(const struct content *content, uint64_t offset, const uint8_t *bytes,
		      size_t len)
{
	uint64_t need = 0;
	size_t at = 0;
	size_t n;

	if (!content->sparse)
		return 0;
	while ((n = run_find(bytes, len, &at))) {
		need += hole_len(content->fd, offset + at, offset + at + n);
		at += n;
	}
	return need;
}

/* A page could not be accessed. Return: why. */
static int page_lost(const struct content *content)
{
	struct stat st;

	if (!fstat(content->fd, &st) && (uint64_t)st.st_size < content->size)
		return CONTENT_E_SHRUNK;
	return CONTENT_E_FULL;
}

/*
 * Add memory to a range. Where the file system does not support that, a shortage only shows when
 * the range is written.
 */
static int range_reserve(const struct content *content, uint64_t offset, size_t len)
{
	int result;

	if (!content->sparse)
		return 0;
	do
		result = fallocate(content->fd, FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)len);
	while (result && errno == EINTR);
	return result && (errno == ENOSPC || errno == EDQUOT) ? CONTENT_E_FULL : 0;
}

/* Write the blocks that are not zeroes, and find out whether there are any other blocks. */
static int put_runs(struct content *content, uint64_t offset, const uint8_t *bytes, size_t len,
		    bool *zeroes)
{
	size_t done = 0;
	size_t at = 0;
	size_t n;

	while ((n = run_find(bytes, len, &at))) {
		uint8_t *to = content->memory + offset + at;
		int result = range_reserve(content, offset + at, n);

		if (result)
			return result;
		/* One call instead of a fault for each page. If it fails, the faults show why. */
		(void)madvise(to, n, MADV_POPULATE_WRITE);
		if (!GUARDED(memcpy(to, bytes + at, n)))
			return page_lost(content);
		at += n;
		done += n;
	}
	*zeroes = done < len;
	return 0;
}

/*
 * Fill with zeroes the blocks that are not zeroes now, except those that are not zeroes in @keep.
 */
static int clear_step(struct content *content, uint64_t offset, size_t len, const uint8_t *keep)
{
	int result = content_read(content->fd, offset, content->scratch, len);

	for (size_t at = 0; at < len && !result; at += BLOCK) {
		size_t n = len - at < BLOCK ? len - at : BLOCK;
		uint8_t *to = content->memory + offset + at;

		if (ivs_image_is_zero(content->scratch + at, n) ||
		    (keep && !ivs_image_is_zero(keep + at, n)))
			continue;
		if (!GUARDED(memset(to, 0, n)))
			result = page_lost(content);
	}
	return result;
}

int content_put(struct content *content, uint64_t offset, const uint8_t *bytes, size_t len)
{
	bool zeroes = false;
	int result = put_runs(content, offset, bytes, len, &zeroes);

	for (size_t at = 0; at < len && zeroes && !result; at += CONTENT_STEP) {
		size_t n = len - at < CONTENT_STEP ? len - at : CONTENT_STEP;

		result = clear_step(content, offset + at, n, bytes + at);
	}
	return result;
}

int content_clear(struct content *content, uint64_t from, uint64_t to)
{
	int result = 0;

	while (!result && (from = content_next(content->fd, from, to)) < to) {
		size_t n = to - from < CONTENT_STEP ? (size_t)(to - from) : CONTENT_STEP;

		result = clear_step(content, from, n, NULL);
		from += n;
	}
	return result;
}
