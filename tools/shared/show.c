/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/shared/show.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "region/watch.h"

const char *show(const json_t *object, const char *key, char *out, size_t out_len)
{
	const json_t *value = json_object_get(object, key);

	if (json_is_string(value))
		return ivs_text_shown(json_string_value(value), out, out_len);
	if (json_is_integer(value))
		snprintf(out, out_len, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
	else
		snprintf(out, out_len, "%s", json_is_null(value) ? "none" : "-");
	return out;
}

const char *show_time(const json_t *object, const char *key, char out[CELL_LEN])
{
	char *dot;

	show(object, key, out, CELL_LEN);
	dot = strchr(out, '.');
	if (dot)
		strcpy(dot, "Z");
	return out;
}

const char *show_size(const json_t *object, const char *key, char out[IVS_SIZE_TEXT_LEN])
{
	const json_t *value = json_object_get(object, key);

	if (!json_is_integer(value))
		return "-";
	return ivs_size_text((uint64_t)json_integer_value(value), out);
}

/* Return: the text for a change or, if it is unknown, its name, made safe for terminals. */
static const char *change_text(const char *name, char out[CELL_LEN])
{
	for (unsigned int i = 0; i < IVS_REGION_CHANGES_N; i++) {
		if (!strcmp(name, ivs_region_change_name(i)))
			return ivs_region_change_text(i);
	}
	return ivs_text_shown(name, out, CELL_LEN);
}

void print_changes(const json_t *region)
{
	const json_t *changes = json_object_get(region, "changes");
	char text[CELL_LEN];
	const json_t *name;
	size_t i;

	json_array_foreach(changes, i, name)
	{
		if (json_is_string(name))
			printf("changed  %s\n", change_text(json_string_value(name), text));
	}
}
