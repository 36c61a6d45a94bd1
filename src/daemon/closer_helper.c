/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/closer_helper.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/fdpass.h"
#include "daemon/privileges.h"

#define CLONE_FLAGS (CLONE_FILES | SIGCHLD)
IVS_SYSCALLS(ivs_closer_helper_syscalls, {"recvmsg"}, {"recvfrom"}, {"recv"}, {"sendto"}, {"send"},
	     {"close"}, {"poll"}, {"ppoll"}, {"ppoll_time64"},
	     {"socketpair", {IVS_ARG_IS(1, AF_UNIX)}}, IVS_CALL_DUP2, {"close_range"},
	     {"clone", {IVS_ARG_IS(1, CLONE_FLAGS)}}, {"wait4"}, {"waitpid"},
	     {"prctl", {IVS_ARG_IS(1, PR_SET_NAME)}});

#define NAME "ivshmem-closer"
#define HELD_ROOM 262144 /* a power of two; memory that is not used costs nothing */
#define AGAIN_MS 10
#define BLOCKED_MS 500 /* a worker that takes longer counts as blocked */
#define BORN_MS 100
#define MESSAGES_MAX 64 /* messages received in one turn */
/* Thresholds, as fractions of the number of fds that the holder may hold. */
#define MANY_DIVISOR 8
#define VERY_MANY_DIVISOR 4
#define SHARE_DIVISOR 2 /* maximum share of one owner */

#define OWNERS_MAX 256 /* the fds of further owners are counted together */
/* Fds may be closed early, by this fraction of the hold time, so that a worker closes several. */
#define SLACK_DIVISOR 32

/*
 * Fixed fds, below all others. A worker keeps only these. While the holder is not using one of
 * them, that fd is a copy of POOL_FD, so that no received fd gets its number.
 */
#define POOL_FD 0
#define WORKER_FD 1 /* the worker's end of the socket */
#define BATCH_FD 2  /* the first of the fds that the worker closes */
#define BATCH_MAX 64
#define MESSAGE_FDS 64 /* number of fds in a typical large message */

/**
 * struct worker - a process that closes some fds of one owner and then ends
 * @sock:     the holder's end of the worker's socket; -1: the worker has ended
 * @owner:    owner of the fds
 * @since_ns: when the worker was started
 */
struct worker {
	int sock;
	uint64_t owner;
	int64_t since_ns;
};

/**
 * struct holder - the process that receives fds and holds them for a while
 * @held:        the fds, a ring in the order in which they were received
 * @held_max:    maximum number of fds held when the next message is received
 * @share_max:   number of fds of one owner above which the holder reports the owner
 * @batch_max:   maximum number of fds that a worker closes
 * @again_ns:    when to retry starting a worker
 * @ended:       no process can send any more
 */
struct holder {
	struct held_fd {
		uint64_t owner;
		int64_t since_ns;
		int fd;
	} * held;
	size_t first;
	size_t n;
	size_t held_max;
	size_t share_max;
	struct owned {
		uint64_t owner;
		size_t n;
	} owned[OWNERS_MAX];
	unsigned int batch_max;
	int64_t again_ns;
	bool ended;
	unsigned int workers_max;
	struct worker workers[IVS_CLOSER_WORKERS_MAX];
};

/*
 * Do not call _exit(): a sanitizer's version retries forever if the system call fails, as all
 * system calls do once the seccomp_unotify(2) supervisor of this process has ended. A sanitizer
 * also makes system calls before each call of a function that is declared noreturn, so this
 * function is not.
 */
static inline __attribute__((always_inline)) void end(void)
{
	(void)syscall(SYS_exit_group, 0);
	__builtin_trap();
}

/* Call poll(2). End after an error that will not go away: retrying would keep this process busy. */
static int wait_for(struct pollfd *polled, unsigned int n, int ms)
{
	int result = poll(polled, n, ms);

	if (result < 0 && errno != EINTR && errno != EAGAIN && errno != ENOMEM)
		end();
	return result;
}

/* Workers */

static bool await_byte(int sock)
{
	char byte;
	ssize_t n;

	do {
		n = recv(sock, &byte, 1, 0);
	} while (n < 0 && errno == EINTR);
	return n == 1;
}

/*
 * A worker shares the table of fds with the holder until its close_range(2), which copies only the
 * lowest fds to a table of the worker's own. So the worker never has a copy of an fd that it is not
 * to close, and cannot become the last process that has such an fd. (The holder could pass the fds
 * in a message instead, but the kernel refuses that when too many other fds of the user are in
 * flight.)
 */
