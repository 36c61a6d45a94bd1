/* SPDX-License-Identifier: BSD-3-Clause */
/* Facts about an open file that the kernel knows without a request to the file system. */
#ifndef IVS_BASE_STATX_H
#define IVS_BASE_STATX_H

#include <fcntl.h>
#include <linux/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef AT_EMPTY_PATH
#define AT_EMPTY_PATH 0x1000
#endif
#ifndef AT_NO_AUTOMOUNT
#define AT_NO_AUTOMOUNT 0x800
#endif
#ifndef AT_STATX_DONT_SYNC
#define AT_STATX_DONT_SYNC 0x4000
#endif

/**
 * ivs_statx() - statx(2) of an fd
 * @mask: the facts that are wanted (STATX_*)
 * @out:  its stx_mask shows which facts are known
 *
 * The function makes the system call directly, because libc's wrapper may fall back to fstat(2),
 * which sends a request to the file system.
 *
 * Return: 0, or -1 with errno.
 */
static inline int ivs_statx(int fd, unsigned int mask, struct statx *out)
{
	return (int)syscall(SYS_statx, fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, mask, out);
}

/**
 * ivs_statx_at() - like ivs_statx(), but for @path in the directory @dir_fd
 * @flags: AT_SYMLINK_NOFOLLOW or 0
 *
 * Looking up a path sends requests to the file systems on it. Looking up a link in /proc/PID/fd
 * involves only procfs.
 */
static inline int ivs_statx_at(int dir_fd, const char *path, int flags, unsigned int mask,
			       struct statx *out)
{
	return (int)syscall(SYS_statx, dir_fd, path, flags | AT_NO_AUTOMOUNT | AT_STATX_DONT_SYNC,
			    mask, out);
}

#endif
