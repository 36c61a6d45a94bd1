/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Run a program and make its n-th call of a given system call fail:
 *
 *   faults PRELOAD|- PROGRAM [ARGUMENT]...
 *
 * A seccomp filter passes every call of the program and its children to this process, which counts
 * the call and either lets the kernel execute it or returns an error instead. So all calls are
 * counted, no matter which code makes them, and the program runs unmodified.
 *
 * Standard input is a SOCK_SEQPACKET socket. Messages from the test:
 *
 *   arm start|now NUMBER NTH ERRNO   make the NTH call of NUMBER fail, counting from now on, or
 *                                    from the start of main() until the program first waits. The
 *                                    first such message starts the program.
 *   ask                              request the outcome
 *
 * Messages to the test:
 *
 *   pid NUMBER            the program was started
 *   armed                 reply to "arm", except the first
 *   waits                 the program waits for events for the first time
 *   asked OUTCOME FD NUMBER:COUNT... outcome of the fault; file behind its fd, or "-"; counts
 *   ended STATUS          the program's exit status, or the negated number of the signal that
 *                         ended it
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "faults.h"

/*
 * SYNC_WAKE_UP (Linux 6.6) wakes the other process on the same processor, which is much faster.
 * Older kernels reject this flag.
 */
#ifndef SECCOMP_IOCTL_NOTIF_SET_FLAGS
#define SECCOMP_IOCTL_NOTIF_SET_FLAGS SECCOMP_IOW(4, __u64)
#define SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP 1UL
#endif

#define NUMBERS 1024
#define SKIPPED 77 /* exit status if the kernel lacks a required feature */
#define CONTROL STDIN_FILENO
#define LISTENER_TRIES 5000
#define LISTENER_PAUSE_US 1000
#define HELPERS_MAX 1024

/* Phases of the program. Calls before main() are not counted. */
enum phase {
	PHASE_LOADING,
	PHASE_STARTING,
	PHASE_SERVING,
};

enum outcome {
	OUTCOME_NOT_REACHED,
	OUTCOME_FAILED,
	OUTCOME_NOT_POSSIBLE, /* the kernel executed the call, instead of failing it */
};

/**
 * struct faults - the fault to cause, and its outcome
 * @only_start: count calls only in PHASE_STARTING
 * @number:     number of the system call that is to fail, or FAULTS_MALLOC_NR; -1: none
 * @nth:        which call of @number fails, counted from 1
 * @error:      the errno with which it fails
 * @counts:     calls so far, by number; the last element counts allocations
 * @helpers:    processes that have set their own name: the calls of helper processes that close fds
 *              (daemon/closer.c) are not counted, because their order differs from run to run
 * @link:       the file to which the fd of the failed call refers
 */
struct faults {
	pid_t child;
	int listener;
	enum phase phase;
	bool only_start;
	long number;
	long nth;
	int error;
	enum outcome fired;
	unsigned int counts[NUMBERS + 1];
	char link[128];
	pid_t helpers[HELPERS_MAX];
	unsigned int helpers_n;
};

static _Noreturn void fail(const char *what)
{
	fprintf(stderr, "faults: %s: %s\n", what, strerror(errno));
	exit(SKIPPED + 1);
}

static void say(const char *format, ...)
{
	char text[8192];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (send(CONTROL, text, strlen(text), MSG_NOSIGNAL) < 0 && errno != EPIPE)
		fail("cannot reply to the test");
}

/* Runs in the child. A filter is permanent, so it is installed immediately before the program
 * starts. */
static int install_filter(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
	};
	struct sock_fprog program = {sizeof(code) / sizeof(*code), code};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		fail("prctl");
	return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER,
			    &program);
}

static _Noreturn void run_program(const char *preload, char **argv, int to_parent)
{
	int null = open("/dev/null", O_RDWR);
	int next;

	if (strcmp(preload, "-") && setenv("LD_PRELOAD", preload, 1))
		fail("setenv");
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (null < 0 || dup2(null, STDIN_FILENO) < 0 || close(null))
		fail("/dev/null");
	/*
	 * Tell the parent the listener's fd number in advance: once the filter is installed, every
	 * call waits for the parent.
	 */
	next = dup(STDIN_FILENO);
	if (next < 0 || close(next) || write(to_parent, &next, sizeof(next)) != sizeof(next))
		fail("cannot tell the parent");
	if (install_filter() < 0)
		_exit(SKIPPED);
	execv(argv[0], argv);
	_exit(SKIPPED + 1);
}

