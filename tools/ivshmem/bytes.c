/* SPDX-License-Identifier: BSD-3-Clause */
/* The commands get and put, which read and write bytes of a region. */
#include <stdio.h>
#include <string.h>

#include "tools/ivshmem/commands.h"
#include "tools/ivshmem/target.h"
#include "tools/shared/memory.h"

/**
 * struct bytes - the command line
 * @place: the place in the region; its offset is NULL if the argument is missing
 * @last:  the last argument, a length or text; NULL if it is missing
 */
struct bytes {
	struct target target;
	struct memory_place place;
	char *last;
};

static int take_option(void *context, int option, const char *value)
{
	struct bytes *bytes = context;

	(void)value;
	if (option != 'x')
		return target_option(&bytes->target, option);
	bytes->place.hex = true;
	return 0;
}

static int take_operand(void *context, char *value)
{
	struct bytes *bytes = context;

	if (!target_operand(&bytes->target, value))
		return 0;
	if (!bytes->place.offset)
		bytes->place.offset = value;
	else if (!bytes->last)
		bytes->last = value;
	else
		return USAGE_SURPLUS;
	return 0;
}

/* Return: 0, -1 after --help or --version, or an exit status. */
static int parse(struct bytes *bytes, const char *help, const char *last, int argc, char **argv)
{
	static const struct option options[] = {
		{"hex", no_argument, NULL, 'x'},
		TARGET_OPTIONS,
		{0},
	};
	const struct usage usage = {help,
				    "x" TARGET_LETTERS,
				    options,
				    take_option,
				    "quote TEXT if it contains blanks",
				    take_operand};
	int status = usage_parse(&usage, bytes, argc, argv);

	if (status || !bytes->target.text || bytes->last)
		return status;
	fprintf(stderr, "%s: no %s: see --help\n", usage_name(),
		bytes->place.offset ? last : "OFFSET");
	return STATUS_USAGE;
}

static int finish(struct ivs_peer *peer, enum outcome outcome)
{
	ivs_peer_close(peer);
	return outcome == OUTCOME_OK ? 0 : STATUS_FAILED;
}

static int run_get(int argc, char **argv)
{
	static const char help[] =
		"usage: ivshmem get ADDRESS OFFSET LEN [-x]\n"
		"\n"
		"Prints bytes of a region. Offsets and lengths are numbers of bytes, such as\n"
		"4096, 4K or 0x1000.\n"
		"\n"
		"  -x, --hex              print the bytes as hexadecimal digits\n" TARGET_HELP
		"\n" TARGET_ADDRESSES "\n"
		"Example: the first 64 bytes of a region\n"
		"  ivshmem get looking-glass 0 64 -x\n";
	static struct bytes bytes;
	struct ivs_peer *peer;
	int status = parse(&bytes, help, "LEN", argc, argv);

	if (!status)
		status = target_open(&bytes.target, true, &peer);
	if (status)
		return status < 0 ? 0 : status;
	return finish(peer, memory_get(peer, &bytes.place, bytes.last));
}

static int run_put(int argc, char **argv)
{
	static const char help[] =
		"usage: ivshmem put ADDRESS OFFSET TEXT|- [-x]\n"
		"\n"
		"Writes TEXT, or standard input if TEXT is \"-\", into a region, without a\n"
		"newline or NUL at its end. The offset is a number of bytes, such as 4096, 4K\n"
		"or 0x1000. TEXT is not written if it does not fit. If standard input does not\n"
		"fit, or is not hexadecimal, part of it may have been written.\n"
		"\n"
		"  -x, --hex              the data consists of hexadecimal digits\n" TARGET_HELP
		"\n" TARGET_ADDRESSES "\n"
		"Example: copy a file into a region\n"
		"  ivshmem put my-region 4K - < file\n";
	static struct bytes bytes;
	struct ivs_peer *peer;
	int status = parse(&bytes, help, "TEXT", argc, argv);

	if (!status)
		status = target_open(&bytes.target, false, &peer);
	if (status)
		return status < 0 ? 0 : status;
	return finish(peer, memory_put(peer, &bytes.place, bytes.last));
}

const struct command command_get = {"get", "print bytes of a region", run_get};
const struct command command_put = {"put", "write bytes into a region", run_put};
