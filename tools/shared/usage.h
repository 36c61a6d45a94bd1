/* SPDX-License-Identifier: BSD-3-Clause */
/* What the tools' command lines have in common, and what is wrong with them. */
#ifndef TOOLS_SHARED_USAGE_H
#define TOOLS_SHARED_USAGE_H

#include <getopt.h>

#define STATUS_FAILED 1
#define STATUS_USAGE 2

/**
 * usage_start() - the first thing that main() does
 * @program: its name in messages
 *
 * Return: 0; STATUS_FAILED if fds 0 to 2 cannot be opened, with the reason printed.
 */
int usage_start(const char *program);

/**
 * struct usage - a command line of options alone
 * @help:    is printed for -h; -V prints the version. Both have to be in @letters and @options
 * @letters: as getopt(3) has them
 * @options: as getopt_long(3) has them
 * @take:    one option; "?" is one that there is not, of which getopt has told already.
 *           Return: 0 or an exit status, with the reason printed.
 * @surplus: what to do instead of giving an argument that is no option
 */
struct usage {
	const char *help;
	const char *letters;
	const struct option *options;
	int (*take)(void *settings, int option, const char *value);
	const char *surplus;
};

/** usage_error() - PROGRAM: WHAT "VALUE": FIX. Return: STATUS_USAGE. */
int usage_error(const char *what, const char *value, const char *fix);

/** usage_parse() - all of it. Return: 0; -1 if everything asked for is done (--help); an exit status. */
int usage_parse(const struct usage *usage, void *settings, int argc, char **argv);

#endif
