/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/ivshmem/detach_note.h"

#include <stdio.h>
#include <string.h>

#include "base/parse.h"

#define TOKEN_LEN 8
#define NUMBER_MAX (1 << 20)

/* Whether @name is @id, then @kind, then @digits_n or any number of digits of this base. */
static bool name_is(const char *name, const char *id, const char *kind, size_t digits_n)
{
	size_t id_len = strlen(id);
	size_t kind_len = strlen(kind);
	const char *rest;

	if (strncmp(name, id, id_len) || strncmp(name + id_len, kind, kind_len))
		return false;
	rest = name + id_len + kind_len;
	if (!*rest)
		return false;
	return digits_n ? strlen(rest) == digits_n && !rest[strspn(rest, "0123456789abcdef")]
			: !rest[strspn(rest, "0123456789")];
}

/* Compare names that differ only in their last number. */
static bool is_later(const char *name, const char *other)
{
	size_t len = strlen(name);
	size_t other_len = strlen(other);

	return len == other_len ? strcmp(name, other) > 0 : len > other_len;
}

/* Find a character device or object that was created for the device; of several, the last one. */
static int find_named(struct ivs_qmp *qmp, const char *id, bool chardev, const char *kind,
		      size_t digits_n, char *out, size_t out_len, struct ivs_error *err)
{
	json_t *list;
	json_t *entry;
	size_t i;
	int result;

	*out = '\0';
	result = chardev ? ivs_qmp_execute(qmp, &list, err, "query-chardev", NULL)
			 : ivs_qmp_list(qmp, "/objects", &list, err);
	if (result)
		return result;
	json_array_foreach(list, i, entry)
	{
		const char *name = json_string_value(
			json_object_get(entry, chardev ? "label" : "name"));

		if (name && strlen(name) < out_len && name_is(name, id, kind, digits_n) &&
		    is_later(name, out))
			snprintf(out, out_len, "%s", name);
	}
	json_decref(list);
	return 0;
}

int detach_find_backend(struct ivs_qmp *qmp, const char *id, bool chardev, char *out,
			size_t out_len, struct ivs_error *err)
{
	return find_named(qmp, id, chardev, chardev ? BACKEND_CHARDEV : BACKEND_MEMORY, TOKEN_LEN,
			  out, out_len, err);
}

int detach_note_find(struct ivs_qmp *qmp, const char *id, struct detach_note *out,
		     struct ivs_error *err)
{
	uint64_t highest;
	int result = find_named(qmp, id, true, BACKEND_FDS, 0, out->name, sizeof(out->name), err);

	out->highest = -1;
	if (*out->name)
		out->highest = ivs_parse_uint(strrchr(out->name, '-') + 1, 0, NUMBER_MAX, &highest)
				       ? (int)highest
				       : 0;
	return result;
}

int detach_note_make(struct ivs_qmp *qmp, const char *id, int highest, struct detach_note *note,
		     struct ivs_error *err)
{
	struct detach_note earlier = *note;
	int result;

	if (*note->name && note->highest >= highest)
		return 0;
	snprintf(note->name, sizeof(note->name), "%s" BACKEND_FDS "%d", id, highest);
	note->highest = highest;
	result = ivs_qmp_execute(qmp, NULL, err, "chardev-add", "{s:s, s:{s:s, s:{}}}", "id",
				 note->name, "backend", "type", "null", "data");
	if (!result && *earlier.name)
		result = ivs_qmp_execute(qmp, NULL, err, "chardev-remove", "{s:s}", "id",
					 earlier.name);
	return result;
}

bool detach_note_next(const json_t *chardevs, size_t *at, char id[IVS_CONFIG_ID_MAX + 1])
{
	while (*at < json_array_size(chardevs)) {
		const json_t *entry = json_array_get(chardevs, (*at)++);
		const char *name = json_string_value(json_object_get(entry, "label"));
		const char *kind = NULL;

		/* The id may contain the same characters. */
		for (const char *next = name; next && (next = strstr(next, BACKEND_FDS)); next++)
			kind = next;

		if (!kind || kind - name > IVS_CONFIG_ID_MAX)
			continue;
		snprintf(id, IVS_CONFIG_ID_MAX + 1, "%.*s", (int)(kind - name), name);
		if (name_is(name, id, BACKEND_FDS, 0))
			return true;
	}
	return false;
}
