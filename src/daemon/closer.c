/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/closer.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/fdpass.h"
#include "daemon/privileges.h"

/* To pass fds to the pool. */
IVS_SYSCALLS(ivs_closer_syscalls, {"sendmsg"}, {"poll"}, {"ppoll"}, {"ppoll_time64"}, {"close"},
	     {"setsockopt", {IVS_ARG_IS(2, SOL_SOCKET), IVS_ARG_IS(3, SO_SNDBUF)}});

IVS_SYSCALLS(ivs_closer_helper_syscalls, {"recvmsg"}, {"close"}, {"poll"}, {"ppoll"},
	     {"ppoll_time64"}, IVS_CALL_EPOLL_WAIT);

#define NAME "ivshmem-closer"
#define HELD_ROOM 262144 /* a power of two; memory that is not used costs nothing */
#define EARLY_NS ((IVS_CLOSER_HOLD_MS - IVS_CLOSER_HOLD_MIN_MS) * (IVS_NS_PER_S / 1000))
#define WAIT_STEP_MS 10
#define KEPT_ROOM_MIN 16

static struct ivs_closer own_pool = IVS_CLOSER_INIT;
static struct ivs_closer *pool = &own_pool;

/**
 * struct held - the fds that a helper process holds, a ring in the order of their deadlines
 * @max: how many it may hold before it receives the next message
 */
struct held {
	struct held_fd {
		int64_t until_ns;
		int fd;
	} * fds;
	size_t first;
	size_t n;
	size_t max;
};

static void close_first(struct held *held)
{
	struct held_fd *first = &held->fds[held->first & (HELD_ROOM - 1)];

	held->first++;
	held->n--;
	(void)close(first->fd); /* may block */
}

static void hold(struct held *held, int fd, int64_t until_ns)
{
	held->fds[(held->first + held->n++) & (HELD_ROOM - 1)] = (struct held_fd){until_ns, fd};
}

/* One message: a byte and its fds. Return: false at the end: no process can send any more. */
static bool receive(int sock, struct held *held)
{
	struct ivs_fdpass_fds fds = {.max = IVS_FDPASS_MAX};
	int64_t until_ns;
	char byte;
	ssize_t n;

	n = ivs_fdpass_recv(sock, &byte, 1, &fds);
	until_ns = ivs_clock_deadline(IVS_CLOSER_HOLD_MS);
	for (unsigned int i = 0; i < fds.n; i++)
		hold(held, fds.fds[i], until_ns);
	return n > 0 || n == -EAGAIN || n == -EINTR || n == -ENOMEM;
}

static bool is_full(const struct held *held)
{
	return held->n > held->max;
}

/* When the first fd has to be closed: early, if the helper process holds as many as it can. */
static int64_t first_due_ns(const struct held *held)
{
	int64_t until_ns = held->fds[held->first & (HELD_ROOM - 1)].until_ns;

	return is_full(held) ? until_ns - EARLY_NS : until_ns;
}

static void close_due(struct held *held, int64_t now_ns)
{
	while (held->n && first_due_ns(held) <= now_ns)
		close_first(held);
}

static int wait_ms(const struct held *held)
{
	return held->n ? ivs_clock_left_ms(first_due_ns(held)) : -1;
}

/*
 * The main loop of a helper process. One that holds as many fds as it can receives none until it
 * may close the first. At the end it waits for deadlines only: the socket is in the epoll while
 * another helper process has it, and would report the end again and again.
 */
static void serve(int sock, int epoll_fd, struct held *held)
{
	bool open = true;

	while (open || held->n) {
		struct epoll_event event;
		int n = open && !is_full(held) ? epoll_wait(epoll_fd, &event, 1, wait_ms(held))
					       : poll(NULL, 0, wait_ms(held));

		if (n < 0 && errno != EINTR)
			return;
		if (n > 0)
			open = receive(sock, held);
		close_due(held, ivs_clock_ns());
	}
}

