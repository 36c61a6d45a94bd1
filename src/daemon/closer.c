/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/closer.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/fdpass.h"
#include "daemon/closer_helper.h"

/* System calls to pass fds to the pool. */
IVS_SYSCALLS(ivs_closer_syscalls, {"sendmsg"}, {"recv"}, {"recvfrom"}, {"poll"}, {"ppoll"},
	     {"ppoll_time64"}, {"close"},
	     {"setsockopt", {IVS_ARG_IS(2, SOL_SOCKET), IVS_ARG_IS(3, SO_SNDBUF)}});

#define WAIT_STEP_MS 10
#define KEPT_ROOM_MIN 16
#define QUEUE_DIVISOR 16 /* the queue may hold this fraction of the fds that may be in flight */
#define MESSAGE_DIVISOR 2048
#define MESSAGE_MIN 8
#define MESSAGE_BYTES 768 /* memory that the kernel charges for a small message */
#define FDS_MAX (IVS_FDPASS_MAX * MESSAGE_DIVISOR) /* fds that fit into a queue of 128 messages */
/* While an owner blocks helper processes, the holder reports it every IVS_CLOSER_HOLD_MS. */
#define BLOCKING_MS (2 * IVS_CLOSER_HOLD_MS)
#define BRIEF_MS 100

static struct ivs_closer own_pool = IVS_CLOSER_INIT(IVS_CLOSER_WORKERS_MAX, IVS_CLOSER_ANYBODY);
static struct ivs_closer *pool = &own_pool;

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
		return ivs_error_errno(err, errno, "cannot create a socket for helper processes");
	pid = fork();
	if (!pid)
		_exit(ivs_closer_start(&(struct ivs_closer_start){.sock = ends[1],
								  .workers_max = pool->workers_max,
								  .confine = confine,
								  .context = context}));
	result = pid < 0 ? -errno : await_child(pid);
	ivs_fd_close(&ends[1]);
	if (result) {
		ivs_fd_close(&ends[0]);
		return ivs_error_errno(err, -result,
				       "cannot start the helper processes that close "
				       "fds of clients");
	}
	ivs_closer_adopt(ends[0]);
	return 0;
}

/*
 * Fds in the queue to the holder are in flight. The kernel limits the number of a user's fds in
 * flight to the number of fds that a process may open, which here is the hard limit
 * (ivs_privileges_raise_files()). So the queue may use only a small part of that limit.
 */
static void bound_queue(void)
{
	struct rlimit limit = {0};
	rlim_t fds_n;
	int size;

	(void)getrlimit(RLIMIT_NOFILE, &limit);
	fds_n = limit.rlim_max < FDS_MAX ? limit.rlim_max : FDS_MAX;
	pool->message_max = (unsigned int)(fds_n / MESSAGE_DIVISOR);
	if (pool->message_max < MESSAGE_MIN)
		pool->message_max = MESSAGE_MIN;
	/* The kernel doubles the size, and enforces a minimum of about 6 messages. */
	size = (int)(fds_n / QUEUE_DIVISOR / pool->message_max * MESSAGE_BYTES / 2);
	(void)setsockopt(pool->fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
}

void ivs_closer_adopt(int fd)
{
	pool->fd = fd;
	if (fd >= 0)
		bound_queue();
}

int ivs_closer_fd(void)
{
	return pool->fd;
}

void ivs_closer_set_owner(uint64_t owner)
{
	pool->owner = owner;
}

static void note_blocking(uint64_t report)
{
	struct ivs_closer_blocking *at = pool->blocking;
	uint64_t owner = report & ~IVS_CLOSER_BRIEF;
	int ms = report & IVS_CLOSER_BRIEF ? BRIEF_MS : BLOCKING_MS;
	int64_t until_ns = ivs_clock_deadline(ms);

	for (unsigned int i = 0; i < IVS_CLOSER_OWNERS_MAX; i++) {
		if (pool->blocking[i].owner == owner) {
			at = &pool->blocking[i];
			break;
		}
		if (pool->blocking[i].until_ns < at->until_ns)
			at = &pool->blocking[i];
	}
	if (at->owner != owner || at->until_ns < until_ns)
		*at = (struct ivs_closer_blocking){owner, until_ns};
}

/* Receive the holder's reports about owners. */
static void receive_blocking(void)
{
	uint64_t owners[IVS_CLOSER_OWNERS_MAX];
	ssize_t n;

	do {
		n = recv(pool->fd, owners, sizeof(owners), MSG_DONTWAIT);
		for (size_t i = 0; n > 0 && i < (size_t)n / sizeof(*owners); i++)
			note_blocking(owners[i]);
	} while (n == sizeof(owners));
}

/* Return: whether the program should keep fds of the owner instead of passing them on. */
static bool is_blocking(uint64_t owner)
{
	if (owner & IVS_CLOSER_ALWAYS || pool->insists)
		return false;
	receive_blocking();
	for (unsigned int i = 0; i < IVS_CLOSER_OWNERS_MAX; i++) {
		const struct ivs_closer_blocking *blocking = &pool->blocking[i];

		if ((blocking->owner == owner || blocking->owner == IVS_CLOSER_ANYBODY) &&
		    blocking->until_ns > ivs_clock_ns())
			return true;
	}
	return false;
}

bool ivs_closer_accepts(uint64_t owner)
{
	return pool->fd < 0 || !is_blocking(owner);
}

bool ivs_closer_wait(void)
{
	static int64_t until_ns;

	pool->insists = true;
	if (!until_ns)
		until_ns = ivs_clock_deadline(IVS_CLOSER_WAIT_MS);
	/* Do not wait for POLLOUT: the kernel also refuses if too many fds are in flight. */
	(void)poll(NULL, 0, WAIT_STEP_MS);
	return pool->fd >= 0 && ivs_clock_ns() < until_ns;
}

/* Copy as many fds to @batch as fit, and skip negative ones. Return: how many of @fds were read. */
static unsigned int fill_batch(const int *fds, unsigned int fds_n, int *batch,
			       unsigned int *batch_n)
{
	unsigned int i;

	*batch_n = 0;
	for (i = 0; i < fds_n && *batch_n < pool->message_max; i++) {
		if (fds[i] >= 0)
			batch[(*batch_n)++] = fds[i];
	}
	return i;
}

/* Return: 0, IVS_CLOSER_E_*. */
static int send_batch(uint64_t owner, const int *batch, unsigned int batch_n)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(IVS_FDPASS_MAX * sizeof(int))];
	} control = {0};
	struct iovec iov = {&owner, sizeof(owner)};
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
	if (n > 0)
		return 0;
	if (errno == EAGAIN)
		return IVS_CLOSER_E_BLOCKED;
	return errno == EPIPE || errno == ECONNRESET ? IVS_CLOSER_E_ABSENT : IVS_CLOSER_E_LATER;
}

