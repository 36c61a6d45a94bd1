/* SPDX-License-Identifier: BSD-3-Clause */
/* What a process may do, given up for good: the file system, its user, all capabilities. */
#ifndef IVS_DAEMON_PRIVILEGES_H
#define IVS_DAEMON_PRIVILEGES_H

#include <stdbool.h>
#include <sys/types.h>

#include "ivshmem/api.h"

enum ivs_privileges_error {
	IVS_PRIVILEGES_E_USER = 1, /* there is no such user */
};

/**
 * ivs_privileges_find_user() - the user id of a name, or of the number of an existing user
 *
 * Return: 0 or IVS_PRIVILEGES_E_USER.
 */
IVS_MUST_USE int ivs_privileges_find_user(const char *user, uid_t *out, struct ivs_error *err);

/**
 * ivs_privileges_drop() - give up what is not needed; there is no way back
 * @root: directory that is to be the root, and the working directory; NULL: no change
 * @user: name or number of the user to become, with its groups; NULL: no change
 *
 * Then all capabilities are dropped, from the bounding set too if that is allowed, and
 * PR_SET_NO_NEW_PRIVS is set, so that no execve(2) brings any back.
 *
 * Return: 0, IVS_PRIVILEGES_E_USER, -errno; if not 0, some of it may have been done.
 */
IVS_MUST_USE int ivs_privileges_drop(const char *root, const char *user, struct ivs_error *err);

/** ivs_privileges_raise_files() - as many open files, and fds in flight, as the hard limit allows */
void ivs_privileges_raise_files(void);

/**
 * ivs_privileges_may_remove() - check that this process, as it is now, can unlink @path
 *
 * Return: 0, or -errno that says why not; -ENOENT: it is not visible from here.
 */
IVS_MUST_USE int ivs_privileges_may_remove(const char *path);

#endif
