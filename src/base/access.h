/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Why the kernel denies this process access to a file (EACCES), and the command that grants it.
 *
 * Names come from /etc/passwd and /etc/group only: name services cannot be used in static programs.
 * Do not use these functions under a system call filter.
 */
#ifndef IVS_BASE_ACCESS_H
#define IVS_BASE_ACCESS_H

#include <stdbool.h>
#include <sys/stat.h>

#define IVS_ACCESS_TEXT_LEN 400
#define IVS_ACCESS_NAME_LEN 33

/**
 * enum ivs_access_cause - what denies access
 * @IVS_ACCESS_UNKNOWN: the file cannot be examined
 * @IVS_ACCESS_ALLOWED: owner, group and mode allow access; something else denies it
 * @IVS_ACCESS_OWN:     the mode denies access to the owner, who runs the process
 * @IVS_ACCESS_GROUP:   the process is not in the group, whose members have access
 * @IVS_ACCESS_LOGIN:   the process is not in the group, because the user became a member after
 *                      logging in
 * @IVS_ACCESS_MODE:    the mode: the group has no access either
 */
enum ivs_access_cause {
	IVS_ACCESS_UNKNOWN,
	IVS_ACCESS_ALLOWED,
	IVS_ACCESS_OWN,
	IVS_ACCESS_GROUP,
	IVS_ACCESS_LOGIN,
	IVS_ACCESS_MODE,
};

/**
 * struct ivs_access - the file that denies access
 * @path:   the requested file, or a directory on its path
 * @on_way: whether @path is such a directory
 * @wanted: R_OK, W_OK and X_OK, ORed together: the access that @path denies
 */
struct ivs_access {
	enum ivs_access_cause cause;
	char path[4096];
	bool on_way;
	int wanted;
	struct stat st;
};

/** ivs_access_user() - the name of a user, or the number if /etc/passwd does not list the user */
void ivs_access_user(uid_t uid, char out[IVS_ACCESS_NAME_LEN]);

/**
 * ivs_access_find() - find out which file denies @wanted (R_OK, W_OK, X_OK) to @path
 *
 * If @path does not exist, the question is whether the process may create it.
 */
void ivs_access_find(const char *path, int wanted, struct ivs_access *out);

/** ivs_access_state() - format owner, group and mode: "it belongs to root:root, mode 0600" */
const char *ivs_access_state(const struct ivs_access *access, char out[IVS_ACCESS_TEXT_LEN]);

/** ivs_access_explain() - the state of the file that denies access, and how to get access */
const char *ivs_access_explain(const char *path, int wanted, char out[IVS_ACCESS_TEXT_LEN]);

/**
 * ivs_access_chown_cure() - the end of a message about a chown(2) that was not permitted
 * @uid: the requested owner; -1: only a group was requested
 */
const char *ivs_access_chown_cure(uid_t uid);

#endif
