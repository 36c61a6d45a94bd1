/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/json.h"

#include <string.h>

#include "base/clock.h"
#include "base/text.h"

#define TEXT_MAX 4352 /* room for a prefix and a path, or for the text of struct ivs_error */

/* A path may contain any bytes, but JSON must be valid UTF-8. */
json_t *ivs_json_text(const char *text)
{
	char valid[TEXT_MAX];

	return text ? json_string(ivs_text_valid(text, valid, sizeof(valid))) : json_null();
}

/* jansson does not escape DEL, which can occur in strings only. */
static int write_part(const char *part, size_t len, void *context)
{
	const char *end = part + len;

	while (part < end) {
		const char *del = memchr(part, 0x7f, (size_t)(end - part));
		size_t n = (size_t)((del ? del : end) - part);

		if (fwrite(part, 1, n, context) != n || (del && fputs("\\u007f", context) == EOF))
			return -1;
		part += n + (del ? 1 : 0);
	}
	return 0;
}

int ivs_json_write(const json_t *json, size_t flags, FILE *out)
{
	return json_dump_callback(json, write_part, out, JSON_ENSURE_ASCII | flags);
}

json_t *ivs_json_time(int64_t wall_ms)
{
	char text[IVS_CLOCK_TEXT_LEN];

	return json_string(ivs_clock_wall_text(wall_ms, text));
}

json_t *ivs_json_flags(unsigned int flags, unsigned int flags_n,
		       const char *(*name_of)(unsigned int i))
{
	json_t *names = json_array();

	for (unsigned int i = 0; i < flags_n; i++) {
		if (flags & 1U << i)
			json_array_append_new(names, json_string(name_of(i)));
	}
	return names;
}
