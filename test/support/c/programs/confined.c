/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A process that confines itself as a server does, and then makes a system call that may be
 * forbidden, or starts a program. test_sandbox.py runs it and checks how it ends.
 *
 *   confined LISTS calls            print the names of all system calls that "call" can make
 *   confined LISTS list             print the list of calls that the filter allows
 *   confined LISTS call NAME        make one of these calls; the exit status is its errno
 *   confined LISTS run PROGRAM...   fork and exec PROGRAM; the exit status is that of PROGRAM
 *   confined LISTS again N          exec itself N times and confine itself again each time
 *
 * LISTS selects optional lists of calls: l (syslog), s (starting programs), - (none).
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/log.h"
#include "daemon/process_syscalls.h"
#include "daemon/sandbox.h"
#include "server/syscalls.h"

#define STATUS_BROKEN 99 /* exit status if the test itself failed */
#define IN_FORCE 9	 /* fd from which the next program reads the list of allowed calls */
#define OUR_FILE (-1000) /* placeholder for an fd that was opened before the filter */

static const char somewhere[4096] __attribute__((aligned(4096))) = "";

#define NAME(text) ((long)(text))

static const struct call {
	const char *name;
	long number;
	long args[6];
} calls[] = {
	/* allowed calls, to check that the filter does not kill on every call */
	{"nothing", SYS_getrandom, {NAME(""), 0, 0}},
	{"close", SYS_close, {-1}},
	{"map memory", SYS_mmap, {0, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0}},
	/* files */
	{"open for reading", SYS_openat, {AT_FDCWD, NAME("/dev/null"), O_RDONLY}},
	{"open for writing", SYS_openat, {AT_FDCWD, NAME("/dev/null"), O_WRONLY}},
	{"open for reading and writing", SYS_openat, {AT_FDCWD, NAME("/dev/null"), O_RDWR}},
	{"open with creation", SYS_openat, {AT_FDCWD, NAME("/nonexistent/x"), O_CREAT, 0600}},
	{"open with truncation", SYS_openat, {AT_FDCWD, NAME("/dev/null"), O_TRUNC}},
	{"open an unnamed file", SYS_openat, {AT_FDCWD, NAME("/nonexistent"), O_TMPFILE, 0600}},
	{"openat2", SYS_openat2, {AT_FDCWD, NAME("/dev/null")}},
	{"fchmod", SYS_fchmod, {OUR_FILE, 06755}},
	{"fchown", SYS_fchown, {OUR_FILE, 0, 0}},
	{"rename",
	 SYS_renameat2,
	 {AT_FDCWD, NAME("/nonexistent/a"), AT_FDCWD, NAME("/nonexistent/b")}},
	{"link", SYS_linkat, {AT_FDCWD, NAME("/nonexistent/a"), AT_FDCWD, NAME("/nonexistent/b")}},
	{"mkdir", SYS_mkdirat, {AT_FDCWD, NAME("/nonexistent/a"), 0700}},
	{"rmdir", SYS_unlinkat, {AT_FDCWD, NAME("/nonexistent"), AT_REMOVEDIR}},
	{"chdir", SYS_chdir, {NAME("/nonexistent")}},
	{"chroot", SYS_chroot, {NAME("/nonexistent")}},
	{"mount", SYS_mount, {NAME("a"), NAME("/nonexistent"), NAME("tmpfs")}},
	/* access to the region: read(2) and write(2) cannot be forbidden, the calls below can */
	{"map the region", SYS_mmap, {0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, OUR_FILE}},
	{"pread the region", SYS_pread64, {OUR_FILE, 0, 0, 0}},
	{"pwrite the region", SYS_pwrite64, {OUR_FILE, 0, 0, 0}},
	{"truncate the region", SYS_ftruncate, {OUR_FILE, 0}},
	{"punch the region", SYS_fallocate, {OUR_FILE, 3, 0, 4096}},
	/* networks */
	{"socket inet", SYS_socket, {AF_INET, SOCK_STREAM}},
	{"socket inet6", SYS_socket, {AF_INET6, SOCK_DGRAM}},
	{"socket netlink", SYS_socket, {AF_NETLINK, SOCK_RAW}},
	{"socket packet", SYS_socket, {AF_PACKET, SOCK_RAW}},
	{"socket unix stream", SYS_socket, {AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC}},
	{"socket unix datagram", SYS_socket, {AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC}},
	{"bind", SYS_bind, {OUR_FILE}},
	{"listen", SYS_listen, {OUR_FILE}},
	{"connect", SYS_connect, {OUR_FILE}},
	{"setsockopt", SYS_setsockopt, {OUR_FILE, SOL_SOCKET, SO_RCVBUF}},
	/* calls for code and processes */
	{"map code", SYS_mmap, {0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1}},
	{"map code from a file", SYS_mmap, {0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, OUR_FILE}},
	{"map writable code", SYS_mmap, {0, 4096, PROT_WRITE | PROT_EXEC, MAP_PRIVATE, OUR_FILE}},
	{"map shared code", SYS_mmap, {0, 4096, PROT_READ | PROT_EXEC, MAP_SHARED, OUR_FILE}},
	{"make executable", SYS_mprotect, {NAME(somewhere), 4096, PROT_READ | PROT_EXEC}},
	{"execve", SYS_execve, {NAME("/nonexistent"), 0, 0}},
	{"clone user namespace", SYS_clone, {CLONE_NEWUSER | SIGCHLD}},
	{"clone a thread", SYS_clone, {CLONE_VM | CLONE_THREAD | CLONE_SIGHAND}},
	{"clone3", SYS_clone3, {0, 0}},
	{"unshare", SYS_unshare, {CLONE_NEWUSER}},
	{"setns", SYS_setns, {OUR_FILE, 0}},
	{"ptrace", SYS_ptrace, {PTRACE_TRACEME}},
	{"process_vm_readv", SYS_process_vm_readv, {1}},
	{"pidfd_getfd", SYS_pidfd_getfd, {OUR_FILE, 0, 0}},
	{"kill", SYS_kill, {1, SIGURG}}, /* ignored by default, if it arrives */
	{"check a process", SYS_kill, {1, 0}},
	{"tgkill", SYS_tgkill, {1, 1, 0}},
	{"setuid", SYS_setuid, {0}},
	{"setgroups", SYS_setgroups, {0, 0}},
	{"prlimit of another process", SYS_prlimit64, {1, 0, 0, 0}},
	{"prctl dumpable", SYS_prctl, {PR_SET_DUMPABLE, 1}},
	{"prctl keep capabilities", SYS_prctl, {PR_SET_KEEPCAPS, 1}},
	{"signal to an owner", SYS_fcntl, {OUR_FILE, F_SETOWN, 1}},
	/* calls that exploits tend to make first */
	{"ioctl", SYS_ioctl, {0, TIOCSTI, NAME("x")}},
	{"bpf", SYS_bpf, {0, 0, 0}},
	{"perf_event_open", SYS_perf_event_open, {0, 0, -1, -1, 0}},
	{"io_uring_setup", SYS_io_uring_setup, {0, 0}},
	{"userfaultfd", SYS_userfaultfd, {0}},
	{"keyctl", SYS_keyctl, {0}},
	{"init_module", SYS_init_module, {0, 0, 0}},
	{"no such call", 999, {0}},
#ifdef __x86_64__
	{"call from another ABI", 0x40000000 | SYS_getpid, {0}},
#endif
};

