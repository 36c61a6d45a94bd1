/* SPDX-License-Identifier: BSD-3-Clause */
/* Image files: reading one, and writing one that replaces an older one once it is complete. */
#ifndef TOOLS_IVSHMEM_IMAGE_FILE_H
#define TOOLS_IVSHMEM_IMAGE_FILE_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "image/reader.h"
#include "tools/ivshmem/region_place.h"

/**
 * struct image_out - an image that is being written
 * @fd:     the file, which has no name until it is complete
 * @temp:   its name, if the file system does not support files without a name; otherwise ""
 * @len:    number of bytes so far
 * @before: signals that were blocked before; valid if @temp is set
 */
struct image_out {
	struct place place;
	int fd;
	char temp[40];
	uint64_t len;
	sigset_t before;
};

#define IMAGE_OUT_INIT                                                                             \
	{                                                                                          \
		.place = PLACE_INIT, .fd = -1                                                      \
	}

/**
 * image_out_open() - begin to write an image
 * @file:   path of the file. Of the existing files, only an older image or an empty file is
 *          replaced
 * @region: the region, which must not be the same file
 *
 * Until image_out_finish(), an older image stays as it is, and if this process ends, nothing is
 * left behind.
 *
 * Return: 0, or an exit status after printing the reason.
 */
int image_out_open(struct image_out *out, const char *file, const struct stat *region);

/** image_out_write() - append bytes. Return: 0, or an exit status after printing the reason. */
int image_out_write(struct image_out *out, const uint8_t *bytes, size_t len);

/**
 * image_out_finish() - have the disk store the file, and give the file its name
 *
 * Return: 0, or an exit status after printing the reason.
 */
int image_out_finish(struct image_out *out);

/** image_out_close() - close the file; an unfinished file is discarded */
void image_out_close(struct image_out *out);

/**
 * struct image_in - an image that is being read
 * @reader: what has been read so far
 * @piece:  the current piece, with room for @room bytes
 */
struct image_in {
	struct place place;
	int fd;
	struct ivs_image_reader *reader;
	uint8_t *piece;
	size_t room;
};

#define IMAGE_IN_INIT                                                                              \
	{                                                                                          \
		.place = PLACE_INIT, .fd = -1                                                      \
	}

/**
 * image_in_open() - open an image, and read its header
 *
 * Return: 0, or an exit status after printing the reason.
 */
int image_in_open(struct image_in *in, const char *file);

/** image_in_rewind() - read the header again, with a new reader. Return: as image_in_open(). */
int image_in_rewind(struct image_in *in);

/**
 * image_in_next() - read the next chunk that has content
 * @out: set to the chunk; its len is 0 if the image is complete
 *
 * Return: as image_in_open().
 */
int image_in_next(struct image_in *in, struct ivs_image_chunk *out);

void image_in_close(struct image_in *in);

#endif
