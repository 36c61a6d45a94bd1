/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/fdpass.h"

#include <errno.h>
#include <linux/sock_diag.h>
#include <stdint.h>
#include <string.h>

IVS_SYSCALLS(ivs_fdpass_send_syscalls, {"sendmmsg"});
IVS_SYSCALLS(ivs_fdpass_recv_syscalls, {"recvmsg"},
	     {"setsockopt", {IVS_ARG_IS(2, SOL_SOCKET), IVS_ARG_IS(3, SO_OOBINLINE)}});

/*
 * The kernel charges at least this many bytes for an 8-byte message (768 or more on 64-bit
 * machines).
 */
#define MESSAGE_BYTES_MIN 512

void ivs_fdpass_attach(struct msghdr *hdr, union ivs_fdpass_control *control, int fd)
{
	struct cmsghdr *cmsg;

	memset(control, 0, sizeof(*control));
	hdr->msg_control = control->bytes;
	hdr->msg_controllen = sizeof(control->bytes);
	cmsg = CMSG_FIRSTHDR(hdr);
	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cmsg), &fd, sizeof(int));
}

int ivs_fdpass_send(int sock, struct mmsghdr *hdrs, unsigned int hdrs_n, unsigned int *sent_n)
{
	*sent_n = 0;
	/* sendmmsg() returns an error only if it could not send even the first message. */
	while (*sent_n < hdrs_n) {
		int n = sendmmsg(sock, hdrs + *sent_n, hdrs_n - *sent_n,
				 MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		*sent_n += (unsigned int)n;
	}
	return 0;
}

/* Collect the fds of a message, which the kernel may have put in several control messages. */
static void collect_fds(struct msghdr *hdr, struct ivs_fdpass_fds *fds)
{
	for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(hdr); cmsg; cmsg = CMSG_NXTHDR(hdr, cmsg)) {
		size_t n = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS)
			continue;
		memcpy(fds->fds + fds->n, CMSG_DATA(cmsg), n * sizeof(int));
		fds->n += (unsigned int)n;
	}
}

/*
 * setsockopt(2) waits for the socket's lock. A process that has an fd of this end can hold the lock
 * forever; a process that has only the other end cannot.
 */
int ivs_fdpass_take_urgent(int sock)
{
	const int on = 1;

	return setsockopt(sock, SOL_SOCKET, SO_OOBINLINE, &on, sizeof(on)) ? -errno : 0;
}

ssize_t ivs_fdpass_recv(int sock, void *bytes, size_t len, struct ivs_fdpass_fds *fds)
{
	struct iovec part = {bytes, len};

	return ivs_fdpass_recv_parts(sock, &part, 1, fds);
}

ssize_t ivs_fdpass_recv_parts(int sock, struct iovec *parts, unsigned int parts_n,
			      struct ivs_fdpass_fds *fds)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(IVS_FDPASS_MAX * sizeof(int))];
	} control;
	struct msghdr hdr = {
		.msg_iov = parts,
		.msg_iovlen = parts_n,
		.msg_control = control.bytes,
		/* CMSG_SPACE() would round up, which could leave room for one more fd. */
		.msg_controllen = CMSG_LEN(fds->max * sizeof(int)),
	};
	ssize_t n = recvmsg(sock, &hdr, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	fds->n = 0;
	fds->truncated = false;
	if (n < 0)
		return -errno;
	collect_fds(&hdr, fds);
	fds->truncated = hdr.msg_flags & MSG_CTRUNC;
	return n;
}

unsigned int ivs_fdpass_unread(int sock)
{
	uint32_t info[SK_MEMINFO_VARS];
	socklen_t len = sizeof(info);

	if (getsockopt(sock, SOL_SOCKET, SO_MEMINFO, info, &len) ||
	    len <= SK_MEMINFO_WMEM_ALLOC * sizeof(*info))
		return 0;
	/*
	 * Round down: when the kernel reports that a message was read, it still counts 1 byte of
	 * it.
	 */
	return info[SK_MEMINFO_WMEM_ALLOC] / MESSAGE_BYTES_MIN;
}
