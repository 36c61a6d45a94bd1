/* SPDX-License-Identifier: BSD-3-Clause */
/* ivshmem: the operator's tool. Finds the command and runs it. */
#include <stdio.h>
#include <string.h>

#include "tools/ivshmem/commands.h"

#define PROGRAM "ivshmem"
#define NAME_LEN 64
#define GROUP_COMMANDS_MAX 16

/* In the order of "ivshmem --help". */
static const struct {
	const char *title;
	const struct command *commands[GROUP_COMMANDS_MAX];
} groups[] = {
	{"Regions",
	 {&command_create, &command_resize, &command_remove, &command_save, &command_restore,
	  &command_list}},
	{"Diagnosis", {&command_doctor, &command_top}},
	{"Looking Glass", {&command_looking_glass}},
	{"Configurations", {&command_config}},
	{"Running VMs", {&command_attach, &command_detach, &command_migrate}},
	{"Peers",
	 {&command_get, &command_put, &command_dump, &command_peers, &command_ring, &command_wait,
	  &command_ping, &command_pong, &command_bench}},
	{"Channels",
	 {&command_forward, &command_pipe, &command_send, &command_recv, &command_publish,
	  &command_subscribe, &command_channels}},
};

#define GROUPS_N (sizeof(groups) / sizeof(*groups))

static void print_help(void)
{
	puts("usage: " PROGRAM " COMMAND [ARGUMENT]...\n"
	     "\n"
	     "Creates, configures and examines shared memory between virtual machines.");
	for (size_t i = 0; i < GROUPS_N; i++) {
		printf("\n%s:\n", groups[i].title);
		for (const struct command *const *at = groups[i].commands; *at; at++)
			printf("  %-14s %s\n", (*at)->name, (*at)->summary);
	}
	puts("\n\"" PROGRAM " COMMAND --help\" describes a command. Man page: ivshmem(1).");
}

static const struct command *find_command(const char *name)
{
	for (size_t i = 0; i < GROUPS_N; i++) {
		for (const struct command *const *at = groups[i].commands; *at; at++) {
			if (!strcmp((*at)->name, name))
				return *at;
		}
	}
	return NULL;
}

static int run(const struct command *command, int argc, char **argv)
{
	static char name[NAME_LEN]; /* for messages of getopt(3) */

	usage_command(command->name);
	snprintf(name, sizeof(name), "%s", usage_name());
	argv[0] = name;
	return command->run(argc, argv);
}

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : NULL;
	const struct command *command;

	if (usage_start(PROGRAM))
		return STATUS_FAILED;
	if (!name) {
		fputs(PROGRAM ": no command: \"" PROGRAM " --help\" lists all commands\n", stderr);
		return STATUS_USAGE;
	}
	if (!strcmp(name, "--help") || !strcmp(name, "-h")) {
		print_help();
		return 0;
	}
	if (!strcmp(name, "--version") || !strcmp(name, "-V")) {
		puts(PROGRAM " " IVS_VERSION);
		return 0;
	}
	command = find_command(name);
	if (!command)
		return usage_error("no such command", name, "\"" PROGRAM " --help\" lists them");
	return run(command, argc - 1, argv + 1);
}
