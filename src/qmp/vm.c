/* SPDX-License-Identifier: BSD-3-Clause */
#include "qmp/vm.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/text.h"

static int vm_unexpected(const struct ivs_qmp *qmp, const char *command, struct ivs_error *err)
{
	return ivs_error_set(err, IVS_QMP_E_PROTOCOL, "QEMU's answer to %s at %s is not understood",
			     command, qmp->path);
}

int ivs_qmp_is_kvm(struct ivs_qmp *qmp, bool *out, struct ivs_error *err)
{
	const json_t *enabled;
	json_t *reply;
	int result = ivs_qmp_execute(qmp, &reply, err, "query-kvm", NULL);

	if (result)
		return result;
	enabled = json_object_get(reply, "enabled");
	*out = json_is_true(enabled);
	if (!json_is_boolean(enabled))
		result = vm_unexpected(qmp, "query-kvm", err);
	json_decref(reply);
	return result;
}

int ivs_qmp_state(struct ivs_qmp *qmp, char out[IVS_QMP_STATE_LEN], struct ivs_error *err)
{
	const char *state;
	json_t *reply;
	int result = ivs_qmp_execute(qmp, &reply, err, "query-status", NULL);

	*out = '\0';
	if (result)
		return result;
	state = json_string_value(json_object_get(reply, "status"));
	if (state)
		ivs_text_shown(state, out, IVS_QMP_STATE_LEN);
	else
		result = vm_unexpected(qmp, "query-status", err);
	json_decref(reply);
	return result;
}

int ivs_qmp_human(struct ivs_qmp *qmp, const char *line, char **out, struct ivs_error *err)
{
	json_t *reply;
	int result = ivs_qmp_execute(qmp, &reply, err, "human-monitor-command", "{s:s}",
				     "command-line", line);

	*out = NULL;
	if (result)
		return result;
	if (!json_is_string(reply))
		result = vm_unexpected(qmp, "human-monitor-command", err);
	else if (!(*out = strdup(json_string_value(reply))))
		result = ivs_error_errno(err, ENOMEM, "cannot run %s", line);
	json_decref(reply);
	return result;
}

int ivs_qmp_get(struct ivs_qmp *qmp, const char *path, const char *property, json_t **out,
		struct ivs_error *err)
{
	return ivs_qmp_execute(qmp, out, err, "qom-get", "{s:s, s:s}", "path", path, "property",
			       property);
}

int ivs_qmp_get_text(struct ivs_qmp *qmp, const char *path, const char *property, char *out,
		     size_t out_len, struct ivs_error *err)
{
	json_t *value;
	int result = ivs_qmp_get(qmp, path, property, &value, err);

	*out = '\0';
	if (result)
		return result;
	if (json_is_string(value) &&
	    snprintf(out, out_len, "%s", json_string_value(value)) >= (int)out_len)
		result = vm_unexpected(qmp, "qom-get", err);
	json_decref(value);
	return result;
}

int ivs_qmp_list(struct ivs_qmp *qmp, const char *path, json_t **out, struct ivs_error *err)
{
	int result = ivs_qmp_execute(qmp, out, err, "qom-list", "{s:s}", "path", path);

	if (result || json_is_array(*out))
		return result;
	json_decref(*out);
	*out = NULL;
	return vm_unexpected(qmp, "qom-list", err);
}

bool ivs_qmp_child_type(const json_t *entry, char type[IVS_QMP_TYPE_LEN])
{
	static const char before[] = "child<";
	const char *text = json_string_value(json_object_get(entry, "type"));
	size_t len = text ? strlen(text) : 0;
	size_t before_len = strlen(before);

	*type = '\0';
	if (!text || strncmp(text, before, before_len) || text[len - 1] != '>' ||
	    len - before_len > IVS_QMP_TYPE_LEN)
		return false;
	memcpy(type, text + before_len, len - before_len - 1);
	type[len - before_len - 1] = '\0';
	return true;
}

int ivs_qmp_find(struct ivs_qmp *qmp, const char *path, const char *name,
		 char type[IVS_QMP_TYPE_LEN], struct ivs_error *err)
{
	json_t *list;
	json_t *entry;
	size_t i;
	int result = ivs_qmp_list(qmp, path, &list, err);

	*type = '\0';
	if (result)
		return result;
	json_array_foreach(list, i, entry)
	{
		const char *found = json_string_value(json_object_get(entry, "name"));

		if (found && !strcmp(found, name) && ivs_qmp_child_type(entry, type))
			break;
	}
	json_decref(list);
	return 0;
}