/* Before the helper process is confined: it allocates nothing later. Return: 0 or -errno. */
static int open_held(struct held *held)
{
	size_t others_n = IVS_FDPASS_MAX + 8; /* of the next message, and the process's own */
	struct rlimit limit;
	void *map = mmap(NULL, HELD_ROOM * sizeof(*held->fds), PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (map == MAP_FAILED)
		return -errno;
	*held = (struct held){.fds = map, .max = HELD_ROOM - IVS_FDPASS_MAX};
	if (getrlimit(RLIMIT_NOFILE, &limit))
		return -errno;
	if (limit.rlim_cur < 2 * others_n)
		others_n = limit.rlim_cur / 2;
	if (limit.rlim_cur - others_n < held->max)
		held->max = limit.rlim_cur - others_n;
	return 0;
}

/* Keep one fd only, and nothing that a signal, a terminal or a directory could affect. */
static void leave_everything(int sock)
{
	sigset_t all;

	sigfillset(&all);
	(void)sigprocmask(SIG_SETMASK, &all, NULL); /* fails for invalid values only */
	(void)setsid();
	(void)chdir("/");
	if (sock)
		(void)close_range(0, (unsigned int)sock - 1, 0);
	(void)close_range((unsigned int)sock + 1, ~0U, 0);
}

/* In a helper process. A message wakes only one of the helper processes that wait. */
static _Noreturn void run_helper(int sock, int (*confine)(const void *context), const void *context)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLEXCLUSIVE};
	struct held held;
	int epoll_fd;

	(void)prctl(PR_SET_NAME, NAME);
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (!open_held(&held) && epoll_fd >= 0 &&
	    !epoll_ctl(epoll_fd, EPOLL_CTL_ADD, sock, &event) && !confine(context))
		serve(sock, epoll_fd, &held);
	/* Not exit(2) of a library: a sanitizer's tries for ever when a tracer makes it fail. */
	(void)syscall(SYS_exit_group, 0);
	__builtin_trap();
}

/*
 * In a child, whose parent waits for it: start the helper processes, which then have no parent that
 * would have to wait for them.
 */
static int start_helpers(int sock, int (*confine)(const void *context), const void *context)
{
	(void)prctl(PR_SET_NAME, NAME); /* also tells test/support/c/programs/faults.c who calls */
	leave_everything(sock);
	ivs_privileges_raise_files();
	for (unsigned int i = 0; i < pool->helpers_n; i++) {
		pid_t pid = fork();

		if (!pid)
			run_helper(sock, confine, context);
		if (pid < 0)
			return errno;
	}
	return 0;
}

static int await_child(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR)
			return -errno;
	}
	if (!WIFEXITED(status))
		return -ECHILD;
	return -WEXITSTATUS(status);
}

int ivs_closer_open(int (*confine)(const void *context), const void *context, struct ivs_error *err)
{
	int ends[2];
	pid_t pid;
	int result;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends))
		return ivs_error_errno(err, errno, "cannot make a socket for helper processes");
	pid = fork();
	if (!pid)
		_exit(start_helpers(ends[1], confine, context));
	result = pid < 0 ? -errno : await_child(pid);
	ivs_fd_close(&ends[1]);
	if (result) {
		ivs_fd_close(&ends[0]);
		return ivs_error_errno(err, -result,
				       "cannot start the helper processes that close "
				       "fds of clients");
	}
	pool->fd = ends[0];
	return 0;
}

void ivs_closer_adopt(int fd)
{
	pool->fd = fd;
}

int ivs_closer_fd(void)
{
	return pool->fd;
}

/* Return: how many fds of the beginning of @fds are in @batch, at most IVS_FDPASS_MAX. */
static unsigned int fill_batch(const int *fds, unsigned int fds_n, int *batch,
			       unsigned int *batch_n)
{
	unsigned int i;

	*batch_n = 0;
	for (i = 0; i < fds_n && *batch_n < IVS_FDPASS_MAX; i++) {
		if (fds[i] >= 0)
			batch[(*batch_n)++] = fds[i];
	}
	return i;
}

