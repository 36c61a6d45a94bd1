/* SPDX-License-Identifier: BSD-3-Clause */
/* The command send: messages to the receiver of a queue. */
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "tools/ivshmem/commands.h"
#include "tools/ivshmem/message_lines.h"
#include "tools/ivshmem/signals.h"

#define MESSAGES_N 8
#define MESSAGE_LEN_MIN 64

/** struct send - the command line of send, and its queue */
struct send {
	struct channel_target target;
	struct message_lines lines;
	struct ivs_queue *queue;
};

static int take_option(void *context, int option, const char *value)
{
	return channel_target_option(&((struct send *)context)->target, option, value);
}

static int take_operand(void *context, char *value)
{
	return message_lines_operand(&((struct send *)context)->lines, value);
}

static int parse(struct send *send, int argc, char **argv)
{
	static const char help[] =
		"usage: ivshmem send ADDRESS NAME [TEXT]... [OPTION]...\n"
		"\n"
		"Sends the words of TEXT, separated by blanks, as one message to the peer that\n"
		"receives from the queue NAME. Without TEXT, each line of standard input is a\n"
		"message. Waits until the receiver has taken all messages.\n"
		"\n"
		"  -t, --timeout SECONDS  time limit for each wait for the receiver; by default,\n"
		"                         wait indefinitely\n" CHANNEL_HELP "\n" TARGET_ADDRESSES
		"\n"
		"Example: a message to a guest that runs \"ivshmem recv pci: jobs\"\n"
		"  ivshmem send unix:/run/ivshmem/my-vms.sock jobs rotate logs\n";
	static const struct option options[] = {CHANNEL_OPTIONS, {0}};
	static const struct usage usage = {help,	CHANNEL_LETTERS, options,
					   take_option, "see --help",	 take_operand};

	return usage_parse(&usage, send, argc, argv);
}

/* A section may be too small for long messages. Return: 0, IVS_CHANNEL_E_*, -errno. */
static int open_queue(struct send *send)
{
	struct ivs_queue_options options = {MESSAGES_N, MESSAGE_LINES_MAX};
	const char *text = send->lines.text;
	int result;

	if (text && strlen(text) < IVS_CHANNEL_MESSAGE_MAX)
		options = (struct ivs_queue_options){2, (uint32_t)strlen(text) + 1};
	for (;; options.message_len /= 2) {
		result = ivs_queue_open_sender(send->target.channels, send->target.name, &options,
					       &send->queue);
		if (result != IVS_CHANNEL_E_FULL || options.message_len < 2 * MESSAGE_LEN_MIN)
			break;
	}
	send->lines.max = options.message_len;
	return result;
}

static int failed(void *context, int result)
{
	const struct send *send = context;

	if (result == IVS_CHANNEL_E_TIMEOUT)
		return usage_failed("\"%s\" in %s: the receiver has not taken all messages within "
				    "%d s",
				    send->target.name, send->target.target.address,
				    send->target.timeout_ms / 1000);
	return channel_target_failed(&send->target, result);
}

static int send_one(void *context, const char *message, size_t len)
{
	const struct send *send = context;

	return ivs_queue_send(send->queue, message, len, send->target.timeout_ms);
}

/* Find the receiver, or find out that it has died. */
static int look(void *context)
{
	return ivs_queue_flush(((const struct send *)context)->queue, 0);
}

static int flush(struct send *send)
{
	int result;

	do
		result = ivs_queue_flush(send->queue, send->target.timeout_ms);
	while (result == -EINTR && !signals_have_stopped());
	return result ? failed(send, result) : 0;
}

static int send_all(struct send *send)
{
	int result = open_queue(send);
	int status;

	if (result)
		return channel_target_failed(&send->target, result);
	status = message_lines_send(&send->lines);
	/* Closing the queue would lose what the receiver has not found. */
	if (!status || send->lines.too_long)
		status |= flush(send);
	ivs_queue_close(send->queue);
	return status;
}

static int run_send(int argc, char **argv)
{
	static struct send send = {.target = CHANNEL_TARGET_INIT};
	int status;

	send.lines = (struct message_lines){
		.target = &send.target,
		.send = send_one,
		.idle = look,
		.failed = failed,
		.context = &send,
	};
	status = parse(&send, argc, argv);
	if (!status)
		status = message_lines_join(&send.lines);
	if (!status)
		status = channel_target_open_named(&send.target);
	if (!status) {
		signals_stop_peer(send.target.peer);
		status = send_all(&send);
		channel_target_close(&send.target);
	}
	message_lines_deinit(&send.lines);
	return status < 0 ? 0 : status;
}

const struct command command_send = {"send", "send messages to the receiver of a queue", run_send};
