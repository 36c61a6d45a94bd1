/* SPDX-License-Identifier: BSD-3-Clause */
/* File descriptors over UNIX sockets (SCM_RIGHTS), sent and received. Nothing here waits. */
#ifndef IVS_BASE_FDPASS_H
#define IVS_BASE_FDPASS_H

#include <stdbool.h>
#include <sys/socket.h>

#include "base/syscalls.h"
#include "ivshmem/api.h"

/** The most fds that the kernel carries with one message (SCM_MAX_FD). */
#define IVS_FDPASS_MAX 253

extern const struct ivs_syscall ivs_fdpass_send_syscalls[];
extern const struct ivs_syscall ivs_fdpass_recv_syscalls[];

/** union ivs_fdpass_control - room for one fd beside a message */
union ivs_fdpass_control {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(sizeof(int))];
};

/** ivs_fdpass_attach() - send @fd with the message @hdr; @control must live until it has left */
void ivs_fdpass_attach(struct msghdr *hdr, union ivs_fdpass_control *control, int fd);

/**
 * ivs_fdpass_send() - send messages, in order, in as few system calls as possible; no SIGPIPE
 * @sent_n: how many have left, also when the result is not 0
 *
 * Return: 0 (all have left) or -errno.
 */
IVS_MUST_USE int ivs_fdpass_send(int sock, struct mmsghdr *hdrs, unsigned int hdrs_n,
				 unsigned int *sent_n);

/**
 * struct ivs_fdpass_fds - fds that came with bytes
 * @max:       how many to accept, 1 to IVS_FDPASS_MAX; the kernel closes the rest
 * @n:         how many came; they are the caller's, and close-on-exec
 * @truncated: more were sent: than @max, or than this process may have open
 */
struct ivs_fdpass_fds {
	unsigned int max;
	unsigned int n;
	bool truncated;
	int fds[IVS_FDPASS_MAX];
};

/**
 * ivs_fdpass_recv() - receive at most @len bytes of a stream, and the fds that came with them
 * @fds: its @max is set; all else is set here, also when the result is not positive
 *
 * Return: how many bytes; 0 at the end of the stream; -errno (-EAGAIN: none for now; -EINTR).
 */
IVS_MUST_USE ssize_t ivs_fdpass_recv(int sock, void *bytes, size_t len, struct ivs_fdpass_fds *fds);

#endif
