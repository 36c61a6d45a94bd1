/* SPDX-License-Identifier: BSD-3-Clause */
/* Ownership of fds: a variable that owns an fd is -1 while it owns none. */
#ifndef IVS_BASE_FD_H
#define IVS_BASE_FD_H

#include <errno.h>
#include <unistd.h>

#include "base/syscalls.h"

extern const struct ivs_syscall ivs_fd_syscalls[];

/** IVS_OWNED_FD - a local variable whose fd is closed when it goes out of scope */
#define IVS_OWNED_FD __attribute__((cleanup(ivs_fd_close))) int

/** ivs_fd_close() - close the fd, if any, and preserve errno */
static inline void ivs_fd_close(int *fd)
{
	int saved = errno;

	if (*fd >= 0)
		close(*fd);
	*fd = -1;
	errno = saved;
}

/**
 * ivs_fd_fill_standard() - open /dev/null as each of fds 0 to 2 that is closed
 *
 * Call this before any file is opened. Otherwise a file could get one of these numbers, and output
 * would be written to that file: into the region, for example.
 *
 * Return: 0 or -errno.
 */
__attribute__((warn_unused_result)) int ivs_fd_fill_standard(void);

/** ivs_fd_take() - move ownership to the caller. Return: the fd. */
static inline int ivs_fd_take(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

#endif
