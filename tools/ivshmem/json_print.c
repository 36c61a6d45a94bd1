/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/ivshmem/json_print.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/json.h"
#include "tools/shared/usage.h"

int json_print(json_t *object)
{
	int status = 0;

	if (!object)
		return usage_failed("%s", strerror(ENOMEM));
	if (ivs_json_write(object, JSON_INDENT(2), stdout) || putchar('\n') == EOF ||
	    fflush(stdout))
		status = usage_failed("cannot print: %s", strerror(errno));
	json_decref(object);
	return status;
}
