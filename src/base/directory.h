/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Opening a directory through a path that is partly controlled by other users.
 *
 * Users can put symbolic links into their own directories, and replace directories there. If root
 * followed them, root would work in a directory of that user's choice. So each component of the
 * path is opened separately, and only trusted links are followed. The caller then uses the open
 * directory, and does not resolve the path again.
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
 * @path: its path without symbolic links; if the directory does not exist, only the links that do
 *        exist have been resolved
 */
struct ivs_directory {
	int fd;
	char path[PATH_MAX];
};

/**
 * ivs_directory_open() - open the directory at the absolute @path
 *
 * A symbolic link is followed if it and the directory that contains it belong to root or to the
 * user of this process. If this process runs as root, whatever is in another user's directory must
 * also belong to that user.
 *
 * Return: 0, IVS_DIRECTORY_E_UNSAFE, -errno (including -ENOENT, -ENOTDIR and -EACCES, as from
 * open(2)).
 */
IVS_MUST_USE int ivs_directory_open(const char *path, struct ivs_directory *out,
				    struct ivs_error *err);

#endif
