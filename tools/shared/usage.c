/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/shared/usage.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/fd.h"

static const char *program_name;

int usage_start(const char *program)
{
	program_name = program;
	if (!ivs_fd_fill_standard())
		return 0;
	fprintf(stderr, "%s: cannot open /dev/null: %s\n", program, strerror(errno));
	return STATUS_FAILED;
}

int usage_error(const char *what, const char *value, const char *fix)
{
	fprintf(stderr, "%s: %s \"%s\": %s\n", program_name, what, value, fix);
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
			printf("%s " IVS_VERSION "\n", program_name);
			return -1;
		}
		status = usage->take(settings, option, optarg);
	}
	if (!status && optind < argc)
		return usage_error("surplus argument", argv[optind], usage->surplus);
	return status;
}
