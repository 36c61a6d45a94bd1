/* SPDX-License-Identifier: BSD-3-Clause */
/* Receiving messages and printing them: what "receive" and "subscribe" have in common. */
#ifndef TOOLS_IVSHMEM_MESSAGE_RECEIVE_H
#define TOOLS_IVSHMEM_MESSAGE_RECEIVE_H

#include "tools/ivshmem/channel_target.h"
#include "tools/ivshmem/message_print.h"

#define MESSAGE_RECEIVE_LETTERS MESSAGE_PRINT_LETTERS CHANNEL_LETTERS
#define MESSAGE_RECEIVE_OPTIONS MESSAGE_PRINT_OPTIONS, CHANNEL_OPTIONS
#define MESSAGE_RECEIVE_HELP MESSAGE_PRINT_HELP CHANNEL_HELP

/**
 * struct message_receive - a command that receives; start from MESSAGE_RECEIVE_INIT
 * @receive: receive a message. Parameters and results as for ivs_queue_receive()
 * @failed:  called if @receive has failed for a reason other than the end of the other side or the
 *           time limit. Return: 0: go on; STATUS_FAILED after printing the reason
 */
struct message_receive {
	struct channel_target target;
	struct message_print print;
	int (*receive)(void *context, void *buffer, size_t room, size_t *len, int timeout_ms);
	int (*failed)(void *context, int result);
	void *context;
};

#define MESSAGE_RECEIVE_INIT                                                                       \
	{                                                                                          \
		.target = CHANNEL_TARGET_INIT, .print = MESSAGE_PRINT_INIT                         \
	}

/** message_receive_option() - handle an option that both commands have, or an unknown one */
int message_receive_option(struct message_receive *receive, int option, const char *value);

/** message_receive_all() - print messages up to --count. Return: 0, STATUS_FAILED */
int message_receive_all(struct message_receive *receive);

/**
 * message_receive_run() - open the channels, and close them when @all has returned
 * @all: opens and closes the queue or topic. Return: an exit status
 */
int message_receive_run(struct message_receive *receive, int (*all)(void *context));

#endif
