/* SPDX-License-Identifier: BSD-3-Clause */
/* The command looking-glass: chooses its subcommand. */
#include <string.h>

#include "tools/ivshmem/commands.h"
#include "tools/ivshmem/looking_glass_test.h"

static const char help_text[] =
	"usage: ivshmem looking-glass test [OPTION]... [REGION]\n"
	"\n"
	"\"looking-glass test\" publishes a test pattern for the client of Looking Glass; it\n"
	"has its own --help.\n"
	"\n"
	"  -h, --help; -V, --version\n"
	"\n"
	"Example:\n"
	"  ivshmem looking-glass test --mode 1280x720\n";

static int take_option(void *context, int option, const char *value)
{
	(void)context;
	(void)option;
	(void)value;
	return STATUS_USAGE;
}

static int looking_glass(int argc, char **argv)
{
	static const struct option options[] = {
		{"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'V'},
		{NULL, 0, NULL, 0},
	};
	static const struct usage usage = {
		.help = help_text,
		.letters = "hV",
		.options = options,
		.take = take_option,
		.surplus = "use \"looking-glass test\"",
	};
	int status;

	if (argc > 1 && !strcmp(argv[1], "test"))
		return looking_glass_test(argc - 1, argv + 1);
	status = usage_parse(&usage, NULL, argc, argv);
	if (status)
		return status < 0 ? 0 : status;
	return usage_error("no subcommand", "", "use \"looking-glass test\"");
}

const struct command command_looking_glass = {
	.name = "looking-glass",
	.summary = "show a test pattern in the client of Looking Glass",
	.run = looking_glass,
};