static void work(unsigned int fds_n)
{
	(void)prctl(PR_SET_NAME, NAME); /* test/support/c/programs/faults.c looks for this name */
	if (close_range(BATCH_FD + fds_n, ~0U, CLOSE_RANGE_UNSHARE) ||
	    send(WORKER_FD, "", 1, MSG_NOSIGNAL) != 1)
		end();
	/*
	 * The holder must not be the last to close an fd. So wait until it has closed its copies:
	 * it then sends a byte. If the holder ends, the socket hangs up.
	 */
	(void)await_byte(WORKER_FD);
	for (unsigned int i = 0; i < fds_n; i++)
		(void)close(BATCH_FD + (int)i); /* this may block */
	end();
}

/* Return: whether the new worker has its own table of fds. */
static bool is_born(pid_t pid, int sock)
{
	struct pollfd polled = {.fd = sock, .events = POLLIN};

	while (wait_for(&polled, 1, BORN_MS) <= 0) {
		if (waitpid(pid, NULL, WNOHANG) == pid)
			return false;
	}
	return await_byte(sock);
}

static void free_fixed_fd(int fd)
{
	(void)dup2(POOL_FD, fd);
}

/* @ends: the two ends of the new worker's socket. Return: whether it has copies of the fds. */
static bool fork_worker(const int ends[2], const int *fds, unsigned int fds_n)
{
	bool ready = dup2(ends[1], WORKER_FD) == WORKER_FD;
	long pid;

	for (unsigned int i = 0; i < fds_n; i++)
		ready = ready && dup2(fds[i], BATCH_FD + (int)i) >= 0;
	if (!ready)
		return false;
	pid = syscall(SYS_clone, CLONE_FLAGS, NULL, NULL, NULL, NULL);
	if (!pid)
		work(fds_n);
	return pid > 0 && is_born((pid_t)pid, ends[0]);
}

/* Start a worker that closes the fds, and close the holder's copies. Return: whether it started. */
static bool start_worker(struct worker *worker, int *fds, unsigned int fds_n)
{
	int ends[2];
	bool started;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends))
		return false;
	started = fork_worker(ends, fds, fds_n);
	for (unsigned int i = 0; i < fds_n; i++) {
		free_fixed_fd(BATCH_FD + (int)i);
		if (started)
			ivs_fd_close(&fds[i]);
	}
	free_fixed_fd(WORKER_FD);
	ivs_fd_close(&ends[1]);
	if (started) {
		(void)send(ends[0], "", 1, MSG_NOSIGNAL); /* now the worker may close them */
		worker->sock = ivs_fd_take(&ends[0]);
	}
	ivs_fd_close(&ends[0]);
	return started;
}

static void note_end(struct holder *holder, struct worker *worker)
{
	ivs_fd_close(&worker->sock);
	while (waitpid(-1, NULL, WNOHANG) > 0) /* this worker may not be among them yet */
		;
	holder->again_ns = 0;
}

static struct worker *find_worker(struct holder *holder)
{
	for (unsigned int i = 0; i < holder->workers_max; i++) {
		if (holder->workers[i].sock < 0)
			return &holder->workers[i];
	}
	return NULL;
}

static bool is_blocked(const struct worker *worker, int64_t now_ns)
{
	return worker->sock >= 0 && now_ns - worker->since_ns > BLOCKED_MS * (IVS_NS_PER_S / 1000);
}

static bool are_all_blocked(const struct holder *holder)
{
	int64_t now_ns = ivs_clock_ns();

	for (unsigned int i = 0; i < holder->workers_max; i++) {
		if (!is_blocked(&holder->workers[i], now_ns))
			return false;
	}
	return true;
}

/**
 * count_workers() - count the workers that are closing fds of @owner
 * @blocked_n: set to the number of those workers that appear to be blocked
 */
static unsigned int count_workers(const struct holder *holder, uint64_t owner, int64_t now_ns,
				  unsigned int *blocked_n)
{
	unsigned int n = 0;

	*blocked_n = 0;
	for (unsigned int i = 0; i < holder->workers_max; i++) {
		const struct worker *worker = &holder->workers[i];

		if (worker->sock < 0 || worker->owner != owner)
			continue;
		n++;
		*blocked_n += is_blocked(worker, now_ns);
	}
	return n;
}

/* Holding */

static struct held_fd *at(struct holder *holder, size_t index)
{
	return &holder->held[(holder->first + index) & (HELD_ROOM - 1)];
}

/*
 * Return: the count of the owner's held fds. If there are more owners than counters, some owners
 * share the last counter. Their numbers are then not exact.
 */
