/* SPDX-License-Identifier: BSD-3-Clause */
/* Members of a JSON object as text: "-" if the member is missing or has another type. */
#ifndef TOOLS_SHARED_SHOW_H
#define TOOLS_SHARED_SHOW_H

#include <jansson.h>
#include <stddef.h>

#include "base/parse.h"

#define CELL_LEN 64 /* bytes, with the NUL; enough for most members */

/** show() - write a member to @out: a string, made safe for terminals, or a number; null: "none" */
const char *show(const json_t *object, const char *key, char *out, size_t out_len);

/** show_time() - write a time to @out, without fractions of a second: "2024-05-31T12:34:56Z" */
const char *show_time(const json_t *object, const char *key, char out[CELL_LEN]);

/** show_size() - return a number of bytes as text, such as "64M" */
const char *show_size(const json_t *object, const char *key, char out[IVS_SIZE_TEXT_LEN]);

/** print_changes() - print a region's member "changes": one line for each change to its file */
void print_changes(const json_t *region);

#endif
