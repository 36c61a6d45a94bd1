/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/shared/usage.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/text.h"

#define MESSAGE_LEN 20480 /* room for four paths and a sentence */

/* Name of the program, with its command if it has commands. */
static char usage_name_text[64];

/* Messages that are kept; file is NULL unless usage_hold() has been called. */
static struct {
	FILE *file;
	char *text;
	size_t len;
} held;

void usage_hold(void)
{
	if (!held.file)
		held.file = open_memstream(&held.text, &held.len); /* NULL: print immediately */
}

void usage_release(void)
{
	if (!held.file)
		return;
	if (!fclose(held.file))
		fputs(held.text, stderr);
	free(held.text);
	held.file = NULL;
	held.text = NULL;
}

static FILE *usage_file(void)
{
	return held.file ? held.file : stderr;
}

int usage_start(const char *program)
{
	snprintf(usage_name_text, sizeof(usage_name_text), "%s", program);
	if (!ivs_fd_fill_standard())
		return 0;
	fprintf(stderr, "%s: cannot open /dev/null: %s\n", program, strerror(errno));
	return STATUS_FAILED;
}

void usage_command(const char *command)
{
	size_t len = strlen(usage_name_text);

	snprintf(usage_name_text + len, sizeof(usage_name_text) - len, " %s", command);
}

const char *usage_name(void)
{
	return usage_name_text;
}

/* Print a message on one line. Paths and errors in it may contain what another user has chosen. */
static void print_message(const char *format, va_list args)
{
	char text[MESSAGE_LEN];
	char shown[MESSAGE_LEN];

	vsnprintf(text, sizeof(text), format, args);
	fprintf(usage_file(), "%s: %s\n", usage_name_text,
		ivs_text_shown(text, shown, sizeof(shown)));
}

int usage_failed(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	print_message(format, args);
	va_end(args);
	return STATUS_FAILED;
}

int usage_error(const char *what, const char *value, const char *fix)
{
	usage_failed("%s \"%s\": %s", what, value, fix);
	return STATUS_USAGE;
}

int usage_parse(const struct usage *usage, void *settings, int argc, char **argv)
{
	int status = 0;
	int option;

	while (!status &&
	       (option = getopt_long(argc, argv, usage->letters, usage->options, NULL)) != -1) {
		if (option == 'h') {
			fputs(usage->help, stdout);
			return -1;
		}
		if (option == 'V') {
			printf("%s " IVS_VERSION "\n", usage_name_text);
			return -1;
		}
		status = usage->take(settings, option, optarg);
	}
	for (; !status && optind < argc; optind++) {
		status = usage->operand ? usage->operand(settings, argv[optind]) : USAGE_SURPLUS;
		if (status == USAGE_SURPLUS)
			return usage_error("surplus argument", argv[optind], usage->surplus);
	}
	return status;
}