static size_t *count_of(struct holder *holder, uint64_t owner)
{
	struct owned *unused = &holder->owned[OWNERS_MAX - 1];

	for (unsigned int i = 0; i < OWNERS_MAX; i++) {
		if (holder->owned[i].n && holder->owned[i].owner == owner)
			return &holder->owned[i].n;
		if (!holder->owned[i].n && unused == &holder->owned[OWNERS_MAX - 1])
			unused = &holder->owned[i];
	}
	unused->owner = owner;
	return &unused->n;
}

static void hold(struct holder *holder, uint64_t owner, int fd)
{
	*at(holder,
	    holder->n++) = (struct held_fd){.owner = owner, .since_ns = ivs_clock_ns(), .fd = fd};
}

static bool is_full(const struct holder *holder)
{
	return holder->n > holder->held_max;
}

static bool is_any_blocked(const struct holder *holder)
{
	int64_t now_ns = ivs_clock_ns();

	for (unsigned int i = 0; i < holder->workers_max; i++) {
		if (is_blocked(&holder->workers[i], now_ns))
			return true;
	}
	return false;
}

/* Return: how long to hold fds. */
static int64_t hold_ns(const struct holder *holder)
{
	int64_t ms = IVS_CLOSER_HOLD_MS;

	if (holder->n > holder->held_max / VERY_MANY_DIVISOR && !is_any_blocked(holder))
		ms = IVS_CLOSER_HOLD_SHORT_MS;
	else if (holder->n > holder->held_max / MANY_DIVISOR)
		ms = IVS_CLOSER_HOLD_MIN_MS;
	return ms * (IVS_NS_PER_S / 1000);
}

/* Return: when the first fds have to be closed. */
static int64_t first_due_ns(struct holder *holder)
{
	int64_t due_ns = at(holder, 0)->since_ns + hold_ns(holder);

	return due_ns > holder->again_ns ? due_ns : holder->again_ns;
}

/* Tell the program to keep the owner's fds itself for the moment. */
static void report(uint64_t owner)
{
	(void)!send(POOL_FD, &owner, sizeof(owner), MSG_DONTWAIT | MSG_NOSIGNAL);
}

/*
 * Receive one message, which consists of an owner and its fds. Return: whether another message may
 * be waiting.
 */
static bool receive(struct holder *holder)
{
	struct ivs_fdpass_fds fds = {.max = IVS_FDPASS_MAX};
	uint64_t owner = IVS_CLOSER_ANYBODY;
	ssize_t n;

	n = ivs_fdpass_recv(POOL_FD, &owner, sizeof(owner), &fds);
	for (unsigned int i = 0; i < fds.n; i++)
		hold(holder, owner, fds.fds[i]);
	if (fds.n) {
		size_t *count = count_of(holder, owner);

		*count += fds.n;
		if (*count > holder->share_max && !(owner & IVS_CLOSER_ALWAYS))
			report(owner | IVS_CLOSER_BRIEF);
	}
	holder->ended = n <= 0 && n != -EAGAIN && n != -EINTR && n != -ENOMEM;
	return n > 0;
}

/*
 * Set @fds to the fds at the front that are due and have the same owner. Return: how many there
 * are.
 */
static unsigned int first_fds(struct holder *holder, int64_t now_ns, int fds[BATCH_MAX])
{
	uint64_t owner = at(holder, 0)->owner;
	int64_t since_ns = now_ns - hold_ns(holder) + hold_ns(holder) / SLACK_DIVISOR;
	unsigned int n = 0;

	while (n < holder->n && n < holder->batch_max && at(holder, n)->owner == owner &&
	       at(holder, n)->since_ns <= since_ns) {
		fds[n] = at(holder, n)->fd;
		n++;
	}
	return n;
}

static void postpone(struct holder *holder, uint64_t owner, const int *fds, unsigned int fds_n)
{
	holder->first += fds_n;
	holder->n -= fds_n;
	for (unsigned int i = 0; i < fds_n; i++)
		hold(holder, owner, fds[i]);
}

/* Close or postpone the first fds. Return: false if the caller has to try again later. */
static bool close_first(struct holder *holder, int64_t now_ns)
{
	uint64_t owner = at(holder, 0)->owner;
	int fds[BATCH_MAX];
	unsigned int fds_n = first_fds(holder, now_ns, fds);
	struct worker *worker = NULL;
	unsigned int workers_n;
	unsigned int blocked_n;
	size_t *count;

	workers_n = count_workers(holder, owner, now_ns, &blocked_n);
	/* A full holder receives no fds of other owners: let more workers block instead. */
	if ((blocked_n >= IVS_CLOSER_BLOCKED_MAX && !is_full(holder)) || are_all_blocked(holder)) {
		report(blocked_n >= IVS_CLOSER_BLOCKED_MAX ? owner : IVS_CLOSER_ANYBODY);
		postpone(holder, owner, fds, fds_n);
		return true;
	}
	if (workers_n < IVS_CLOSER_BLOCKED_MAX || is_full(holder))
		worker = find_worker(holder);
	if (!worker || !start_worker(worker, fds, fds_n)) {
		holder->again_ns = ivs_clock_deadline(AGAIN_MS);
		return false;
	}
	count = count_of(holder, owner);
	*count -= *count < fds_n ? *count : fds_n;
	worker->owner = owner;
	worker->since_ns = now_ns;
	holder->first += fds_n;
	holder->n -= fds_n;
	return true;
}

