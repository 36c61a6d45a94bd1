/* SPDX-License-Identifier: BSD-3-Clause */
#include "qmp/message.h"

#include <stdbool.h>
#include <string.h>

#include "base/error.h"

/* The parser is recursive, so the nesting is checked before it is called. */
static bool line_is_flat(const char *line, size_t len)
{
	unsigned int depth = 0;
	bool quoted = false;

	for (size_t i = 0; i < len; i++) {
		if (quoted) {
			if (line[i] == '\\')
				i++;
			else if (line[i] == '"')
				quoted = false;
		} else if (line[i] == '"') {
			quoted = true;
		} else if (line[i] == '{' || line[i] == '[') {
			if (++depth > IVS_QMP_DEPTH_MAX)
				return false;
		} else if ((line[i] == '}' || line[i] == ']') && depth) {
			depth--;
		}
	}
	return true;
}

static int invalid(struct ivs_error *err, const char *why)
{
	return ivs_error_set(err, IVS_QMP_E_PROTOCOL, "a message %s", why);
}

static int take_greeting(json_t *body, struct ivs_qmp_message *out, struct ivs_error *err)
{
	json_t *version = json_object_get(json_object_get(body, "version"), "qemu");

	if (!json_is_integer(json_object_get(version, "major")) ||
	    !json_is_integer(json_object_get(version, "minor")) ||
	    !json_is_integer(json_object_get(version, "micro")))
		return invalid(err, "is a greeting without QEMU's version");
	out->type = IVS_QMP_GREETING;
	out->data = version;
	return 0;
}

static int take_error(json_t *body, struct ivs_qmp_message *out, struct ivs_error *err)
{
	out->type = IVS_QMP_ERROR;
	out->name = json_string_value(json_object_get(body, "class"));
	out->text = json_string_value(json_object_get(body, "desc"));
	if (!out->name || !out->text)
		return invalid(err, "is an error without class or description");
	return 0;
}

static int take_event(json_t *object, struct ivs_qmp_message *out, struct ivs_error *err)
{
	out->type = IVS_QMP_EVENT;
	out->name = json_string_value(json_object_get(object, "event"));
	out->data = json_object_get(object, "data");
	if (!out->name || (out->data && !json_is_object(out->data)))
		return invalid(err, "is an event with an invalid name or invalid data");
	return 0;
}

static int take_message(json_t *object, struct ivs_qmp_message *out, struct ivs_error *err)
{
	json_t *id = json_object_get(object, "id");

	out->id = json_is_integer(id) && json_integer_value(id) >= 0 ? json_integer_value(id) : -1;
	if (json_object_get(object, "QMP"))
		return take_greeting(json_object_get(object, "QMP"), out, err);
	if (json_object_get(object, "event"))
		return take_event(object, out, err);
	if (json_object_get(object, "error"))
		return take_error(json_object_get(object, "error"), out, err);
	out->type = IVS_QMP_RETURN;
	out->data = json_object_get(object, "return");
	return out->data ? 0 : invalid(err, "is neither a reply nor an event");
}

int ivs_qmp_message_parse(const char *line, size_t len, struct ivs_qmp_message *out,
			  struct ivs_error *err)
{
	struct ivs_qmp_message message = {.id = -1, .len = len};
	int result;

	if (len > IVS_QMP_LINE_MAX)
		return invalid(err, "is longer than 1 MiB");
	if (!line_is_flat(line, len))
		return invalid(err, "is nested too deeply");
	message.json = json_loadb(line, len, JSON_REJECT_DUPLICATES, NULL);
	if (!json_is_object(message.json)) {
		json_decref(message.json);
		return invalid(err, "is not a JSON object");
	}
	result = take_message(message.json, &message, err);
	if (result)
		json_decref(message.json);
	else
		*out = message;
	return result;
}

void ivs_qmp_message_deinit(struct ivs_qmp_message *message)
{
	json_decref(message->json);
	*message = (struct ivs_qmp_message){.id = -1};
}
