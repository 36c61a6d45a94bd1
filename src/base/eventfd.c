/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/eventfd.h"

#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

IVS_SYSCALLS(ivs_eventfd_syscalls, {"poll"}, {"ppoll"}, {"write"}, {"read"}, {"preadv2"},
	     {"readlink"}, {"readlinkat"});

bool ivs_eventfd_is(int fd)
{
	static const char eventfd_name[] = "anon_inode:[eventfd]";
	char target[sizeof(eventfd_name) + 1];
	char path[32];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	n = readlink(path, target, sizeof(target));
	if (n < 0)
		return errno == ENOENT;
	return n == sizeof(eventfd_name) - 1 && !memcmp(target, eventfd_name, (size_t)n);
}

/*
 * Poll first: another process may have filled the counter and cleared O_NONBLOCK, which all
 * processes that have the eventfd share. If the counter is full, a signal is already pending.
 */
int ivs_eventfd_signal(int fd)
{
	struct pollfd pfd = {.fd = fd, .events = POLLOUT};
	uint64_t one = 1;

	while (poll(&pfd, 1, 0) < 0) {
		if (errno != EINTR)
			return -errno;
	}
	if (fd < 0 || pfd.revents & POLLNVAL)
		return -EBADF;
	if (!(pfd.revents & POLLOUT)) /* the counter is full (POLLERR: the kernel filled it) */
		return 0;
	if (write(fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
		return -errno;
	return 0;
}

/* Use RWF_NOWAIT: another process may have cleared O_NONBLOCK and emptied the counter. */
int ivs_eventfd_take(int fd)
{
	uint64_t count;
	struct iovec iov = {&count, sizeof(count)};

	struct pollfd pfd = {.fd = fd, .events = POLLIN};
	ssize_t n = preadv2(fd, &iov, 1, -1, RWF_NOWAIT);

	/* Before Linux 5.8, eventfds do not support RWF_NOWAIT: poll first. */
	if (n < 0 && errno == EOPNOTSUPP) {
		if (poll(&pfd, 1, 0) != 1)
			return 0;
		n = read(fd, &count, sizeof(count));
	}
	if (n == sizeof(count))
		return 1;
	if (n < 0)
		return errno == EAGAIN ? 0 : -errno;
	return -EIO; /* the fd is not an eventfd */
}
