/* SPDX-License-Identifier: BSD-3-Clause */
/* Sending and receiving fds over UNIX sockets (SCM_RIGHTS). No function blocks. */
#ifndef IVS_BASE_FDPASS_H
#define IVS_BASE_FDPASS_H

#include <stdbool.h>
#include <sys/socket.h>

#include "base/syscalls.h"
#include "ivshmem/api.h"

/** The maximum number of fds in one message (SCM_MAX_FD in the kernel). */
#define IVS_FDPASS_MAX 253

extern const struct ivs_syscall ivs_fdpass_send_syscalls[];
extern const struct ivs_syscall ivs_fdpass_recv_syscalls[];

/** union ivs_fdpass_control - a control message with room for one fd */
union ivs_fdpass_control {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(sizeof(int))];
};

/** ivs_fdpass_attach() - attach @fd to the message @hdr; @control must stay valid until the send */
void ivs_fdpass_attach(struct msghdr *hdr, union ivs_fdpass_control *control, int fd);

/**
 * ivs_fdpass_send() - send messages in order, in as few system calls as possible, without SIGPIPE
 * @sent_n: set to the number of messages sent, even if the result is not 0
 *
 * Return: 0 (all were sent) or -errno.
 */
IVS_MUST_USE int ivs_fdpass_send(int sock, struct mmsghdr *hdrs, unsigned int hdrs_n,
				 unsigned int *sent_n);

/**
 * struct ivs_fdpass_fds - fds received with bytes of a stream
 * @max:       number of fds to accept, 1 to IVS_FDPASS_MAX; the kernel closes the rest
 * @n:         number of fds received, which are close-on-exec and belong to the caller
 * @truncated: some fds were lost, because more than @max were sent, or more than this process may
 *             open
 */
struct ivs_fdpass_fds {
	unsigned int max;
	unsigned int n;
	bool truncated;
	int fds[IVS_FDPASS_MAX];
};

/**
 * ivs_fdpass_take_urgent() - receive out-of-band bytes (MSG_OOB) like all others, with their fds
 * @sock: a UNIX stream socket of which no untrusted process has a copy
 *
 * Otherwise the kernel discards these bytes in recvmsg(2), and closes their fds, which can block;
 * and recv(2) with MSG_PEEK does not show them. The option is not inherited from a listening
 * socket, and also affects bytes that have arrived before it is set.
 *
 * Return: 0 or -errno.
 */
IVS_MUST_USE int ivs_fdpass_take_urgent(int sock);

/**
 * ivs_fdpass_recv() - receive at most @len bytes of a stream, and the fds that came with them
 * @fds: the caller sets @max; the function sets the other members, even if the result is not
 *       positive
 *
 * Return: the number of bytes; 0 at the end of the stream; -errno (-EAGAIN: nothing to receive yet;
 * -EINTR).
 */
IVS_MUST_USE ssize_t ivs_fdpass_recv(int sock, void *bytes, size_t len, struct ivs_fdpass_fds *fds);

/** ivs_fdpass_recv_parts() - ivs_fdpass_recv(), into @parts_n parts of memory as readv(2) */
IVS_MUST_USE ssize_t ivs_fdpass_recv_parts(int sock, struct iovec *parts, unsigned int parts_n,
					   struct ivs_fdpass_fds *fds);

/**
 * ivs_fdpass_unread() - get an upper bound on the number of sent messages that are still unread
 * @sock: a UNIX stream socket
 *
 * The fds of these messages are in flight. When the receiver has read a message, the kernel reports
 * EPOLLOUT (with EPOLLET), and the bound no longer includes that message. The only system call is
 * getsockopt(2), which takes no lock.
 */
unsigned int ivs_fdpass_unread(int sock);

#endif
