/* SPDX-License-Identifier: BSD-3-Clause */
/* The commands get and put: reading and writing bytes of the region. */
#ifndef TOOLS_CLIENT_MEMORY_H
#define TOOLS_CLIENT_MEMORY_H

#include <stdbool.h>

#include "ivshmem/peer.h"
#include "tools/client/outcome.h"

/**
 * memory_start() - install a handler for SIGBUS, which accesses to lost pages of the region raise
 *
 * The commands get and put then fail with a message. Any other access, such as one of the library,
 * ends the program with a message.
 */
void memory_start(void);

/** memory_is_command() - whether @text is a command of this file */
bool memory_is_command(const char *text);

/**
 * memory_run() - run a command for which memory_is_command() is true
 * @line:        the command, which is modified
 * @input_taken: standard input has other commands, so it cannot be the data of put
 */
enum outcome memory_run(struct ivs_peer *peer, char *line, bool input_taken);

#endif
