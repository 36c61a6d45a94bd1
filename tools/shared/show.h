/* SPDX-License-Identifier: BSD-3-Clause */
/* Members of a JSON object as text: "-" if the member is missing or has another type. */
#ifndef TOOLS_SHARED_SHOW_H
#define TOOLS_SHARED_SHOW_H

#include <jansson.h>
#include <stddef.h>

#include "base/parse.h"

#define CELL_LEN 64 /* with a NUL; enough for most members */

/** show() - a string, made safe for a terminal, or a number; null is "none" */
const char *show(const json_t *object, const char *key, char *out, size_t out_len);

/** show_time() - a time without its fraction: "2024-05-31T12:34:56Z" */
const char *show_time(const json_t *object, const char *key, char out[CELL_LEN]);

/** show_size() - a number of bytes, such as "64M" */
const char *show_size(const json_t *object, const char *key, char out[IVS_SIZE_TEXT_LEN]);

#endif