/* Wait until the child has the fd @number, and duplicate it. Return: the duplicate. */
static int take_listener(pid_t child, int number)
{
	int pidfd = (int)syscall(SYS_pidfd_open, child, 0);
	int fd = -1;

	if (pidfd < 0)
		fail("pidfd_open");
	for (int i = 0; i < LISTENER_TRIES && fd < 0; i++) {
		fd = (int)syscall(SYS_pidfd_getfd, pidfd, number, 0);
		if (fd < 0 && waitpid(child, NULL, WNOHANG) == child)
			exit(SKIPPED);
		if (fd < 0)
			usleep(LISTENER_PAUSE_US);
	}
	close(pidfd);
	if (fd < 0)
		exit(SKIPPED);
	ioctl(fd, SECCOMP_IOCTL_NOTIF_SET_FLAGS, SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP);
	return fd;
}

static void start_program(struct faults *faults, char **argv)
{
	int ends[2];
	int number;

	if (pipe2(ends, O_CLOEXEC))
		fail("pipe2");
	faults->child = fork();
	if (faults->child < 0)
		fail("fork");
	if (!faults->child)
		run_program(argv[0], argv + 1, ends[1]);
	close(ends[1]);
	if (read(ends[0], &number, sizeof(number)) != sizeof(number))
		exit(SKIPPED + 1);
	close(ends[0]);
	faults->listener = take_listener(faults->child, number);
	say("pid %d", (int)faults->child);
}

static void arm(struct faults *faults, const char *text)
{
	char from[8];

	if (sscanf(text, "arm %7s %ld %ld %d", from, &faults->number, &faults->nth,
		   &faults->error) != 4) {
		errno = EINVAL;
		fail(text);
	}
	faults->only_start = !strcmp(from, "start");
	faults->fired = OUTCOME_NOT_REACHED;
	memset(faults->counts, 0, sizeof(faults->counts));
	strcpy(faults->link, "-");
}

static void answer(const struct faults *faults)
{
	char text[8000];
	int len = snprintf(text, sizeof(text), "asked %d %s", faults->fired, faults->link);

	for (unsigned int i = 0; i <= NUMBERS; i++) {
		if (faults->counts[i])
			len += snprintf(text + len, sizeof(text) - (size_t)len, " %u:%u",
					i < NUMBERS ? i : FAULTS_MALLOC_NR, faults->counts[i]);
	}
	say("%s", text);
}

/*
 * Once this process has exited, all calls of the helper processes fail, even exit(2), which
 * sanitizers then retry forever.
 */
static void end_helpers(const struct faults *faults)
{
	for (unsigned int i = 0; i < faults->helpers_n; i++)
		kill(faults->helpers[i], SIGKILL);
}

/* Handle a message from the test. Return: false if the test has closed the socket. */
static bool obey(struct faults *faults, char **argv)
{
	char text[256] = "";

	if (recv(CONTROL, text, sizeof(text) - 1, 0) <= 0) {
		end_helpers(faults);
		return false;
	}
	if (!strncmp(text, "arm ", 4)) {
		arm(faults, text);
		if (faults->child)
			say("armed");
		else
			start_program(faults, argv);
	} else {
		answer(faults);
	}
	return true;
}

static long number_of(const struct seccomp_data *call)
{
	if (call->nr == SYS_write && (int)call->args[0] == FAULTS_MALLOC_FD)
		return FAULTS_MALLOC_NR;
	return call->nr;
}

static bool is_wait(long number)
{
#ifdef SYS_epoll_wait
	if (number == SYS_epoll_wait)
		return true;
#endif
	return number == SYS_epoll_pwait;
}

/* The first call in main() is ivs_fd_fill_standard(). Its system call is not made before main(). */
static bool is_first_of_main(const struct seccomp_data *call)
{
	return call->nr == SYS_fcntl && call->args[0] == STDIN_FILENO && call->args[1] == F_GETFD;
}

/* Record the file behind the call's fd. It tells the test which client the failure may affect. */
static void note_fd(struct faults *faults, const struct seccomp_notif *notif)
{
	unsigned int arg = notif->data.nr == SYS_epoll_ctl ? 2 : 0;
	char path[64];
	ssize_t len;

	snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)notif->pid, (int)notif->data.args[arg]);
	len = readlink(path, faults->link, sizeof(faults->link) - 1);
	strcpy(faults->link + (len < 0 ? 0 : len), len < 0 ? "-" : "");
	for (char *at = faults->link; *at; at++)
		*at = *at == ' ' ? '_' : *at;
}

/*
 * close() frees the fd even if it fails. The closest effect that another process can cause is to
 * replace the file behind the fd: the number then appears to be in use by a different file. This is
 * not possible if the program has lowered its limit on fds below that number in the meantime.
 */
static bool close_all_the_same(const struct faults *faults, const struct seccomp_notif *notif)
{
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	struct seccomp_notif_addfd add = {
		.id = notif->id,
		.flags = SECCOMP_ADDFD_FLAG_SETFD,
		.srcfd = (__u32)null,
		.newfd = (__u32)notif->data.args[0],
		.newfd_flags = O_CLOEXEC,
	};

	bool closed;

	if (null < 0)
		fail("/dev/null");
	closed = ioctl(faults->listener, SECCOMP_IOCTL_NOTIF_ADDFD, &add) >= 0;
	close(null);
	return closed;
}

