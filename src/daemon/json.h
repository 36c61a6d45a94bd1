/* SPDX-License-Identifier: BSD-3-Clause */
/* JSON that programs print, or send on the control socket. */
#ifndef IVS_DAEMON_JSON_H
#define IVS_DAEMON_JSON_H

#include <jansson.h>
#include <stdint.h>
#include <stdio.h>

#include "ivshmem/api.h"

/** ivs_json_text() - convert a path, or the text of a struct ivs_error; NULL becomes null */
json_t *ivs_json_text(const char *text);

/**
 * ivs_json_write() - write JSON in printable ASCII, because it may be shown on a terminal: other
 * users choose names, which may contain control characters of Unicode
 * @flags: as for json_dumpf()
 *
 * Return: 0, or -1 if memory is exhausted or @out has an error.
 */
IVS_MUST_USE int ivs_json_write(const json_t *json, size_t flags, FILE *out);

/** ivs_json_time() - convert a time in ms since 1970; ivs_clock_wall_text() has the format */
json_t *ivs_json_time(int64_t wall_ms);

/** ivs_json_flags() - the names of the bits of @flags that are set; @name_of: the name of bit @i */
json_t *ivs_json_flags(unsigned int flags, unsigned int flags_n,
		       const char *(*name_of)(unsigned int i));

#endif
