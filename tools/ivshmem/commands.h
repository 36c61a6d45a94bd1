/* SPDX-License-Identifier: BSD-3-Clause */
/* The commands of ivshmem. Each file of this folder has one command or a few related ones. */
#ifndef TOOLS_IVSHMEM_COMMANDS_H
#define TOOLS_IVSHMEM_COMMANDS_H

#include "tools/shared/usage.h"

/**
 * struct command - a command: "ivshmem NAME ..."
 * @name:    the word that selects the command
 * @summary: one line for "ivshmem --help"
 * @run:     parses the arguments with usage_parse() and runs the command.
 *           @argv[0] is "ivshmem NAME".
 *           Return: an exit status (0, STATUS_FAILED, STATUS_USAGE).
 */
struct command {
	const char *name;
	const char *summary;
	int (*run)(int argc, char **argv);
};

extern const struct command command_bench;
extern const struct command command_doctor;
extern const struct command command_dump;
extern const struct command command_get;
extern const struct command command_peers;
extern const struct command command_ping;
extern const struct command command_pong;
extern const struct command command_put;
extern const struct command command_ring;
extern const struct command command_wait;
extern const struct command command_channels;
extern const struct command command_pipe;
extern const struct command command_publish;
extern const struct command command_recv;
extern const struct command command_send;
extern const struct command command_subscribe;
extern const struct command command_create;
extern const struct command command_resize;
extern const struct command command_remove;
extern const struct command command_save;
extern const struct command command_restore;
extern const struct command command_migrate;
extern const struct command command_list;
extern const struct command command_config;
extern const struct command command_looking_glass;
extern const struct command command_attach;
extern const struct command command_detach;
extern const struct command command_forward;
extern const struct command command_top;

#endif