/* Return: whether the call can be made to fail. */
static bool inject(struct faults *faults, const struct seccomp_notif *notif)
{
	bool possible;

	note_fd(faults, notif);
	possible = notif->data.nr != SYS_close || close_all_the_same(faults, notif);
	faults->fired = possible ? OUTCOME_FAILED : OUTCOME_NOT_POSSIBLE;
	return possible;
}

/* Return: whether a helper process made the call. */
static bool is_of_helper(struct faults *faults, const struct seccomp_notif *notif)
{
	for (unsigned int i = 0; i < faults->helpers_n; i++) {
		if (faults->helpers[i] == (pid_t)notif->pid)
			return true;
	}
	if (notif->data.nr != SYS_prctl || notif->data.args[0] != PR_SET_NAME)
		return false;
	if (faults->helpers_n == HELPERS_MAX) {
		errno = ENOSPC;
		fail("helper processes");
	}
	faults->helpers[faults->helpers_n++] = (pid_t)notif->pid;
	return true;
}

/* Count a call. Return: whether this is the call that must fail. */
static bool count(struct faults *faults, const struct seccomp_notif *notif)
{
	long number = number_of(&notif->data);
	bool counts;

	if (faults->phase == PHASE_LOADING && is_first_of_main(&notif->data))
		faults->phase = PHASE_STARTING;
	counts = faults->phase == PHASE_STARTING ||
		 (faults->phase == PHASE_SERVING && !faults->only_start);
	if (faults->phase == PHASE_STARTING && is_wait(number)) {
		faults->phase = PHASE_SERVING;
		say("waits");
	}
	if (!counts)
		return false;
	if (number < 0 || (number >= NUMBERS && number != FAULTS_MALLOC_NR)) {
		errno = ERANGE;
		fail("a system call's number");
	}
	faults->counts[number < NUMBERS ? number : NUMBERS]++;
	return number == faults->number &&
	       faults->counts[number < NUMBERS ? number : NUMBERS] == faults->nth;
}

/*
 * While a call waits for this process, a timer's signal could interrupt it with EINTR, even one
 * that normally never blocks: a close() that has not closed the fd yet, a readlink(), a sanitizer's
 * mmap(). So setitimer() sets no timer here, but reports success.
 */
static bool is_timer(const struct seccomp_notif *notif)
{
	return notif->data.nr == SYS_setitimer;
}

static void judge(struct faults *faults)
{
	union {
		struct seccomp_notif notif;
		char room[512]; /* newer kernels may write more */
	} in = {0};
	union {
		struct seccomp_notif_resp resp;
		char room[512];
	} out = {0};

	if (ioctl(faults->listener, SECCOMP_IOCTL_NOTIF_RECV, &in)) {
		if (errno == ENOENT || errno == EINTR)
			return; /* the process that made the call has exited */
		fail("cannot receive a system call");
	}
	out.resp.id = in.notif.id;
	out.resp.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
	if (!is_of_helper(faults, &in.notif) && count(faults, &in.notif) &&
	    inject(faults, &in.notif)) {
		out.resp.flags = 0;
		out.resp.error = -faults->error;
	} else if (is_timer(&in.notif)) {
		out.resp.flags = 0;
	}
	if (ioctl(faults->listener, SECCOMP_IOCTL_NOTIF_SEND, &out) && errno != ENOENT)
		fail("cannot respond to a system call");
}

/*
 * Report that the program has exited; its children may still run. The program stays a zombie, so
 * that its id is not reused.
 */
static void tell_end(const struct faults *faults)
{
	siginfo_t info = {0};

	if (waitid(P_PID, (id_t)faults->child, &info, WEXITED | WNOHANG | WNOWAIT))
		fail("waitid");
	say("ended %d", info.si_code == CLD_EXITED ? info.si_status : -info.si_status);
}

int main(int argc, char **argv)
{
	struct faults faults = {.listener = -1, .number = -1};
	struct pollfd fds[3] = {{CONTROL, POLLIN, 0}};

	if (argc < 3 || !obey(&faults, argv + 1))
		return SKIPPED + 1;
	fds[1] = (struct pollfd){faults.listener, POLLIN, 0};
	fds[2] = (struct pollfd){(int)syscall(SYS_pidfd_open, faults.child, 0), POLLIN, 0};
	for (;;) {
		if (poll(fds, 3, -1) < 0)
			fail("poll");
		if (fds[1].revents & POLLIN) {
			judge(&faults);
			/*
			 * handle calls before messages, so that an outcome counts all earlier calls
			 */
			continue;
		}
		if (fds[1].revents & POLLHUP)
			fds[1].fd = -1;
		if (fds[2].revents) {
			tell_end(&faults);
			fds[2].fd = -1;
		}
		if (fds[0].revents && !obey(&faults, argv + 1))
			return 0;
	}
}
