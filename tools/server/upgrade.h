/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Upgrading a running server: SIGUSR2 executes its program file again, in the same process and with
 * the same arguments. Before that, a child executes the file as a trial, to check that the new
 * program starts and can resume the state of the running server. If not, the running server
 * continues.
 */
#ifndef TOOLS_SERVER_UPGRADE_H
#define TOOLS_SERVER_UPGRADE_H

#include <stdbool.h>
#include <sys/types.h>

#include "daemon/background.h"
#include "server/server.h"
#include "tools/server/options.h"

/* Exit status of a successful trial. Other programs do not use this value. */
#define UPGRADE_FITS 93

/**
 * struct upgrade - what an upgrade needs
 * @program: absolute path of the program file, determined at startup, because the file may be
 *           replaced later; "": unknown
 * @argv:    argv of main()
 * @trial:   process id of the trial, or 0
 */
struct upgrade {
	char program[4096];
	char **argv;
	pid_t trial;
};

void upgrade_init(struct upgrade *upgrade, char **argv);

/** upgrade_is_trial() - return whether this process is a trial; @fd is then the state to check */
bool upgrade_is_trial(int *fd);

/** upgrade_list_fd() - return the previous program's list of fds, for ivs_handover_open(), or -1 */
int upgrade_list_fd(void);

/** upgrade_try() - start a trial; SIGCHLD reports that the trial has exited */
void upgrade_try(struct upgrade *upgrade, const struct settings *settings,
		 const struct ivs_handover *handover);

/** upgrade_may_go() - call this after SIGCHLD; return whether the trial has succeeded */
bool upgrade_may_go(struct upgrade *upgrade);

/** upgrade_go() - execute the new program; returns only on failure */
void upgrade_go(const struct upgrade *upgrade, const struct ivs_server *server,
		const struct ivs_pidfile *pidfile);

#endif
