/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Opening a directory through a path of which other users control a part.
 *
 * A user can put a symbolic link into a directory of its own, and replace directories there. If
 * root follows them, root works in a directory of that user's choice. So each part of the path is
 * opened by itself, and only trusted links are followed. The caller then uses the open directory,
 * and does not resolve the path again.
 */
#ifndef IVS_BASE_DIRECTORY_H
#define IVS_BASE_DIRECTORY_H

#include <limits.h>

#include "ivshmem/api.h"

enum ivs_directory_error {
	IVS_DIRECTORY_E_UNSAFE = 1, /* another user controls which directory the path leads to */
};

/**
 * struct ivs_directory - an open directory
 * @fd:   for openat(2) and fstat(2) only (O_PATH); -1: none
 * @path: its path without symbolic links. If the directory does not exist: the links that exist
 *        have been resolved
 */
struct ivs_directory {
	int fd;
	char path[PATH_MAX];
};

/**
 * ivs_directory_open() - open the directory at the absolute @path
 *
 * A symbolic link is followed if it and the directory that contains it belong to root or to the
 * user of this process. For root, too, what is in a directory of another user must belong to that
 * user.
 *
 * Return: 0, IVS_DIRECTORY_E_UNSAFE, -errno (-ENOENT, -ENOTDIR and -EACCES, as of open(2), too).
 */
IVS_MUST_USE int ivs_directory_open(const char *path, struct ivs_directory *out,
				    struct ivs_error *err);

#endif
