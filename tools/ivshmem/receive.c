/* SPDX-License-Identifier: BSD-3-Clause */
/* The command receive: messages from the senders of a queue. */
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/parse.h"
#include "tools/ivshmem/channel_target.h"
#include "tools/ivshmem/commands.h"

#define ROOM_MIN 4096

/**
 * struct receive - the command line of receive
 * @left_n: number of messages that are still to come; UINT64_MAX: without limit
 * @raw:    print no newlines
 * @broken: messages of a sender were lost
 * @buffer: room for @room bytes
 */
struct receive {
	struct channel_target target;
	uint64_t left_n;
	bool raw;
	bool broken;
	char *buffer;
	size_t room;
};

static int take_option(void *context, int option, const char *value)
{
	struct receive *receive = context;

	switch (option) {
	case 'n':
		if (!ivs_parse_uint(value, 1, UINT64_MAX - 1, &receive->left_n))
			return usage_error("invalid count", value, "use a number of at least 1");
		return 0;
	case 'r':
		receive->raw = true;
		return 0;
	default:
		return channel_target_option(&receive->target, option, value);
	}
}

static int take_operand(void *context, char *value)
{
	return channel_target_operand(&((struct receive *)context)->target, value);
}

static int parse(struct receive *receive, int argc, char **argv)
{
	static const char help[] =
		"usage: ivshmem receive ADDRESS NAME [OPTION]...\n"
		"\n"
		"Receives the messages of all peers that send to the queue NAME, and prints each\n"
		"one and a newline, until it is interrupted.\n"
		"\n"
		"  -n, --count N          end after N messages\n"
		"  -t, --timeout SECONDS  fail if no message arrives for so long; by default, "
		"wait\n"
		"                         indefinitely\n"
		"  -r, --raw              print no newlines\n" CHANNEL_HELP "\n" TARGET_ADDRESSES
		"\n"
		"Example: print the next message, or fail after 10 seconds\n"
		"  ivshmem receive pci: jobs --count 1 --timeout 10\n";
	static const struct option options[] = {
		{"count", required_argument, NULL, 'n'},
		{"raw", no_argument, NULL, 'r'},
		CHANNEL_OPTIONS,
		{0},
	};
	static const struct usage usage = {help,	"n:r" CHANNEL_LETTERS, options,
					   take_option, "see --help",	       take_operand};

	return usage_parse(&usage, receive, argc, argv);
}

/* Return: 0, -ENOMEM. */
static int make_room(struct receive *receive, size_t len)
{
	char *more;

	if (len <= receive->room)
		return 0;
	more = realloc(receive->buffer, len);
	if (!more)
		return -ENOMEM;
	receive->buffer = more;
	receive->room = len;
	return 0;
}

static int receive_one(struct receive *receive, struct ivs_queue *queue, size_t *len,
		       int timeout_ms)
{
	int result = ivs_queue_receive(queue, receive->buffer, receive->room, len, timeout_ms);

	if (result != IVS_CHANNEL_E_TOO_LONG)
		return result;
	result = make_room(receive, *len);
	return result ? result
		      : ivs_queue_receive(queue, receive->buffer, receive->room, len, timeout_ms);
}

static int output_failed(void)
{
	return usage_failed("cannot print: %s", strerror(errno));
}

static int print_message(const struct receive *receive, size_t len)
{
	if (fwrite(receive->buffer, 1, len, stdout) != len ||
	    (!receive->raw && putchar('\n') == EOF))
		return output_failed();
	return 0;
}

/* Return: 0: go on; or an exit status after printing the reason. */
static int handle(struct receive *receive, int result, size_t len)
{
	const struct channel_target *target = &receive->target;

	switch (result) {
	case 0:
		if (receive->left_n != UINT64_MAX)
			receive->left_n--;
		return print_message(receive, len);
	case -EINTR:
	case IVS_CHANNEL_E_ENDED: /* there may be other senders later */
		return 0;
	case IVS_CHANNEL_E_BROKEN:
		receive->broken = true;
		usage_failed("\"%s\" in %s: a sender has stored impossible values, and its "
			     "remaining messages are lost",
			     target->name, target->target.address);
		return 0;
	case IVS_CHANNEL_E_TIMEOUT:
		return usage_failed("\"%s\" in %s: no message within %d s", target->name,
				    target->target.address, target->timeout_ms / 1000);
	default:
		return channel_target_failed(target, result);
	}
}

static int receive_all(struct receive *receive)
{
	struct ivs_queue *queue;
	int status = 0;
	int result = ivs_queue_open_receiver(receive->target.channels, receive->target.name,
					     &queue);

	if (!result)
		result = make_room(receive, ROOM_MIN);
	if (result)
		return channel_target_failed(&receive->target, result);
	while (!status && receive->left_n) {
		size_t len = 0;

		result = receive_one(receive, queue, &len, 0);
		if (result == IVS_CHANNEL_E_TIMEOUT) {
			if (fflush(stdout))
				status = output_failed();
			else
				result = receive_one(receive, queue, &len,
						     receive->target.timeout_ms);
		}
		if (!status)
			status = handle(receive, result, len);
	}
	ivs_queue_close(queue);
	if (fflush(stdout) && !status)
		status = output_failed();
	return status || receive->broken ? STATUS_FAILED : 0;
}

static int run_receive(int argc, char **argv)
{
	static struct receive receive = {.target = CHANNEL_TARGET_INIT, .left_n = UINT64_MAX};
	int status = parse(&receive, argc, argv);

	if (!status)
		status = channel_target_open(&receive.target);
	if (status)
		return status < 0 ? 0 : status;
	status = receive_all(&receive);
	channel_target_close(&receive.target);
	free(receive.buffer);
	return status;
}

const struct command command_receive = {"receive", "print the messages of a queue", run_receive};