/* Return: 0, IVS_CLOSER_E_*. */
static int send_batch(const int *batch, unsigned int batch_n)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(IVS_FDPASS_MAX * sizeof(int))];
	} control = {0};
	char byte = 0;
	struct iovec iov = {&byte, 1};
	struct msghdr hdr = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control.bytes,
			     .msg_controllen = CMSG_SPACE(batch_n * sizeof(int))};
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&hdr);
	ssize_t n;

	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(batch_n * sizeof(int));
	memcpy(CMSG_DATA(cmsg), batch, batch_n * sizeof(int));
	do {
		n = sendmsg(pool->fd, &hdr, MSG_DONTWAIT | MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	if (n == 1)
		return 0;
	if (errno == EAGAIN)
		return IVS_CLOSER_E_BLOCKED;
	return errno == EPIPE || errno == ECONNRESET ? IVS_CLOSER_E_ABSENT : IVS_CLOSER_E_LATER;
}

bool ivs_closer_wait(void)
{
	static int64_t until_ns;

	if (!until_ns)
		until_ns = ivs_clock_deadline(IVS_CLOSER_WAIT_MS);
	/* Not for POLLOUT: the kernel may also refuse because too many fds are in flight. */
	(void)poll(NULL, 0, WAIT_STEP_MS);
	return pool->fd >= 0 && ivs_clock_ns() < until_ns;
}

/* A helper process holds each fd for seconds, so closing the copy here is not the last close. */
static int take(int *fds, unsigned int fds_n)
{
	while (fds_n) {
		int batch[IVS_FDPASS_MAX];
		unsigned int batch_n;
		unsigned int taken_n = fill_batch(fds, fds_n, batch, &batch_n);

		int result = 0;

		if (batch_n)
			result = pool->fd < 0 ? IVS_CLOSER_E_ABSENT : send_batch(batch, batch_n);
		if (result)
			return result;
		for (unsigned int i = 0; i < taken_n; i++)
			ivs_fd_close(&fds[i]);
		fds += taken_n;
		fds_n -= taken_n;
	}
	return 0;
}

unsigned int ivs_closer_kept_n(void)
{
	return pool->kept_n;
}

int ivs_closer_take_kept(void)
{
	unsigned int left_n = 0;
	int result = take(pool->kept, pool->kept_n);

	for (unsigned int i = 0; result && i < pool->kept_n; i++) {
		if (pool->kept[i] >= 0)
			pool->kept[left_n++] = pool->kept[i];
	}
	pool->kept_n = left_n;
	return result;
}

/* Return: false: out of memory; nothing is kept. */
static bool keep(int *fds, unsigned int fds_n)
{
	unsigned int room = pool->kept_room ? pool->kept_room : KEPT_ROOM_MIN;
	int *more;

	while (room < pool->kept_n + fds_n)
		room *= 2;
	if (room > pool->kept_room) {
		more = reallocarray(pool->kept, room, sizeof(*more));
		if (!more)
			return false;
		pool->kept = more;
		pool->kept_room = room;
	}
	for (unsigned int i = 0; i < fds_n; i++) {
		if (fds[i] >= 0)
			pool->kept[pool->kept_n++] = ivs_fd_take(&fds[i]);
	}
	return true;
}

int ivs_closer_take(int *fds, unsigned int fds_n)
{
	int result;

	if (pool->fd >= 0 && pool->collects && pool->kept_n + fds_n <= IVS_CLOSER_COLLECTED_MAX &&
	    keep(fds, fds_n))
		return 0;
	result = ivs_closer_take_kept();
	return result ? result : take(fds, fds_n);
}

void ivs_closer_keep(int *fd)
{
	if (!keep(fd, 1))
		*fd = -1; /* the fd stays open, and is not counted */
}

void ivs_closer_collect(bool collects)
{
	pool->collects = collects;
	if (!collects)
		(void)ivs_closer_take_kept();
}

struct ivs_closer *ivs_closer_use(struct ivs_closer *other)
{
	struct ivs_closer *former = pool;

	pool = other ? other : &own_pool;
	return former;
}

/*
 * An fd that is still open when the process exits would be closed then, and could block the exit.
 * Fds can wait in the socket while the helper processes are blocked. If it is full, enlarge its
 * buffer.
 */
void ivs_closer_close(void)
{
	const int most = INT_MAX;

	if (ivs_closer_take_kept()) {
		(void)setsockopt(pool->fd, SOL_SOCKET, SO_SNDBUF, &most, sizeof(most));
		(void)ivs_closer_take_kept();
	}
	free(pool->kept);
	pool->kept = NULL;
	pool->kept_n = pool->kept_room = 0;
	ivs_fd_close(&pool->fd);
}
