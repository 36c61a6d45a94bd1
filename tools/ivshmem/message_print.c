/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/ivshmem/message_print.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/parse.h"
#include "tools/ivshmem/signals.h"
#include "tools/shared/usage.h"

int message_print_option(struct message_print *print, int option, const char *value)
{
	switch (option) {
	case 'n':
		if (!ivs_parse_uint(value, 1, UINT64_MAX - 1, &print->left_n))
			return usage_error("invalid count", value, "use a number of at least 1");
		return 0;
	case 'r':
		print->raw = true;
		return 0;
	default:
		return -1;
	}
}

int message_print_make_room(struct message_print *print, size_t len)
{
	char *more;

	if (len <= print->room)
		return 0;
	more = realloc(print->buffer, len);
	if (!more)
		return -ENOMEM;
	print->buffer = more;
	print->room = len;
	return 0;
}

static int output_failed(void)
{
	/* A signal that ends the command interrupts a write that blocks. */
	return signals_have_stopped() ? STATUS_FAILED
				      : usage_failed("cannot print: %s", strerror(errno));
}

int message_print(struct message_print *print, size_t len)
{
	if (print->left_n != UINT64_MAX)
		print->left_n--;
	if (fwrite(print->buffer, 1, len, stdout) != len || (!print->raw && putchar('\n') == EOF))
		return output_failed();
	return 0;
}

int message_print_flush(void)
{
	return fflush(stdout) ? output_failed() : 0;
}
