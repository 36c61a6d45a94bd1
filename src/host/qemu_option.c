/* SPDX-License-Identifier: BSD-3-Clause */
#include "host/qemu_option.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEY_LEN 64 /* maximum length of the requested keys */

void ivs_qemu_option_init(struct ivs_qemu_option *option, const char *text, const char *implied)
{
	*option = (struct ivs_qemu_option){.text = text, .implied = implied};
	if (*text == '{')
		option->json = json_loads(text, 0, NULL);
}

void ivs_qemu_option_deinit(struct ivs_qemu_option *option)
{
	json_decref(option->json);
	option->json = NULL;
}

/*
 * Return: the end of the value that begins at @text: the first comma that is not doubled, or the
 * NUL.
 */
static const char *value_end(const char *text)
{
	while (*text && (*text != ',' || text[1] == ','))
		text += *text == ',' ? 2 : 1;
	return text;
}

/* Copy a value, and unescape its commas. Return: the copy; NULL if out of memory. */
static char *copy_value(const char *text, const char *end)
{
	char *copy = malloc((size_t)(end - text) + 1);
	char *to = copy;

	while (copy && text < end) {
		*to++ = *text;
		text += *text == ',' ? 2 : 1;
	}
	if (copy)
		*to = '\0';
	return copy;
}

static int keep(char **out, char *copy)
{
	free(*out);
	*out = copy;
	return copy ? 0 : -ENOMEM;
}

/* Return: whether the key from @text to @end is @key. */
static bool is_key(const char *text, const char *end, const char *key)
{
	size_t len = strlen(key);

	return (size_t)(end - text) == len && !memcmp(text, key, len);
}

static int get_from_text(const struct ivs_qemu_option *option, const char *key, char **out)
{
	const char *at = option->text;
	bool first = true;
	int result = 0;

	while (*at && !result) {
		const char *name_end = at + strcspn(at, "=,");
		bool has_value = *name_end == '=';
		const char *end;

		if (has_value) {
			end = value_end(name_end + 1);
			if (is_key(at, name_end, key))
				result = keep(out, copy_value(name_end + 1, end));
		} else if (first) {
			end = value_end(at);
			if (!strcmp(option->implied, key))
				result = keep(out, copy_value(at, end));
		} else {
			end = name_end;
			if (is_key(at, end, key))
				result = keep(out, strdup("on"));
		}
		first = false;
		at = *end ? end + 1 : end;
	}
	return result;
}

static int copy_json(const json_t *value, char **out)
{
	char number[32];

	if (json_is_string(value))
		return keep(out, strdup(json_string_value(value)));
	if (json_is_boolean(value))
		return keep(out, strdup(json_is_true(value) ? "on" : "off"));
	if (!json_is_integer(value))
		return 0;
	snprintf(number, sizeof(number), "%" JSON_INTEGER_FORMAT, json_integer_value(value));
	return keep(out, strdup(number));
}

static int get_from_json(const json_t *json, const char *key, char **out)
{
	char name[KEY_LEN];

	while (json) {
		size_t len = strcspn(key, ".");

		snprintf(name, sizeof(name), "%.*s", (int)len, key);
		json = json_object_get(json, name);
		if (!key[len])
			return json ? copy_json(json, out) : 0;
		key += len + 1;
	}
	return 0;
}

int ivs_qemu_option_get(const struct ivs_qemu_option *option, const char *key, char **out)
{
	int result;

	*out = NULL;
	if (*option->text == '{')
		result = get_from_json(option->json, key, out);
	else
		result = get_from_text(option, key, out);
	return result;
}
