/* SPDX-License-Identifier: BSD-3-Clause */
/* Dropping privileges permanently: root directory, user, capabilities. */
#ifndef IVS_DAEMON_PRIVILEGES_H
#define IVS_DAEMON_PRIVILEGES_H

#include <stdbool.h>
#include <sys/types.h>

#include "ivshmem/api.h"

enum ivs_privileges_error {
	IVS_PRIVILEGES_E_USER = 1, /* no user has that name or number */
};

/**
 * ivs_privileges_find_user() - look up a user by name or number
 * @out: set to the user id
 *
 * Return: 0 or IVS_PRIVILEGES_E_USER.
 */
IVS_MUST_USE int ivs_privileges_find_user(const char *user, uid_t *out, struct ivs_error *err);

/**
 * ivs_privileges_drop() - drop all privileges
 * @root: new root and working directory; NULL: no change
 * @user: name or number of the user to become, with its groups; NULL: no change
 *
 * All capabilities are dropped (if permitted, also from the bounding set), and PR_SET_NO_NEW_PRIVS
 * is set, so that execve(2) does not restore any capability.
 *
 * Return: 0, IVS_PRIVILEGES_E_USER, -errno; if not 0, some privileges may have been dropped.
 */
IVS_MUST_USE int ivs_privileges_drop(const char *root, const char *user, struct ivs_error *err);

/**
 * ivs_privileges_raise_files() - raise the soft limit on open files, which also limits the fds in
 * flight, to the hard limit
 */
void ivs_privileges_raise_files(void);

/**
 * ivs_privileges_may_remove() - check that @path can be unlinked with the current privileges
 *
 * Return: 0; -errno. -ENOENT: @path does not exist, perhaps because it is outside the new root.
 */
IVS_MUST_USE int ivs_privileges_may_remove(const char *path);

#endif
