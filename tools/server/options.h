/* SPDX-License-Identifier: BSD-3-Clause */
/* The command line of ivshmem-server: options as QEMU's server has them, long ones beside them. */
#ifndef TOOLS_SERVER_OPTIONS_H
#define TOOLS_SERVER_OPTIONS_H

#include "ivshmem/region.h"
#include "server/server.h"
#include "tools/shared/usage.h"

#define PROGRAM "ivshmem-server"
#define PIDFILE_FD_NAME "ivshmem.pidfile"

enum sandbox {
	SANDBOX_DEFAULT, /* as ON, if this build has a filter */
	SANDBOX_ON,
	SANDBOX_STRICT, /* without upgrades */
	SANDBOX_OFF,
};

/**
 * struct settings - the command line
 * @pidfile: NULL: none
 * @region:  address of the region
 * @root:    new root directory, absolute and without links; "": no change
 * @user:    to become; NULL: no change
 * @uid:     of that user
 * @sandbox: the system call filter
 * @status:  control socket of a server whose status to show; NULL: run a server
 * @json:    show the reply as JSON
 */
struct settings {
	bool foreground;
	bool verbose;
	const char *pidfile;
	char region[4096 + sizeof("file:")];
	char root[4096];
	const char *user;
	uid_t uid;
	enum sandbox sandbox;
	const char *status;
	bool json;
	struct ivs_region_options region_opts;
	struct ivs_server_options server_opts;
};

/**
 * parse_arguments() - fill in @settings, defaults first
 *
 * Return: 0; -1: there is nothing left to do (--help); an exit status, with the reason printed.
 */
int parse_arguments(struct settings *settings, int argc, char **argv);

#endif
