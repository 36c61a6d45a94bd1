/* SPDX-License-Identifier: BSD-3-Clause */
/* Confining the helper processes that close fds (daemon/closer.h). */
#ifndef TOOLS_SHARED_CONFINE_CLOSER_H
#define TOOLS_SHARED_CONFINE_CLOSER_H

#include <stdbool.h>

/**
 * struct closer_confinement - how to confine the helper processes: in the same way as the program
 * @root:   new root directory; NULL: no change
 * @user:   user to become; NULL: no change
 * @filter: whether to load a system call filter, if this build has one
 */
struct closer_confinement {
	const char *root;
	const char *user;
	bool filter;
};

/** confine_closer() - the @confine of ivs_closer_open(); @context: a struct closer_confinement */
int confine_closer(const void *context);

#endif
