/* SPDX-License-Identifier: BSD-3-Clause */
/* Tests of qmp/message.h: each kind of message, and what is not one. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "qmp/message.h"

static struct ivs_qmp_message message = {.id = -1};

static void teardown(void)
{
	ivs_qmp_message_deinit(&message);
}

TestSuite(message, .fini = teardown);

static int parse(const char *line)
{
	return ivs_qmp_message_parse(line, strlen(line), &message, NULL);
}

Test(message, greeting_has_the_version)
{
	cr_assert_eq(parse("{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 22, \"minor\": 2, "
			   "\"major\": 7}, \"package\": \"x\"}, \"capabilities\": [\"oob\"]}}"),
		     0);
	cr_expect_eq(message.type, IVS_QMP_GREETING);
	cr_expect_eq(json_integer_value(json_object_get(message.data, "micro")), 22);
}

Test(message, result_has_its_id_and_data)
{
	cr_assert_eq(parse("{\"return\": {\"a\": 1}, \"id\": 9}"), 0);
	cr_expect_eq(message.type, IVS_QMP_RETURN);
	cr_expect_eq(message.id, 9);
	cr_expect_eq(json_integer_value(json_object_get(message.data, "a")), 1);
}

Test(message, ids_that_are_not_ours_are_none)
{
	cr_assert_eq(parse("{\"return\": {}, \"id\": \"x\"}"), 0);
	cr_expect_eq(message.id, -1);
}

Test(message, error_has_class_and_description)
{
	cr_assert_eq(parse("{\"id\": 2, \"error\": {\"class\": \"DeviceNotFound\", \"desc\": "
			   "\"Device 'x' not found\"}}"),
		     0);
	cr_expect_eq(message.type, IVS_QMP_ERROR);
	cr_expect_eq(message.id, 2);
	cr_expect_str_eq(message.name, "DeviceNotFound");
	cr_expect_str_eq(message.text, "Device 'x' not found");
}

Test(message, event_may_have_data)
{
	cr_assert_eq(parse("{\"event\": \"STOP\", \"timestamp\": {}}"), 0);
	cr_expect_eq(message.type, IVS_QMP_EVENT);
	cr_expect_str_eq(message.name, "STOP");
	cr_expect_null(message.data);
	ivs_qmp_message_deinit(&message);
	cr_assert_eq(parse("{\"event\": \"DEVICE_DELETED\", \"data\": {\"device\": \"d\"}}"), 0);
	cr_expect_str_eq(json_string_value(json_object_get(message.data, "device")), "d");
}

Test(message, invalid_lines_are_refused_with_a_reason)
{
	static const char *const lines[] = {
		"",
		"x",
		"7",
		"[]",
		"{}",
		"{\"id\": 1}",
		"{\"return\": {}",
		"{\"return\": {}} {}",
		"{\"return\": 1, \"return\": 2}",
		"{\"return\": \"\xff\"}",
		"{\"return\": 99999999999999999999}",
		"{\"QMP\": {}}",
		"{\"QMP\": {\"version\": {\"qemu\": {\"major\": \"7\"}}}}",
		"{\"error\": \"no\"}",
		"{\"error\": {\"class\": \"A\"}}",
		"{\"event\": 1}",
		"{\"event\": \"STOP\", \"data\": 1}",
	};

	for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++) {
		struct ivs_error err = {0};

		cr_expect_eq(ivs_qmp_message_parse(lines[i], strlen(lines[i]), &message, &err),
			     IVS_QMP_E_PROTOCOL, "%s", lines[i]);
		cr_expect(*err.text, "%s", lines[i]);
		cr_expect_eq(message.id, -1);
	}
}

/* Parse "return" with arrays nested to this depth, in addition to the object itself. */
static int parse_nested(unsigned int depth, const char *inside)
{
	char line[512];
	char *at = line + sprintf(line, "{\"return\":");

	memset(at, '[', depth);
	at += depth;
	at += sprintf(at, "%s", inside);
	memset(at, ']', depth);
	at += depth;
	strcpy(at, "}");
	return parse(line);
}

Test(message, nesting_is_limited)
{
	cr_expect_eq(parse_nested(IVS_QMP_DEPTH_MAX - 1, ""), 0);
	ivs_qmp_message_deinit(&message);
	cr_expect_eq(parse_nested(IVS_QMP_DEPTH_MAX, ""), IVS_QMP_E_PROTOCOL);
	/* Brackets in strings do not count, and neither does an escaped quotation mark. */
	cr_expect_eq(parse_nested(IVS_QMP_DEPTH_MAX - 1, "\"\\\"[[[{{{\\\\\""), 0);
}

Test(message, length_is_limited)
{
	const char before[] = "{\"return\":\"";
	size_t len = IVS_QMP_LINE_MAX + 1;
	char *line = malloc(len);

	cr_assert(line);
	memset(line, 'a', len);
	memcpy(line, before, strlen(before));
	memcpy(line + len - 2, "\"}", 2);
	cr_expect_eq(ivs_qmp_message_parse(line, len, &message, NULL), IVS_QMP_E_PROTOCOL);
	memcpy(line + len - 3, "\"}", 2);
	cr_expect_eq(ivs_qmp_message_parse(line, len - 1, &message, NULL), 0);
	free(line);
}
