/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/close.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/fdpass.h"
#include "daemon/stall.h"

IVS_SYSCALLS(ivs_close_syscalls,
	     {"getsockopt", {IVS_ARG_IS(2, SOL_SOCKET), IVS_ARG_IS(3, SO_TYPE)}}, {"shutdown"},
	     {"recv"}, {"recvfrom"}, {"close"}, IVS_CALL_GETFD);

/*
 * Asking takes no lock. Keeping a socket from lingering would: that of the socket, which its owner can hold for
 * as long as he likes, in a send(2) of memory that does not come, and no signal ends that wait. Closing does
 * not wait for that one: who is in the middle of a call holds the open file.
 */
static bool is_socket(int fd)
{
	int type;
	socklen_t len = sizeof(type);

	return !getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len);
}

/*
 * A close(2) that was interrupted has closed. Not so where somebody stands between us and the kernel
 * (seccomp_unotify(2)) and it has not got there: then the fd is ours still, and no one else's.
 */
static void close_in_a_hurry(int *fd)
{
	int taken_fd = ivs_fd_take(fd);

	ivs_stall_hurry(true);
	while (close(taken_fd) && errno == EINTR && fcntl(taken_fd, F_GETFD) >= 0)
		;
	ivs_stall_hurry(false);
}

void ivs_socket_close(int *sock)
{
	if (*sock >= 0)
		close_in_a_hurry(sock);
}

bool ivs_fd_discard(int *fd)
{
	if (*fd < 0 || !is_socket(*fd)) {
		ivs_fd_close(fd);
		return true;
	}
	close_in_a_hurry(fd);
	return false;
}

ssize_t ivs_socket_take(int sock, void *bytes, size_t len)
{
	struct ivs_fdpass_fds fds;
	bool good = true;
	ssize_t n;

	fds.max = IVS_FDPASS_MAX;
	n = ivs_fdpass_recv(sock, bytes, len, &fds);
	for (unsigned int i = 0; i < fds.n; i++)
		good &= ivs_fd_discard(&fds.fds[i]);
	if (n >= 0 && good)
		return n;
	errno = n < 0 ? (int)-n : EPROTO;
	return -1;
}

static bool has_unread(int sock)
{
	char byte;

	return recv(sock, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

/*
 * The kernel closes what has come and was not read, all of it before a signal is handled: so one signal ends
 * all waits. Nothing more can come after the shutdown.
 */
void ivs_socket_discard(int *sock)
{
	if (*sock < 0)
		return;
	(void)shutdown(*sock, SHUT_RDWR);
	if (has_unread(*sock))
		close_in_a_hurry(sock);
	else
		ivs_fd_close(sock);
}