/* The holder holds each fd for seconds, so closing the copy here is not the last close. */
static int take(uint64_t owner, int *fds, unsigned int fds_n)
{
	if (pool->fd < 0)
		return IVS_CLOSER_E_ABSENT;
	if (is_blocking(owner))
		return IVS_CLOSER_E_BLOCKED;
	while (fds_n) {
		int batch[IVS_FDPASS_MAX];
		unsigned int batch_n;
		unsigned int taken_n = fill_batch(fds, fds_n, batch, &batch_n);
		int result = batch_n ? send_batch(owner, batch, batch_n) : 0;

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

unsigned int ivs_closer_kept_of(uint64_t owner)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < pool->kept_n; i++)
		n += pool->kept[i].owner == owner;
	return n;
}

/* Consecutive fds of one owner share a message. */
int ivs_closer_take_kept(void)
{
	unsigned int left_n = 0;
	int worst = 0;

	for (unsigned int i = 0, end; i < pool->kept_n; i = end) {
		uint64_t owner = pool->kept[i].owner;
		int fds[IVS_FDPASS_MAX];
		unsigned int fds_n = 0;
		int result;

		for (end = i;
		     end < pool->kept_n && pool->kept[end].owner == owner && fds_n < IVS_FDPASS_MAX;
		     end++)
			fds[fds_n++] = pool->kept[end].fd;
		result = take(owner, fds, fds_n);
		if (result)
			worst = result;
		for (unsigned int at = 0; at < fds_n; at++) {
			if (fds[at] >= 0)
				pool->kept[left_n++] = (struct ivs_closer_kept){owner, fds[at]};
		}
	}
	pool->kept_n = left_n;
	return worst;
}

/* Return: false if memory is exhausted; nothing is kept then. */
static bool keep(int *fds, unsigned int fds_n)
{
	unsigned int room = pool->kept_room ? pool->kept_room : KEPT_ROOM_MIN;
	struct ivs_closer_kept *more;

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
			pool->kept[pool->kept_n++] = (struct ivs_closer_kept){pool->owner,
									      ivs_fd_take(&fds[i])};
	}
	return true;
}

int ivs_closer_take(int *fds, unsigned int fds_n)
{
	int result;

	if (pool->fd >= 0 && pool->collects && pool->kept_n + fds_n <= IVS_CLOSER_COLLECTED_MAX &&
	    keep(fds, fds_n))
		return 0;
	result = pool->kept_n && pool->collects ? ivs_closer_take_kept() : 0;
	return result ? result : take(pool->owner, fds, fds_n);
}

void ivs_closer_keep(int *fd)
{
	if (!keep(fd, 1))
		*fd = -1; /* the fd stays open, but is not counted */
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
 * An fd that is still open when the process exits would be closed during the exit, and could block
 * it. Fds can wait in the socket while the helper processes are blocked. If the socket is full,
 * enlarge its buffer.
 */
void ivs_closer_close(void)
{
	const int most = INT_MAX;

	pool->insists = true;
	if (ivs_closer_take_kept()) {
		(void)setsockopt(pool->fd, SOL_SOCKET, SO_SNDBUF, &most, sizeof(most));
		(void)ivs_closer_take_kept();
	}
	free(pool->kept);
	pool->kept = NULL;
	pool->kept_n = pool->kept_room = 0;
	ivs_fd_close(&pool->fd);
}
