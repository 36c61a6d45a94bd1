/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/close.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/fdpass.h"
#include "daemon/closer.h"
#include "daemon/log.h"
#include "daemon/stall.h"

IVS_SYSCALLS(ivs_close_syscalls,
	     {"getsockopt", {IVS_ARG_IS(2, SOL_SOCKET), IVS_ARG_IS(3, SO_TYPE)}},
	     {"getsockopt", {IVS_ARG_IS(2, SOL_SOCKET), IVS_ARG_IS(3, SO_PASSRIGHTS)}},
	     {"shutdown"}, {"recv"}, {"recvfrom"}, {"poll"}, {"ppoll"}, {"ppoll_time64"}, {"close"},
	     IVS_CALL_GETFD);

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

/* Return: 0; IVS_CLOSER_E_BLOCKED, _LATER: why some fds stay open. */
static int release(int *fds, unsigned int fds_n)
{
	int result = ivs_closer_take(fds, fds_n);

	if (result == IVS_CLOSER_E_BLOCKED || result == IVS_CLOSER_E_LATER)
		return result;
	for (unsigned int i = 0; i < fds_n; i++) {
		if (fds[i] >= 0)
			close_in_a_hurry(&fds[i]);
	}
	return 0;
}

bool ivs_fds_release(int *fds, unsigned int fds_n)
{
	return !release(fds, fds_n);
}

/* Return: 0; IVS_CLOSE_E_KEPT: the fd stays open until the helper processes take it. */
static int release_or_keep(int *fd)
{
	static struct ivs_log_limit limit;
	int result = *fd < 0 ? 0 : release(fd, 1);

	if (!result)
		return 0;
	if (ivs_log_allows(&limit))
		ivs_log(IVS_LOG_WARNING, "a received file descriptor stays open, because %s",
			result == IVS_CLOSER_E_BLOCKED
				? "the helper processes that close such fds are blocked by the "
				  "processes that sent earlier ones"
				: "there is too little memory, or too many file descriptors of "
				  "this user are in flight");
	ivs_closer_keep(fd);
	return IVS_CLOSE_E_KEPT;
}

void ivs_fds_discard(int *fds, unsigned int fds_n)
{
	if (ivs_fds_release(fds, fds_n))
		return;
	for (unsigned int i = 0; i < fds_n; i++)
		(void)release_or_keep(&fds[i]);
}

void ivs_socket_close(int *sock)
{
	if (*sock >= 0)
		close_in_a_hurry(sock);
}

int ivs_fd_discard(int *fd)
{
	bool was_socket = *fd >= 0 && is_socket(*fd);
	int result = release_or_keep(fd);

	return was_socket ? IVS_CLOSE_E_SOCKET : result;
}

ssize_t ivs_socket_take(int sock, void *bytes, size_t len)
{
	struct ivs_fdpass_fds fds;
	int errnum = 0;
	ssize_t n;

	fds.max = IVS_FDPASS_MAX;
	n = ivs_fdpass_recv(sock, bytes, len, &fds);
	for (unsigned int i = 0; i < fds.n; i++) {
		int result = ivs_fd_discard(&fds.fds[i]);

		if (result && errnum != EPROTO)
			errnum = result == IVS_CLOSE_E_SOCKET ? EPROTO : EBUSY;
	}
	if (n >= 0 && !errnum)
		return n;
	errno = n < 0 ? (int)-n : errnum;
	return -1;
}

/* Return: whether the kernel rejects fds that are sent to @sock, which then has no unread fds. */
static bool refuses_fds(int sock)
{
	int value = 1;
	socklen_t len = sizeof(value);

	return !getsockopt(sock, SOL_SOCKET, SO_PASSRIGHTS, &value, &len) && !value;
}

/* recv(2) skips an out-of-band byte, which may have come with fds; poll(2) reports such a byte. */
static bool may_have_unread_fds(int sock)
{
	struct pollfd pfd = {.fd = sock, .events = POLLPRI};
	char byte;
	ssize_t n;

	do {
		n = recv(sock, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
	} while (n < 0 && (errno == EINTR || errno == ECONNRESET)); /* each is reported once */
	if (n > 0 || (n < 0 && errno != EAGAIN))
		return true;
	return poll(&pfd, 1, 0) < 0 || pfd.revents & POLLPRI;
}

/*
 * Untrusted processes do not have our end of a connection and so cannot watch it: closing a socket
 * without unread fds does not block.
 */
bool ivs_socket_release(int *sock)
{
	if (*sock >= 0 && may_have_unread_fds(*sock) && !refuses_fds(*sock))
		return ivs_fds_release(sock, 1);
	ivs_fd_close(sock);
	return true;
}

/* No more fds can arrive after the shutdown. */
void ivs_socket_discard(int *sock)
{
	if (*sock >= 0)
		(void)shutdown(*sock, SHUT_RDWR);
	if (!ivs_socket_release(sock))
		(void)release_or_keep(sock);
}
