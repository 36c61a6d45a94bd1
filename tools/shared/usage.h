/* SPDX-License-Identifier: BSD-3-Clause */
/* Parsing of command lines, and errors in them. */
#ifndef TOOLS_SHARED_USAGE_H
#define TOOLS_SHARED_USAGE_H

#include <getopt.h>

#include "ivshmem/api.h"

#define STATUS_FAILED 1
#define STATUS_USAGE 2
#define USAGE_SURPLUS (-2)

/**
 * usage_start() - call this first in main()
 * @program: name of the program, for messages
 *
 * Return: 0, or STATUS_FAILED after printing the reason, if fds 0 to 2 cannot be opened.
 */
int usage_start(const char *program);

/** usage_command() - from now on, also begin messages with the name of this command */
void usage_command(const char *command);

/**
 * struct usage - a command line that consists of options, and of operands if @operand is set
 * @help:    printed for -h; -V prints the version. Both must be in @letters and @options
 * @letters: short options, for getopt(3)
 * @options: long options, for getopt_long(3)
 * @take:    handles one option; '?' stands for an invalid option, which getopt has reported.
 *           Return: 0, or an exit status after printing the reason.
 * @surplus: advice to print if an argument is neither an option nor an expected operand
 * @operand: handles the next argument that is not an option; NULL: there are no operands.
 *           Return: 0, USAGE_SURPLUS if no other is expected, or as @take.
 */
struct usage {
	const char *help;
	const char *letters;
	const struct option *options;
	int (*take)(void *settings, int option, const char *value);
	const char *surplus;
	int (*operand)(void *settings, char *value);
};

/** usage_name() - the name of the program, with its command: begins each message */
const char *usage_name(void);

/**
 * usage_failed() - print "PROGRAM: " and the formatted text on one line, made safe for terminals
 *
 * Return: STATUS_FAILED.
 */
IVS_PRINTF(1, 2) int usage_failed(const char *format, ...);

/**
 * usage_hold() - keep the messages of usage_failed() and usage_error() until usage_release()
 *
 * Printing can end this process (SIGPIPE) or wait forever, so first undo what must be undone.
 */
void usage_hold(void);

/** usage_release() - print the messages that were kept; no-op if none are kept */
void usage_release(void);

/** usage_error() - print 'PROGRAM: WHAT "VALUE": FIX' like usage_failed(). Return: STATUS_USAGE. */
int usage_error(const char *what, const char *value, const char *fix);

/**
 * usage_parse() - parse the whole command line into @settings
 *
 * Return: 0; -1 after --help or --version; an exit status after printing the reason.
 */
int usage_parse(const struct usage *usage, void *settings, int argc, char **argv);

#endif
