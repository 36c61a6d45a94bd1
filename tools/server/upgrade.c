/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/server/upgrade.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/parse.h"
#include "daemon/log.h"
#include "tools/server/confine.h"
#include "tools/server/options.h"

#define LIST_VARIABLE "IVSHMEM_SERVER_LIST"   /* number of the fd from which to resume */
#define TRIAL_VARIABLE "IVSHMEM_SERVER_TRIAL" /* number of the fd to check in a trial */
#define TRIAL_S 10
#define NOT_STARTED 127 /* exit status if a program cannot be executed, as in a shell */

void upgrade_init(struct upgrade *upgrade, char **argv)
{
	ssize_t len = readlink("/proc/self/exe", upgrade->program, sizeof(upgrade->program) - 1);

	upgrade->program[len > 0 ? len : 0] = '\0';
	upgrade->argv = argv;
	upgrade->trial = 0;
}

/* Take an fd from the environment, and unset @variable. Return: the fd, or -1. */
static int fd_of_environment(const char *variable)
{
	const char *text = getenv(variable);
	uint64_t number;
	int fd = -1;

	if (text && ivs_parse_uint(text, 0, INT32_MAX, &number))
		fd = (int)number;
	unsetenv(variable);
	return fd;
}

bool upgrade_is_trial(int *fd)
{
	*fd = fd_of_environment(TRIAL_VARIABLE);
	return *fd >= 0;
}

int upgrade_list_fd(void)
{
	bool named = getenv(LIST_VARIABLE);
	int fd = fd_of_environment(LIST_VARIABLE);

	if (!named || ivs_inherited_is_list(fd))
		return fd;
	ivs_log(IVS_LOG_WARNING,
		LIST_VARIABLE " in the environment was not set by a server: do not set it");
	return -1;
}

static int set_fd_variable(const char *variable, int fd)
{
	char text[16];

	snprintf(text, sizeof(text), "%d", fd);
	return setenv(variable, text, 1) ? -errno : 0;
}

/* Run a trial of the new program. This is called in the child, and does not return. */
static void try_program(const struct upgrade *upgrade, int fd, pid_t server)
{
	int copy = dup(fd);

	signal(SIGALRM, SIG_DFL);
	alarm(TRIAL_S);
	/* End the trial when the server exits, even if it has already exited. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != server)
		_exit(NOT_STARTED);
	if (copy >= 0 && !set_fd_variable(TRIAL_VARIABLE, copy))
		execv(upgrade->program, upgrade->argv);
	_exit(NOT_STARTED);
}

void upgrade_try(struct upgrade *upgrade, const struct settings *settings,
		 const struct ivs_handover *handover)
{
	pid_t server;
	pid_t pid;

	if (upgrade->trial)
		return; /* a trial is running */
	if (!may_upgrade(settings)) {
		ivs_log(IVS_LOG_ERROR,
			"no upgrade: with --chroot or --sandbox strict no program can be executed: "
			"have a service manager restart the server");
		return;
	}
	if (!*upgrade->program) {
		ivs_log(IVS_LOG_ERROR, "no upgrade: cannot find the file from which this program "
				       "runs, because /proc is not mounted");
		return;
	}
	server = getpid();
	pid = fork();
	if (!pid)
		try_program(upgrade, handover->state_fd, server);
	if (pid < 0)
		ivs_log(IVS_LOG_ERROR, "no upgrade: cannot fork: %s", strerrordesc_np(errno));
	else
		upgrade->trial = pid;
}

bool upgrade_may_go(struct upgrade *upgrade)
{
	int status;

	if (!upgrade->trial || waitpid(upgrade->trial, &status, WNOHANG) != upgrade->trial)
		return false;
	upgrade->trial = 0;
	if (WIFEXITED(status) && WEXITSTATUS(status) == UPGRADE_FITS)
		return true;
	if (WIFEXITED(status) && WEXITSTATUS(status) == NOT_STARTED)
		ivs_log(IVS_LOG_ERROR, "no upgrade: cannot execute %s", upgrade->program);
	else
		ivs_log(IVS_LOG_ERROR,
			"no upgrade: %s cannot resume from this program (it ended with %s %d)",
			upgrade->program, WIFEXITED(status) ? "status" : "signal",
			WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
	return false;
}

static int list_all(const struct ivs_server *server, const struct ivs_pidfile *pidfile,
		    struct ivs_inherited *list)
{
	int result = ivs_server_list_fds(server, list);

	if (!result && pidfile->fd >= 0)
		result = ivs_inherited_add(list, pidfile->fd, PIDFILE_FD_NAME);
	return result;
}

void upgrade_go(const struct upgrade *upgrade, const struct ivs_server *server,
		const struct ivs_pidfile *pidfile)
{
	struct ivs_inherited list = {0};
	IVS_OWNED_FD list_fd = -1;
	int result;

	result = list_all(server, pidfile, &list);
	if (!result)
		result = ivs_inherited_pass(&list, &list_fd);
	if (!result)
		result = set_fd_variable(LIST_VARIABLE, list_fd);
	if (!result) {
		ivs_log(IVS_LOG_INFO, "executing %s", upgrade->program);
		execv(upgrade->program, upgrade->argv);
		result = -errno;
		unsetenv(LIST_VARIABLE);
	}
	ivs_inherited_unpass(&list);
	ivs_inherited_free(&list);
	ivs_log(IVS_LOG_ERROR, "no upgrade: %s", strerrordesc_np(-result));
}
