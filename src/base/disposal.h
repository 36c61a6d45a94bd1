/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Closing fds that an untrusted process has sent. close(2) of such an fd may block, so a program
 * that must not block supplies a function that closes the fds.
 */
#ifndef IVS_BASE_DISPOSAL_H
#define IVS_BASE_DISPOSAL_H

#include "base/fd.h"

/**
 * struct ivs_disposal - how to close fds
 * @take: close @fd, now or later, and set it to -1; never blocks
 */
struct ivs_disposal {
	void (*take)(struct ivs_disposal *disposal, int *fd);
};

/** ivs_dispose() - close the fd, if any, with @disposal (NULL: with close(2)); preserves errno */
static inline void ivs_dispose(struct ivs_disposal *disposal, int *fd)
{
	int saved = errno;

	if (*fd >= 0 && disposal)
		disposal->take(disposal, fd);
	else
		ivs_fd_close(fd);
	errno = saved;
}

#endif
