/* SPDX-License-Identifier: BSD-3-Clause */
/* The command line of ivshmem-server: the options of QEMU's server, and long options. */
#ifndef TOOLS_SERVER_OPTIONS_H
#define TOOLS_SERVER_OPTIONS_H

#include "ivshmem/region.h"
#include "server/server.h"
#include "tools/shared/usage.h"

#define PROGRAM "ivshmem-server"
#define PIDFILE_FD_NAME "ivshmem.pidfile"

enum sandbox {
	SANDBOX_DEFAULT, /* ON if this build has a filter, otherwise OFF */
	SANDBOX_ON,
	SANDBOX_STRICT, /* the filter prevents upgrades */
	SANDBOX_OFF,
};

/**
 * struct settings - the command line
 * @pidfile: path of the pidfile; NULL: none
 * @pidfile_wanted: whether @pidfile is from the command line
 * @region:  address of the region
 * @root:    new root directory, absolute and without symbolic links; "": no change
 * @user:    user to become; NULL: no change
 * @uid:     id of @user
 * @sandbox: the system call filter
 * @status:  control socket of the running server whose status is shown; NULL: run a server
 * @json:    show the status as JSON
 */
struct settings {
	bool foreground;
	bool verbose;
	const char *pidfile;
	bool pidfile_wanted;
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
 * parse_arguments() - parse the command line into @settings, after setting defaults
 *
 * Return: 0, -1 after --help or --version, or an exit status after printing the reason.
 */
int parse_arguments(struct settings *settings, int argc, char **argv);

#endif
