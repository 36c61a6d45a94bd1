/* SPDX-License-Identifier: BSD-3-Clause */
/* Many small messages in one system call, each with an fd or without (SCM_RIGHTS). */
#ifndef IVS_UTIL_SEND_H
#define IVS_UTIL_SEND_H

#include <sys/socket.h>

#include "ivshmem/api.h"
#include "util/syscalls.h"

extern const struct ivs_syscall ivs_send_syscalls[];

/** union ivs_send_control - room for one fd beside a message */
union ivs_send_control {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(sizeof(int))];
};

/** ivs_send_attach() - let @fd go with the message @hdr; @control must live until it has left */
void ivs_send_attach(struct msghdr *hdr, union ivs_send_control *control, int fd);

/**
 * ivs_send_all() - send messages, in order; never waits, never raises SIGPIPE
 * @sent_n: how many have left, also when the result is not 0
 *
 * Return: 0 (all have left) or -errno.
 */
IVS_MUST_USE int ivs_send_all(int sock, struct mmsghdr *hdrs, unsigned int hdrs_n,
			      unsigned int *sent_n);

#endif
