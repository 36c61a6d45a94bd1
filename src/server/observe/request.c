/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/observe/request.h"

#include <jansson.h>
#include <string.h>

#include "base/error.h"

#define EXAMPLES "{\"request\":\"status\"} or {\"request\":\"version\"}"

static const char *kind_of(const json_t *value)
{
	static const char *const kinds[] = {
		[JSON_OBJECT] = "an object", [JSON_ARRAY] = "an array", [JSON_STRING] = "a string",
		[JSON_INTEGER] = "a number", [JSON_REAL] = "a number",	[JSON_TRUE] = "true",
		[JSON_FALSE] = "false",	     [JSON_NULL] = "null",
	};

	return kinds[json_typeof(value)];
}

static bool is_blank(const char *line, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (!line[i] || !strchr(" \t\r", line[i]))
			return false;
	}
	return true;
}

static int take_name(const json_t *value, struct ivs_request *request, struct ivs_error *err)
{
	const char *name = json_string_value(value);

	if (!value)
		return ivs_error_set(err, IVS_REQUEST_E_BAD,
				     "the request has no member \"request\": send " EXAMPLES);
	if (!name)
		return ivs_error_set(err, IVS_REQUEST_E_BAD, "\"request\" is %s: send " EXAMPLES,
				     kind_of(value));
	if (!strcmp(name, "status"))
		request->type = IVS_REQUEST_STATUS;
	else if (!strcmp(name, "version"))
		request->type = IVS_REQUEST_VERSION;
	else
		return ivs_error_set(err, IVS_REQUEST_E_BAD,
				     "there is no request \"%.64s\": the requests are \"status\" "
				     "and \"version\"",
				     name);
	return 0;
}

/*
 * Take the other members of the request. An unknown member is an error, because it may be a typo.
 */
static int take_members(json_t *object, struct ivs_request *request, struct ivs_error *err)
{
	bool is_status = request->type == IVS_REQUEST_STATUS;
	const char *key;
	json_t *value;

	json_object_foreach(object, key, value)
	{
		if (!strcmp(key, "request"))
			continue;
		if (!is_status || strcmp(key, "doorbells"))
			return ivs_error_set(err, IVS_REQUEST_E_BAD,
					     "\"%s\" has no member \"%.64s\"%s",
					     is_status ? "status" : "version", key,
					     is_status ? ": it may have \"doorbells\"" : "");
		if (!json_is_boolean(value))
			return ivs_error_set(err, IVS_REQUEST_E_BAD,
					     "\"doorbells\" is %s: use true or false",
					     kind_of(value));
		request->doorbells = json_is_true(value);
	}
	return 0;
}

static int take_request(json_t *value, struct ivs_request *out, struct ivs_error *err)
{
	struct ivs_request request = {0};
	int result;

	if (!json_is_object(value))
		return ivs_error_set(err, IVS_REQUEST_E_BAD,
				     "the request is %s and not an object: send " EXAMPLES,
				     kind_of(value));
	result = take_name(json_object_get(value, "request"), &request, err);
	if (!result)
		result = take_members(value, &request, err);
	if (!result)
		*out = request;
	return result;
}

int ivs_request_parse(const char *line, size_t len, struct ivs_request *out, struct ivs_error *err)
{
	json_error_t why;
	json_t *value;
	int result;

	if (len > IVS_REQUEST_LINE_MAX)
		return ivs_error_set(err, IVS_REQUEST_E_BAD,
				     "the request is longer than %d bytes: send " EXAMPLES,
				     IVS_REQUEST_LINE_MAX);
	if (is_blank(line, len))
		return ivs_error_set(err, IVS_REQUEST_E_BAD,
				     "the request is empty: send " EXAMPLES);
	value = json_loadb(line, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &why);
	if (!value)
		return ivs_error_set(err, IVS_REQUEST_E_BAD,
				     "the request is not JSON (%.160s, at byte %d): send " EXAMPLES,
				     why.text, why.position);
	result = take_request(value, out, err);
	json_decref(value);
	return result;
}
