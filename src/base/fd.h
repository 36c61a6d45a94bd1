/* SPDX-License-Identifier: BSD-3-Clause */
/* Who owns an fd: a variable that is -1 when it owns none. */
#ifndef IVS_BASE_FD_H
#define IVS_BASE_FD_H

#include <errno.h>
#include <unistd.h>

#include "base/syscalls.h"

extern const struct ivs_syscall ivs_fd_syscalls[];

/** IVS_OWNED_FD - a local that closes what it owns when it goes out of scope */
#define IVS_OWNED_FD __attribute__((cleanup(ivs_fd_close))) int

/** ivs_fd_close() - close if it owns one; errno is kept */
static inline void ivs_fd_close(int *fd)
{
	int saved = errno;

	if (*fd >= 0)
		close(*fd);
	*fd = -1;
	errno = saved;
}

/**
 * ivs_fd_fill_standard() - have fds 0 to 2, if only of /dev/null; the first thing a program does
 *
 * Else, started with one of them closed, the next thing opened gets its number, and what is printed
 * goes there: into the shared memory, for instance.
 *
 * Return: 0 or -errno.
 */
__attribute__((warn_unused_result)) int ivs_fd_fill_standard(void);

/** ivs_fd_take() - the fd, which now is the caller's */
static inline int ivs_fd_take(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

#endif
