/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Commands in messages. Users paste them, so a path in them is quoted, and a command is printed in
 * full or not at all: "rm /srv/a/b" must not be truncated to "rm /srv/a".
 */
#ifndef IVS_BASE_SHELL_H
#define IVS_BASE_SHELL_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

#include "ivshmem/api.h"

#define IVS_SHELL_WORD_LEN (4 * PATH_MAX + 3) /* each character can become four */

/**
 * ivs_shell_quote() - quote @text as a word of a POSIX shell command, if needed
 *
 * Return: the length of the word; 0, with "" in @out, if it does not fit, or if @text has control
 * characters or is not UTF-8.
 */
size_t ivs_shell_quote(const char *text, char *out, size_t out_len);

/**
 * ivs_shell_add() - append a command to a message, or nothing if it does not fit, or if @path
 * cannot be quoted
 * @before: text and command, such as ": mkdir -p "
 * @path:   what the command is applied to; this function quotes it
 * @after:  text after the command
 */
void ivs_shell_add(char *message, size_t message_len, const char *before, const char *path,
		   const char *after);

/** ivs_shell_add_error() - the same for the message in @err, which may be NULL */
static inline void ivs_shell_add_error(struct ivs_error *err, const char *before, const char *path,
				       const char *after)
{
	if (err)
		ivs_shell_add(err->text, sizeof(err->text), before, path, after);
}

#endif
