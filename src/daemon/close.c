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
 * Reading SO_TYPE takes no lock. Disabling SO_LINGER instead would take the socket lock, which
 * another process can hold indefinitely (in send(2), from memory whose page faults are never
 * resolved), and no signal interrupts that wait. close(2) does not wait for the lock, because the
 * process in send(2) holds a reference to the open file.
 */
static bool is_socket(int fd)
{
	int type;
	socklen_t len = sizeof(type);

	return !getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len);
}

/*
 * A close(2) that fails with EINTR has closed the fd, except under a seccomp_unotify(2) supervisor,
 * where the system call may not have been executed. If the fd is still open, retry.
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
 * One signal of the guard (stall.h) is enough: while it is pending, closing fds does not block, and
 * the kernel closes all unread fds before it handles the signal. No more fds can arrive after the
 * shutdown.
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
