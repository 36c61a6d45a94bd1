/* SPDX-License-Identifier: BSD-3-Clause */
/* Members of a JSON object as text for a person: "-" for what is not there or of another type. */
#ifndef TOOLS_SHARED_SHOW_H
#define TOOLS_SHARED_SHOW_H

#include <jansson.h>
#include <stddef.h>

#include "base/parse.h"

#define CELL_LEN 64 /* for most of them, with a NUL */

/** show() - a string, of which nothing reaches the terminal but what can be seen; or a number */
const char *show(const json_t *object, const char *key, char *out, size_t out_len);

/** show_time() - without the fraction: "2024-05-31T12:34:56Z" */
const char *show_time(const json_t *object, const char *key, char out[CELL_LEN]);

/** show_size() - bytes as "64M" */
const char *show_size(const json_t *object, const char *key, char out[IVS_SIZE_TEXT_LEN]);

#endif
