/* SPDX-License-Identifier: BSD-3-Clause */
/* Dropping privileges for good: root directory, user, capabilities. */
#ifndef IVS_DAEMON_PRIVILEGES_H
#define IVS_DAEMON_PRIVILEGES_H

#include <stdbool.h>
#include <sys/types.h>

#include "ivshmem/api.h"

enum ivs_privileges_error {
	IVS_PRIVILEGES_E_USER = 1, /* there is no user of that name or number */
};

/**
 * ivs_privileges_find_user() - the user id of a name, or of the number of an existing user
 *
 * Return: 0 or IVS_PRIVILEGES_E_USER.
 */
IVS_MUST_USE int ivs_privileges_find_user(const char *user, uid_t *out, struct ivs_error *err);

/**
 * ivs_privileges_drop() - drop all privileges
 * @root: new root and working directory; NULL: no change
 * @user: name or number of the user to become, with its groups; NULL: no change
 *
 * Drops all capabilities, also from the bounding set if permitted, and sets PR_SET_NO_NEW_PRIVS, so
 * that execve(2) does not bring any back.
 *
 * Return: 0, IVS_PRIVILEGES_E_USER, -errno; if not 0, some of this may have been done.
 */
IVS_MUST_USE int ivs_privileges_drop(const char *root, const char *user, struct ivs_error *err);

/**
 * ivs_privileges_raise_files() - raise the soft limit of open files, and fds in flight, to the hard
 * one
 */
void ivs_privileges_raise_files(void);

/**
 * ivs_privileges_may_remove() - check that this process, as it is now, can unlink @path
 *
 * Return: 0, or -errno that says why not; -ENOENT: it is not visible from here.
 */
IVS_MUST_USE int ivs_privileges_may_remove(const char *path);

#endif
