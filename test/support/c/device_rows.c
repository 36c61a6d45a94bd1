/* SPDX-License-Identifier: BSD-3-Clause */
#include "support/c/device_rows.h"

#include <criterion/criterion.h>
#include <string.h>

#include "support/c/device_script.h"

#define ROW_MAX 256

/* Run the line at @row, which has @len bytes, and check its output. */
static void run_row(struct device_script *script, const char *row, size_t len)
{
	char line[ROW_MAX], got[DEVICE_SCRIPT_OUT];
	const char *expected = "";
	char *equals;

	cr_assert_lt(len, sizeof(line));
	memcpy(line, row, len);
	line[len] = '\0';
	equals = strstr(line, " = ");
	if (equals) {
		*equals = '\0';
		expected = equals + 3;
	}
	cr_assert(device_script_line(script, line, got), "no such line: %s", line);
	cr_expect_str_eq(got, expected, "%s: expected \"%s\", got \"%s\"", line, expected, got);
}

void device_rows_run(const char *rows)
{
	static struct device_script script;

	for (const char *end; *rows; rows = end + 1) {
		end = strchr(rows, '\n');
		run_row(&script, rows, (size_t)(end - rows));
	}
}
