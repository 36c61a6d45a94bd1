/* SPDX-License-Identifier: BSD-3-Clause */
/* Option values for owner, group and mode of a file. */
#ifndef TOOLS_SHARED_OWNERS_H
#define TOOLS_SHARED_OWNERS_H

#include <stdbool.h>
#include <sys/types.h>

/* Return: 0, or STATUS_USAGE after printing the reason. */
int take_mode(const char *value, mode_t *out);
int take_user(const char *value, uid_t *out);
int take_group(const char *value, gid_t *out);

/**
 * owner_is_trusted() - whether root may be advised to change a file that belongs to @uid
 * @wanted: the user to whom the file is to belong; -1: unknown
 *
 * Another user may have put the file there, can replace it with a link before the command is run,
 * and keeps existing mappings even if the owner is changed.
 */
bool owner_is_trusted(uid_t uid, uid_t wanted);

#endif
