/* SPDX-License-Identifier: BSD-3-Clause */
/* What the tools' options have in common: values, and what is wrong with them. */
#ifndef TOOLS_USAGE_H
#define TOOLS_USAGE_H

#include <sys/types.h>

#define STATUS_FAILED 1
#define STATUS_USAGE 2

/* Each tool's own. */
extern const char program_name[];

/** usage_error() - PROGRAM: WHAT "VALUE": FIX. Return: STATUS_USAGE. */
int usage_error(const char *what, const char *value, const char *fix);

/* Return: 0 or STATUS_USAGE, with the reason printed. */
int take_mode(const char *value, mode_t *out);
int take_user(const char *value, uid_t *out);
int take_group(const char *value, gid_t *out);

#endif