static void read_in_force(struct ivs_sandbox_options *opts)
{
	static char text[65536];

	if (pread(IN_FORCE, text, sizeof(text) - 1, 0) > 0)
		opts->in_force = text;
}

/* Store the list of allowed calls for the program that is executed next. */
static void tell_in_force(const struct ivs_sandbox_options *opts)
{
	int fd = memfd_create("in-force", 0);
	char *text;

	if (fd < 0 || dup2(fd, IN_FORCE) < 0 ||
	    ivs_sandbox_list(opts->always, opts->lists, &text) ||
	    write(IN_FORCE, text, strlen(text)) != (ssize_t)strlen(text))
		_exit(STATUS_BROKEN);
	free(text);
	if (fd != IN_FORCE)
		close(fd);
}

static int print_names(void)
{
	for (size_t i = 0; i < sizeof(calls) / sizeof(*calls); i++)
		puts(calls[i].name);
	return 0;
}

static int print_list(const struct ivs_sandbox_options *opts)
{
	char *text;

	if (ivs_sandbox_list(opts->always, opts->lists, &text))
		return STATUS_BROKEN;
	fputs(text, stdout);
	free(text);
	return 0;
}

static int make_call(const char *name, int file)
{
	for (size_t i = 0; i < sizeof(calls) / sizeof(*calls); i++) {
		long args[6];

		if (strcmp(calls[i].name, name))
			continue;
		for (size_t j = 0; j < 6; j++)
			args[j] = calls[i].args[j] == OUR_FILE ? file : calls[i].args[j];
		errno = 0;
		syscall(calls[i].number, args[0], args[1], args[2], args[3], args[4], args[5]);
		return errno;
	}
	return STATUS_BROKEN;
}

static int run_program(char **argv)
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		execv(argv[0], argv);
		_exit(STATUS_BROKEN);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return STATUS_BROKEN;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int main(int argc, char **argv)
{
	struct ivs_sandbox_options opts = {.filter = true, .always = ivs_server_syscall_lists};
	unsigned int lists_n = 0;
	struct ivs_error err;
	int file;

	if (argc < 3)
		return STATUS_BROKEN;
	ivs_log_init("confined", true);
	if (strchr(argv[1], 'l'))
		opts.lists[lists_n++] = ivs_log_syslog_syscalls;
	if (strchr(argv[1], 's'))
		opts.lists[lists_n++] = ivs_start_syscalls;
	if (!strcmp(argv[2], "calls"))
		return print_names();
	if (!strcmp(argv[2], "list"))
		return print_list(&opts);

	file = memfd_create("file", 0);
	if (file < 0 || ftruncate(file, 4096))
		return STATUS_BROKEN;
	read_in_force(&opts);
	if (ivs_sandbox(&opts, &err)) {
		fprintf(stderr, "confined: %s\n", err.text);
		return STATUS_BROKEN;
	}
	/* show that confining succeeded, even if the process is killed later */
	if (write(STDOUT_FILENO, "confined\n", 9) != 9)
		return STATUS_BROKEN;

	if (!strcmp(argv[2], "call") && argc == 4)
		return make_call(argv[3], file);
	if (!strcmp(argv[2], "run") && argc > 3)
		return run_program(argv + 3);
	if (!strcmp(argv[2], "again") && argc == 4 && atoi(argv[3])) {
		char count[16];

		snprintf(count, sizeof(count), "%d", atoi(argv[3]) - 1);
		tell_in_force(&opts);
		execv(argv[0], (char *[]){argv[0], argv[1], argv[2], count, NULL});
		return STATUS_BROKEN;
	}
	return 0;
}
