/* SPDX-License-Identifier: BSD-3-Clause */
/* Option values for owner, group and mode of a file. */
#ifndef TOOLS_SHARED_OWNERS_H
#define TOOLS_SHARED_OWNERS_H

#include <sys/types.h>

/* Return: 0, or STATUS_USAGE after printing the reason. */
int take_mode(const char *value, mode_t *out);
int take_user(const char *value, uid_t *out);
int take_group(const char *value, gid_t *out);

#endif
