/* SPDX-License-Identifier: BSD-3-Clause */
#include "protocol/socket.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "base/fdpass.h"

/* A server only sends. */
/* Room for two fds is what CMSG_SPACE of one gives on 64 bit anyway; the kernel drops the rest. */
#define CONTROL_FDS 4

union recv_control {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(CONTROL_FDS * sizeof(int))];
};

static int send_result(int number)
{
	switch (number) {
	case EAGAIN:
		return IVS_SOCKET_E_AGAIN;
	case EPIPE:
	case ECONNRESET:
		return IVS_SOCKET_E_GONE;
	case ETOOMANYREFS:
	case ENOBUFS:
	case ENOMEM:
		return IVS_SOCKET_E_LATER;
	default:
		return -number;
	}
}

int ivs_socket_send(int sock, const struct ivs_v0_message *msgs, unsigned int msgs_n,
		    unsigned int *sent_n)
{
	uint8_t bytes[IVS_SOCKET_BATCH][IVS_V0_LEN];
	union ivs_fdpass_control control[IVS_SOCKET_BATCH];
	struct mmsghdr hdrs[IVS_SOCKET_BATCH];
	struct iovec iov[IVS_SOCKET_BATCH];
	int result;

	*sent_n = 0;
	if (msgs_n > IVS_SOCKET_BATCH)
		return -EINVAL;
	for (unsigned int i = 0; i < msgs_n; i++) {
		ivs_v0_put(&msgs[i], bytes[i]);
		iov[i] = (struct iovec){bytes[i], IVS_V0_LEN};
		hdrs[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &iov[i], .msg_iovlen = 1}};
		if (msgs[i].fd >= 0)
			ivs_fdpass_attach(&hdrs[i].msg_hdr, &control[i], msgs[i].fd);
	}
	result = ivs_fdpass_send(sock, hdrs, msgs_n, sent_n);
	return result ? send_result(-result) : 0;
}

/* All fds of a message, wherever the kernel put them: at most one is kept, in @fd. */
static unsigned int collect_fds(struct msghdr *hdr, int *fd)
{
	unsigned int count = 0;
	int received;

	for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(hdr); cmsg; cmsg = CMSG_NXTHDR(hdr, cmsg)) {
		size_t len = cmsg->cmsg_len - CMSG_LEN(0);

		if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t at = 0; at + sizeof(int) <= len; at += sizeof(int)) {
			memcpy(&received, CMSG_DATA(cmsg) + at, sizeof(int));
			if (count++)
				ivs_fd_close(&received);
			else
				*fd = received;
		}
	}
	return count;
}

int ivs_socket_recv_bytes(int sock, uint8_t *buf, size_t len, size_t *got, int *fd)
{
	union recv_control control;
	struct iovec iov = {buf, len};
	struct msghdr hdr = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes),
	};
	IVS_OWNED_FD received = -1;
	unsigned int fds_n;
	ssize_t n;

	do {
		n = recvmsg(sock, &hdr, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	} while (n < 0 && errno == EINTR);
	if (n < 0 && errno == EAGAIN)
		return IVS_SOCKET_E_AGAIN;
	if (n < 0 && errno != ECONNRESET)
		return -errno;
	if (n <= 0)
		return IVS_SOCKET_E_GONE;

	fds_n = collect_fds(&hdr, &received);
	/*
	 * More fds than there was room for are truncated too, but that is the other side's doing
	 * and not a lack of fds here.
	 */
	if (fds_n > 1)
		return IVS_SOCKET_E_FDS;
	if (hdr.msg_flags & MSG_CTRUNC)
		return IVS_SOCKET_E_TRUNCATED;
	*got = (size_t)n;
	*fd = ivs_fd_take(&received);
	return 0;
}

int ivs_socket_recv_message(int sock, struct ivs_v0_decoder *dec, struct ivs_v0_message *out)
{
	uint8_t buf[IVS_V0_LEN];
	int result;

	for (;;) {
		IVS_OWNED_FD fd = -1;
		const uint8_t *in = buf;
		size_t got;

		result = ivs_socket_recv_bytes(sock, buf, IVS_V0_LEN - dec->have, &got, &fd);
		if (result)
			return result;
		result = ivs_v0_feed(dec, &in, &got, &fd, out);
		if (result == IVS_V0_E_GARBAGE)
			return IVS_SOCKET_E_GARBAGE;
		if (result != IVS_V0_E_MORE)
			return result;
	}
}
