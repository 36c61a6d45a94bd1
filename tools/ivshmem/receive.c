/* SPDX-License-Identifier: BSD-3-Clause */
/* The command receive: messages from the senders of a queue. */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#include "tools/ivshmem/channel_target.h"
#include "tools/ivshmem/commands.h"
#include "tools/ivshmem/message_print.h"

#define ROOM_MIN 4096

/**
 * struct receive - the command line of receive
 * @broken: messages of a sender were lost
 */
struct receive {
	struct channel_target target;
	struct message_print print;
	bool broken;
};

static int take_option(void *context, int option, const char *value)
{
	struct receive *receive = context;
	int status = message_print_option(&receive->print, option, value);

	return status < 0 ? channel_target_option(&receive->target, option, value) : status;
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
		"\n" MESSAGE_PRINT_HELP CHANNEL_HELP "\n" TARGET_ADDRESSES "\n"
		"Example: print the next message, or fail after 10 seconds\n"
		"  ivshmem receive pci: jobs --count 1 --timeout 10\n";
	static const struct option options[] = {MESSAGE_PRINT_OPTIONS, CHANNEL_OPTIONS, {0}};
	static const struct usage usage = {help,	 MESSAGE_PRINT_LETTERS CHANNEL_LETTERS,
					   options,	 take_option,
					   "see --help", take_operand};

	return usage_parse(&usage, receive, argc, argv);
}

static int receive_one(struct receive *receive, struct ivs_queue *queue, size_t *len,
		       int timeout_ms)
{
	struct message_print *print = &receive->print;
	int result = ivs_queue_receive(queue, print->buffer, print->room, len, timeout_ms);

	if (result != IVS_CHANNEL_E_TOO_LONG)
		return result;
	result = message_print_make_room(print, *len);
	return result ? result
		      : ivs_queue_receive(queue, print->buffer, print->room, len, timeout_ms);
}

/* Return: 0: go on; or an exit status after printing the reason. */
static int handle(struct receive *receive, int result, size_t len)
{
	const struct channel_target *target = &receive->target;

	switch (result) {
	case 0:
		return message_print(&receive->print, len);
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
		result = message_print_make_room(&receive->print, ROOM_MIN);
	if (result)
		return channel_target_failed(&receive->target, result);
	while (!status && receive->print.left_n) {
		size_t len = 0;

		result = receive_one(receive, queue, &len, 0);
		if (result == IVS_CHANNEL_E_TIMEOUT) {
			status = message_print_flush();
			if (!status)
				result = receive_one(receive, queue, &len,
						     receive->target.timeout_ms);
		}
		if (!status)
			status = handle(receive, result, len);
	}
	ivs_queue_close(queue);
	if (!status)
		status = message_print_flush();
	return status || receive->broken ? STATUS_FAILED : 0;
}

static int run_receive(int argc, char **argv)
{
	static struct receive receive = {.target = CHANNEL_TARGET_INIT,
					 .print = MESSAGE_PRINT_INIT};
	int status = parse(&receive, argc, argv);

	if (!status)
		status = channel_target_open_named(&receive.target);
	if (status)
		return status < 0 ? 0 : status;
	status = receive_all(&receive);
	channel_target_close(&receive.target);
	free(receive.print.buffer);
	return status;
}

const struct command command_receive = {"receive", "print the messages of a queue", run_receive};
