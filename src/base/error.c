/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int ivs_error_set(struct ivs_error *err, int result, const char *format, ...)
{
	va_list args;

	if (err) {
		va_start(args, format);
		vsnprintf(err->text, sizeof(err->text), format, args);
		va_end(args);
	}
	return result;
}

int ivs_error_errno(struct ivs_error *err, int errnum, const char *format, ...)
{
	char reason[128];
	va_list args;
	size_t len;

	if (err) {
		va_start(args, format);
		vsnprintf(err->text, sizeof(err->text), format, args);
		va_end(args);
		len = strlen(err->text);
		snprintf(err->text + len, sizeof(err->text) - len, ": %s",
			 strerror_r(errnum, reason, sizeof(reason)));
	}
	return -errnum;
}
