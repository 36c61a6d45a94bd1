/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/ivshmem/doctor/vm_program.h"

#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/text.h"
#include "tools/ivshmem/doctor/bounded.h"
#include "tools/ivshmem/doctor/trust.h"

#define RUN_MS 5000 /* for all runs of a program */
#define MARGIN_MS 1000
#define PAUSE_MS 5
#define BANNER "QEMU emulator version "
#define OUTPUT_MAX ((size_t)256 * 1024)

/* Return: whether only root and this user could have written the program. */
static bool is_safe(const char *program)
{
	struct stat st;

	return trust_path(program) && !lstat(program, &st) && S_ISREG(st.st_mode) &&
	       !(st.st_mode & (S_IWGRP | S_IWOTH));
}

/* Return: whether the link leads to the file at the path. */
static bool is_same(const char *link, const char *path)
{
	struct stat of_link;
	struct stat of_path;

	return !stat(link, &of_link) && !stat(path, &of_path) && of_link.st_dev == of_path.st_dev &&
	       of_link.st_ino == of_path.st_ino;
}

/* Give up the rights of root, if the VM does not have them. Return: whether that was possible. */
static bool become(uid_t uid, gid_t gid)
{
	if (geteuid() || !uid)
		return true;
	return !setgroups(0, NULL) && !setresgid(gid, gid, gid) && !setresuid(uid, uid, uid);
}

/* Start the program in a process group of its own, as the user of the VM. */
static pid_t start(const struct ivs_doctor_vm *vm, char *const *words, int out)
{
	static char *const environment[] = {(char *)"PATH=/usr/bin:/bin", (char *)"LC_ALL=C", NULL};
	pid_t pid = fork();
	int null_fd;

	if (pid)
		return pid;
	null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null_fd >= 0 && !setpgid(0, 0) && dup2(null_fd, STDIN_FILENO) >= 0 &&
	    dup2(null_fd, STDERR_FILENO) >= 0 && dup2(out, STDOUT_FILENO) >= 0 &&
	    become(vm->uid, vm->gid))
		execve(words[0], words, environment);
	_exit(127);
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
static bool run(const struct ivs_doctor_vm *vm, char *const *words, int64_t deadline_ns, char *text)
{
	int fds[2];
	bool ended;
	pid_t pid;
	int status;

	if (pipe2(fds, O_CLOEXEC))
		return false;
	pid = start(vm, words, fds[1]);
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

/* Runs in a child process. */
static bool ask(const void *question, void *answer)
{
	const char *link = question;
	struct ivs_doctor_vm *vm = answer;
	char *version[] = {vm->program, (char *)"-version", NULL};
	char *drivers[] = {vm->program, (char *)"-device", (char *)"help", NULL};
	int64_t deadline_ns = ivs_clock_deadline(RUN_MS);
	char *text;

	if (!ivs_host_vm_is_qemu(vm->program) || !is_safe(vm->program) ||
	    !is_same(link, vm->program))
		return false;
	text = malloc(OUTPUT_MAX + 1);
	if (!text)
		return false;
	if (run(vm, version, deadline_ns, text) && !strncmp(text, BANNER, strlen(BANNER))) {
		text[strcspn(text, "\n")] = '\0';
		ivs_text_shown(text + strlen(BANNER), vm->version, sizeof(vm->version));
		if (run(vm, drivers, deadline_ns, text) && strstr(text, "name \"")) {
			vm->has_plain = has_driver(text, "ivshmem-plain");
			vm->has_doorbell = has_driver(text, "ivshmem-doorbell");
			vm->has_vfio_user = has_driver(text, "vfio-user-pci");
			vm->knows |= IVS_DOCTOR_VM_DRIVERS;
		}
	}
	free(text);
	return true;
}

void vm_program_ask(const char *link, struct ivs_doctor_vm *vm)
{
	(void)bounded_run_for(RUN_MS + MARGIN_MS, ask, link, vm, sizeof(*vm));
}
