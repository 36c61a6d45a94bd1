/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/ivshmem/doctor/vm_program.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/text.h"

#define RUN_MS 5000 /* for all runs of a program */
#define PAUSE_MS 5
#define BANNER "QEMU emulator version "
#define OUTPUT_MAX ((size_t)256 * 1024)

/* Return: whether users other than root and this one may not change what is at the path. */
static bool part_is_safe(const char *path, bool is_program)
{
	struct stat st;

	if (lstat(path, &st) || (st.st_uid && st.st_uid != geteuid()))
		return false;
	if (is_program && !S_ISREG(st.st_mode))
		return false;
	if (!is_program && !S_ISDIR(st.st_mode))
		return false;
	/* In a sticky directory such as /tmp, others cannot replace files of this user. */
	return !(st.st_mode & (S_IWGRP | S_IWOTH)) || (!is_program && st.st_mode & S_ISVTX);
}

static bool is_safe(const char *program)
{
	char path[PATH_MAX];

	if (*program != '/' || !part_is_safe("/", false))
		return false;
	for (const char *end = strchr(program + 1, '/'); end; end = strchr(end + 1, '/')) {
		snprintf(path, sizeof(path), "%.*s", (int)(end - program), program);
		if (!part_is_safe(path, false))
			return false;
	}
	return part_is_safe(program, true);
}

/* Return: whether the link leads to the file at the path. */
static bool is_same(const char *link, const char *path)
{
	struct stat of_link;
	struct stat of_path;

	return !stat(link, &of_link) && !stat(path, &of_path) && of_link.st_dev == of_path.st_dev &&
	       of_link.st_ino == of_path.st_ino;
}

static pid_t start(char *const *words, int out)
{
	static char *const environment[] = {(char *)"PATH=/usr/bin:/bin", (char *)"LC_ALL=C", NULL};
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	pid_t pid;
	int errnum;

	posix_spawn_file_actions_init(&actions);
	posix_spawnattr_init(&attributes);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP); /* pgroup 0: its own */
	posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
	posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
	errnum = posix_spawn(&pid, words[0], &actions, &attributes, words, environment);
	posix_spawn_file_actions_destroy(&actions);
	posix_spawnattr_destroy(&attributes);
	return errnum ? -1 : pid;
}

/* Receive output until its end. Return: whether it ended in time, and fits. */
static bool take_output(int fd, int64_t deadline_ns, char *text)
{
	struct pollfd wait = {.fd = fd, .events = POLLIN};
	size_t len = 0;

	while (len < OUTPUT_MAX && poll(&wait, 1, ivs_clock_left_ms(deadline_ns)) > 0) {
		ssize_t n = read(fd, text + len, OUTPUT_MAX - len);

		if (n < 0)
			return false;
		if (!n) {
			text[len] = '\0';
			return true;
		}
		len += (size_t)n;
	}
	return false;
}

/* Wait until the program ends, because it has closed its output, and end it if it does not. */
static int collect_status(pid_t pid, int64_t deadline_ns)
{
	int status = -1;

	while (ivs_clock_left_ms(deadline_ns) > 0) {
		siginfo_t info = {0};

		if (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) || info.si_pid)
			break;
		(void)poll(NULL, 0, PAUSE_MS);
	}
	kill(-pid, SIGKILL);
	return waitpid(pid, &status, 0) == pid ? status : -1;
}

/*
 * Run the program until it ends or the deadline has passed. Return: whether it has succeeded;
 * @text has room for OUTPUT_MAX + 1 bytes.
 */
static bool run(char *const *words, int64_t deadline_ns, char *text)
{
	int fds[2];
	bool ended;
	pid_t pid;
	int status;

	if (pipe2(fds, O_CLOEXEC))
		return false;
	pid = start(words, fds[1]);
	ivs_fd_close(&fds[1]);
	ended = pid > 0 && take_output(fds[0], deadline_ns, text);
	ivs_fd_close(&fds[0]);
	if (pid <= 0)
		return false;
	status = collect_status(pid, ended ? deadline_ns : 0);
	return ended && WIFEXITED(status) && !WEXITSTATUS(status);
}

/* QEMU's list has lines such as: name "ivshmem-plain", bus PCI, desc "Inter-VM shared memory" */
static bool has_driver(const char *text, const char *driver)
{
	char name[64];

	snprintf(name, sizeof(name), "name \"%s\"", driver);
	return strstr(text, name);
}

void vm_program_ask(const char *link, struct ivs_doctor_vm *vm)
{
	char *version[] = {vm->program, (char *)"-version", NULL};
	char *drivers[] = {vm->program, (char *)"-device", (char *)"help", NULL};
	int64_t deadline_ns = ivs_clock_deadline(RUN_MS);
	char *text;

	if (!ivs_host_vm_is_qemu(vm->program) || !is_safe(vm->program) ||
	    !is_same(link, vm->program))
		return;
	text = malloc(OUTPUT_MAX + 1);
	if (!text)
		return;
	if (run(version, deadline_ns, text) && !strncmp(text, BANNER, strlen(BANNER))) {
		text[strcspn(text, "\n")] = '\0';
		ivs_text_shown(text + strlen(BANNER), vm->version, sizeof(vm->version));
		if (run(drivers, deadline_ns, text) && strstr(text, "name \"")) {
			vm->has_plain = has_driver(text, "ivshmem-plain");
			vm->has_doorbell = has_driver(text, "ivshmem-doorbell");
			vm->has_vfio_user = has_driver(text, "vfio-user-pci");
			vm->knows |= IVS_DOCTOR_VM_DRIVERS;
		}
	}
	free(text);
}
