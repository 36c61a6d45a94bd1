/* SPDX-License-Identifier: BSD-3-Clause */
/* Printing messages that were received. */
#ifndef TOOLS_IVSHMEM_MESSAGE_PRINT_H
#define TOOLS_IVSHMEM_MESSAGE_PRINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MESSAGE_PRINT_LETTERS "n:r"
#define MESSAGE_PRINT_OPTIONS                                                                      \
	{"count", required_argument, NULL, 'n'},                                                   \
	{                                                                                          \
		"raw", no_argument, NULL, 'r'                                                      \
	}

#define MESSAGE_PRINT_HELP                                                                         \
	"  -n, --count N          end after N messages\n"                                          \
	"  -t, --timeout SECONDS  fail if no message arrives for so long; by default, wait\n"      \
	"                         indefinitely\n"                                                  \
	"  -r, --raw              print no newlines\n"

/**
 * struct message_print - start from MESSAGE_PRINT_INIT
 * @left_n: number of messages that are still to come; UINT64_MAX: without limit
 * @raw:    print no newlines
 * @buffer: room for @room bytes
 */
struct message_print {
	uint64_t left_n;
	bool raw;
	char *buffer;
	size_t room;
};

#define MESSAGE_PRINT_INIT                                                                         \
	{                                                                                          \
		.left_n = UINT64_MAX                                                               \
	}

/** message_print_option() - handle -n and -r. Return: 0, STATUS_USAGE; -1: another option */
int message_print_option(struct message_print *print, int option, const char *value);

/** message_print_make_room() - make room for a message of @len bytes. Return: 0, -ENOMEM */
int message_print_make_room(struct message_print *print, size_t len);

/** message_print() - print the message in the buffer, and count it. Return: 0, STATUS_FAILED */
int message_print(struct message_print *print, size_t len);

/** message_print_flush() - print what is still in memory. Return: 0, STATUS_FAILED */
int message_print_flush(void);

#endif
