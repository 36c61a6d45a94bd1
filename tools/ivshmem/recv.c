/* SPDX-License-Identifier: BSD-3-Clause */
/* The command recv: messages from the senders of a queue. */
#include <stdbool.h>

#include "tools/ivshmem/commands.h"
#include "tools/ivshmem/message_receive.h"

/**
 * struct receive - the command line of recv, and its queue
 * @broken: messages of a sender were lost
 */
struct receive {
	struct message_receive base;
	struct ivs_queue *queue;
	bool broken;
};

static int take_option(void *context, int option, const char *value)
{
	return message_receive_option(&((struct receive *)context)->base, option, value);
}

static int take_operand(void *context, char *value)
{
	return channel_target_operand(&((struct receive *)context)->base.target, value);
}

static int parse(struct receive *receive, int argc, char **argv)
{
	static const char help[] =
		"usage: ivshmem recv ADDRESS NAME [OPTION]...\n"
		"\n"
		"Receives the messages of all peers that send to the queue NAME, and prints each\n"
		"one and a newline, until it is interrupted.\n"
		"\n" MESSAGE_RECEIVE_HELP "\n" TARGET_ADDRESSES "\n"
		"Example: print the next message, or fail after 10 seconds\n"
		"  ivshmem recv pci: jobs --count 1 --timeout 10\n";
	static const struct option options[] = {MESSAGE_RECEIVE_OPTIONS, {0}};
	static const struct usage usage = {
		help, MESSAGE_RECEIVE_LETTERS, options, take_option, "see --help", take_operand};

	return usage_parse(&usage, receive, argc, argv);
}

static int receive_one(void *context, void *buffer, size_t room, size_t *len, int timeout_ms)
{
	return ivs_queue_receive(((const struct receive *)context)->queue, buffer, room, len,
				 timeout_ms);
}

static int failed(void *context, int result)
{
	struct receive *receive = context;
	const struct channel_target *target = &receive->base.target;

	if (result != IVS_CHANNEL_E_BROKEN)
		return channel_target_failed(target, result);
	receive->broken = true;
	usage_failed("\"%s\" in %s: a sender has stored impossible values, and its remaining "
		     "messages are lost",
		     target->name, target->target.address);
	return 0;
}

static int receive_all(void *context)
{
	struct receive *receive = context;
	const struct channel_target *target = &receive->base.target;
	int result = ivs_queue_open_receiver(target->channels, target->name, &receive->queue);
	int status;

	if (result)
		return channel_target_failed(target, result);
	status = message_receive_all(&receive->base);
	ivs_queue_close(receive->queue);
	return status || receive->broken ? STATUS_FAILED : 0;
}

static int run_recv(int argc, char **argv)
{
	static struct receive receive = {.base = MESSAGE_RECEIVE_INIT};
	int status = parse(&receive, argc, argv);

	receive.base.receive = receive_one;
	receive.base.failed = failed;
	receive.base.context = &receive;
	if (status)
		return status < 0 ? 0 : status;
	return message_receive_run(&receive.base, receive_all);
}

const struct command command_recv = {"recv", "print the messages of a queue", run_recv};
