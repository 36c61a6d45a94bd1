/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Upgrading the server while it runs: SIGUSR2 executes its program file anew, in the same process, with
 * the same arguments. Before that, a child tries out whether the new program starts at all and knows
 * what the present one keeps: if not, the present one goes on.
 */
#ifndef TOOLS_SERVER_UPGRADE_H
#define TOOLS_SERVER_UPGRADE_H

#include <stdbool.h>
#include <sys/types.h>

#include "daemon/background.h"
#include "server/server.h"
#include "tools/server/options.h"

/* How a child ends that could go on: no other program ends in this way by chance. */
#define UPGRADE_FITS 93

/**
 * struct upgrade - what is needed for it
 * @program: absolute path, found at the start: later the file may be another; "" if unknown
 * @argv:    as main() had it
 * @trial:   the child that tries, or 0
 */
struct upgrade {
	char program[4096];
	char **argv;
	pid_t trial;
};

void upgrade_init(struct upgrade *upgrade, char **argv);

/** upgrade_is_trial() - whether this process is such a child; @fd: what to look at */
bool upgrade_is_trial(int *fd);

/** upgrade_list_fd() - what the former program left in this process, for ivs_handover_open(); or -1 */
int upgrade_list_fd(void);

/** upgrade_try() - start the child; SIGCHLD tells when it is done */
void upgrade_try(struct upgrade *upgrade, const struct settings *settings,
		 const struct ivs_handover *handover);

/** upgrade_may_go() - after SIGCHLD: whether the child was content */
bool upgrade_may_go(struct upgrade *upgrade);

/** upgrade_go() - become the new program; returns only if that is impossible */
void upgrade_go(const struct upgrade *upgrade, const struct ivs_server *server,
		const struct ivs_pidfile *pidfile);

#endif