static void close_due(struct holder *holder)
{
	int64_t now_ns = ivs_clock_ns();

	while (holder->n && first_due_ns(holder) <= now_ns && close_first(holder, now_ns))
		;
}

/*
 * Wait until a worker ends, a deadline expires or, unless too many fds are held, a message arrives.
 */
static void wait_for_events(struct holder *holder)
{
	struct pollfd polled[1 + IVS_CLOSER_WORKERS_MAX];

	polled[0] = (struct pollfd){.fd = holder->ended || is_full(holder) ? -1 : POOL_FD,
				    .events = POLLIN};
	for (unsigned int i = 0; i < holder->workers_max; i++)
		polled[1 + i] = (struct pollfd){.fd = holder->workers[i].sock, .events = POLLIN};
	if (wait_for(polled, 1 + holder->workers_max,
		     holder->n ? ivs_clock_left_ms(first_due_ns(holder)) : -1) <= 0)
		return;
	for (unsigned int i = 0; polled[0].revents && i < MESSAGES_MAX && !is_full(holder); i++) {
		if (!receive(holder))
			break;
	}
	for (unsigned int i = 0; i < holder->workers_max; i++) {
		if (polled[1 + i].revents)
			note_end(holder, &holder->workers[i]);
	}
}

static void serve(struct holder *holder)
{
	while (!holder->ended || holder->n) {
		wait_for_events(holder);
		close_due(holder);
	}
	end();
}

/* Starting */

/*
 * Keep only one fd, as POOL_FD, and keep nothing that a signal, a terminal or a directory could
 * affect.
 */
static void leave_everything(int sock)
{
	sigset_t all;

	sigfillset(&all);
	(void)sigprocmask(SIG_SETMASK, &all, NULL); /* this fails for invalid values only */
	(void)setsid();
	(void)chdir("/");
	if (sock != POOL_FD)
		(void)dup2(sock, POOL_FD);
	(void)close_range(POOL_FD + 1, ~0U, 0);
}

static unsigned int at_most(rlim_t n, unsigned int max)
{
	return n < max ? (unsigned int)n : max;
}

/* Divide up the fds that this process may open. Return: 0 or an errno. */
static int share_out_fds(struct holder *holder)
{
	struct rlimit limit;
	unsigned int others_n;

	ivs_privileges_raise_files();
	if (getrlimit(RLIMIT_NOFILE, &limit))
		return errno;
	holder->batch_max = 1 + at_most(limit.rlim_cur / 16, BATCH_MAX - 1);
	holder->workers_max = 1 + at_most(limit.rlim_cur / 16, holder->workers_max - 1);
	others_n = BATCH_FD + holder->batch_max + holder->workers_max + MESSAGE_FDS + 8;
	holder->held_max = at_most(limit.rlim_cur, HELD_ROOM) - IVS_FDPASS_MAX;
	if (limit.rlim_cur < HELD_ROOM)
		holder->held_max = limit.rlim_cur > 2 * others_n ? limit.rlim_cur - others_n
								 : limit.rlim_cur / 2;
	holder->share_max = holder->held_max / SHARE_DIVISOR;
	for (unsigned int i = 0; i < BATCH_FD - WORKER_FD + holder->batch_max; i++)
		free_fixed_fd(WORKER_FD + (int)i);
	return 0;
}

int ivs_closer_start(const struct ivs_closer_start *start)
{
	struct holder holder = {.workers_max = start->workers_max};
	pid_t pid;
	int result;

	holder.held = mmap(NULL, HELD_ROOM * sizeof(*holder.held), PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (holder.held == MAP_FAILED)
		return errno;
	for (unsigned int i = 0; i < IVS_CLOSER_WORKERS_MAX; i++)
		holder.workers[i].sock = -1;
	(void)prctl(PR_SET_NAME, NAME);
	leave_everything(start->sock);
	result = share_out_fds(&holder);
	pid = result ? -1 : fork();
	if (pid)
		return pid < 0 && !result ? errno : result;
	(void)prctl(PR_SET_NAME, NAME);
	/* If this fails, confining the program also fails, and reports the error. */
	if (start->confine(start->context))
		end();
	serve(&holder);
	return 0; /* not reached */
}
