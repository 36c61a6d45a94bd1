/* SPDX-License-Identifier: BSD-3-Clause */
#include "config/out.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void ivs_out_put(struct ivs_out *out, const char *text, size_t len)
{
	if (len >= out->room - out->len)
		out->full = true;
	if (!out->full) {
		memcpy(out->text + out->len, text, len);
		out->len += len;
	}
	out->text[out->len] = '\0';
}

void ivs_out_text(struct ivs_out *out, const char *text)
{
	ivs_out_put(out, text, strlen(text));
}

void ivs_out_format(struct ivs_out *out, const char *format, ...)
{
	size_t left = out->room - out->len;
	va_list args;
	int len;

	va_start(args, format);
	len = vsnprintf(out->text + out->len, left, format, args);
	va_end(args);
	if (len < 0 || (size_t)len >= left)
		out->full = true;
	else if (!out->full)
		out->len += (size_t)len;
	out->text[out->len] = '\0';
}
