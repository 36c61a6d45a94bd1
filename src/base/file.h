/* SPDX-License-Identifier: BSD-3-Clause */
/* Comparing and locking files. */
#ifndef IVS_BASE_FILE_H
#define IVS_BASE_FILE_H

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/stat.h>

#include "ivshmem/api.h"

enum ivs_file_error {
	IVS_FILE_E_BUSY = 1, /* another process held the lock for 5 s */
};

/** ivs_stat_same() - whether @a and @b describe the same file */
static inline bool ivs_stat_same(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/**
 * ivs_name_is() - check that @name in the directory @dir_fd (or AT_FDCWD), which may itself be a
 * symbolic link, still names @file
 *
 * Return: 1, 0 (also if @name does not exist) or -errno.
 */
IVS_MUST_USE static inline int ivs_name_is(int dir_fd, const char *name, const struct stat *file)
{
	struct stat st;

	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW))
		return errno == ENOENT ? 0 : -errno;
	return ivs_stat_same(&st, file);
}

/** ivs_path_is() - like ivs_name_is(), for a path */
IVS_MUST_USE static inline int ivs_path_is(const char *path, const struct stat *file)
{
	return ivs_name_is(AT_FDCWD, path, file);
}

/** ivs_name_is_fd() - like ivs_name_is(), for the file that is open as @fd */
IVS_MUST_USE static inline int ivs_name_is_fd(int dir_fd, const char *name, int fd)
{
	struct stat st;

	return fstat(fd, &st) ? -errno : ivs_name_is(dir_fd, name, &st);
}

/**
 * ivs_path_is_fd() - check that @path still names the file that is open as @fd
 *
 * Return: 1, 0 (also if @path does not exist) or -errno.
 */
IVS_MUST_USE static inline int ivs_path_is_fd(const char *path, int fd)
{
	struct stat st;

	return fstat(fd, &st) ? -errno : ivs_path_is(path, &st);
}

/** ivs_file_kind() - name the kind of file that @mode (st_mode) describes: "a directory", ... */
const char *ivs_file_kind(mode_t mode);

/**
 * ivs_file_lock() - flock(2), but wait at most 5 s
 * @kind:          LOCK_SH or LOCK_EX
 * @interruptible: whether SIGINT, SIGTERM, SIGHUP or SIGQUIT ends the wait if it is blocked and
 *                 pending
 *
 * Return: 0, IVS_FILE_E_BUSY, -errno (-EINTR after such a signal).
 */
IVS_MUST_USE int ivs_file_lock(int fd, int kind, bool interruptible);

#endif
