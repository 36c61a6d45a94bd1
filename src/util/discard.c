/* SPDX-License-Identifier: BSD-3-Clause */
#include "util/discard.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>

#include "util/fd.h"

IVS_SYSCALLS(ivs_discard_syscalls,
	     {"setsockopt", {IVS_ARG_IS(2, SOL_SOCKET), IVS_ARG_IS(3, SO_LINGER)}}, {"shutdown"},
	     {"recvmsg"}, {"close"});

#define ROOM 4096

void ivs_fd_disarm(int fd)
{
	const struct linger none = {0};

	(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof(none));
}

static void discard_fds(struct msghdr *hdr)
{
	for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(hdr); cmsg; cmsg = CMSG_NXTHDR(hdr, cmsg)) {
		const size_t len = cmsg->cmsg_len - CMSG_LEN(0);

		if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t at = 0; at + sizeof(int) <= len; at += sizeof(int)) {
			int fd;

			memcpy(&fd, CMSG_DATA(cmsg) + at, sizeof(fd));
			ivs_fd_disarm(fd);
			ivs_fd_close(&fd);
		}
	}
}

ssize_t ivs_socket_take(int sock, void *bytes, size_t len)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(IVS_RECEIVED_FDS_MAX * sizeof(int))];
	} control;
	struct iovec iov = {bytes, len};
	struct msghdr hdr = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes),
	};
	const ssize_t n = recvmsg(sock, &hdr, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	if (n >= 0)
		discard_fds(&hdr);
	return n;
}

/* Return: whether there may be more. */
static bool discard_some(int sock)
{
	char bytes[ROOM];
	const ssize_t n = ivs_socket_take(sock, bytes, sizeof(bytes));

	return n > 0 || (n < 0 && errno == EINTR);
}

void ivs_socket_discard(int *sock)
{
	if (*sock < 0)
		return;
	/* Then nothing more can come, and what has is bounded by the buffer. */
	(void)shutdown(*sock, SHUT_RDWR);
	while (discard_some(*sock))
		;
	ivs_fd_close(sock);
}
