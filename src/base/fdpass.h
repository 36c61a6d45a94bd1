/* SPDX-License-Identifier: BSD-3-Clause */
/* Many small messages in one system call, each with an fd or without (SCM_RIGHTS). */
#ifndef IVS_BASE_FDPASS_H
#define IVS_BASE_FDPASS_H

#include <sys/socket.h>

#include "base/syscalls.h"
#include "ivshmem/api.h"

extern const struct ivs_syscall ivs_fdpass_syscalls[];

/** union ivs_fdpass_control - room for one fd beside a message */
union ivs_fdpass_control {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(sizeof(int))];
};

/** ivs_fdpass_attach() - let @fd go with the message @hdr; @control must live until it has left */
void ivs_fdpass_attach(struct msghdr *hdr, union ivs_fdpass_control *control, int fd);

/**
 * ivs_fdpass_send() - send messages, in order; never waits, never raises SIGPIPE
 * @sent_n: how many have left, also when the result is not 0
 *
 * Return: 0 (all have left) or -errno.
 */
IVS_MUST_USE int ivs_fdpass_send(int sock, struct mmsghdr *hdrs, unsigned int hdrs_n,
				 unsigned int *sent_n);

#endif
