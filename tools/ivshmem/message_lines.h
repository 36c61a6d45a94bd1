/* SPDX-License-Identifier: BSD-3-Clause */
/* The words of a command line, or the lines of standard input, as messages. */
#ifndef TOOLS_IVSHMEM_MESSAGE_LINES_H
#define TOOLS_IVSHMEM_MESSAGE_LINES_H

#include "tools/ivshmem/channel_target.h"

#define MESSAGE_LINES_MAX (64 * 1024) /* maximum length of a line in bytes */

/**
 * struct message_lines - what to send
 * @words:   the words of TEXT, words_n of them
 * @text:    the message that consists of @words, joined with blanks; NULL: the lines of standard
 *           input are messages
 * @lines_n: number of lines that were read
 * @max:     maximum length of a message
 * @too_long: a message was longer
 * @send:    send a message. Return: 0, IVS_CHANNEL_E_*, -errno
 * @idle:    called after each wait for standard input. Return: as @send
 * @failed:  print why @send or @idle has failed. Return: STATUS_FAILED
 */
struct message_lines {
	struct channel_target *target;
	char **words;
	size_t words_n;
	char *text;
	uint64_t lines_n;
	uint32_t max;
	bool too_long;
	int (*send)(void *context, const char *message, size_t len);
	int (*idle)(void *context);
	int (*failed)(void *context, int result);
	void *context;
};

/** message_lines_operand() - take ADDRESS, NAME, then words of TEXT. Return: 0, STATUS_FAILED */
int message_lines_operand(struct message_lines *lines, char *value);

/** message_lines_join() - make @text of @words, if there are any. Return: 0, STATUS_FAILED */
int message_lines_join(struct message_lines *lines);

/** message_lines_send() - send @text, or the lines of standard input. Return: 0, STATUS_FAILED */
int message_lines_send(struct message_lines *lines);

void message_lines_deinit(struct message_lines *lines);

#endif
