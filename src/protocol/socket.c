/* SPDX-License-Identifier: BSD-3-Clause */
#include "protocol/socket.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/fdpass.h"

static int socket_send_result(int errnum)
{
	switch (errnum) {
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
		return -errnum;
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
	return result ? socket_send_result(-result) : 0;
}

int ivs_socket_recv_bytes(int sock, uint8_t *buf, size_t len, size_t *got, int *fd,
			  struct ivs_disposal *disposal)
{
	struct ivs_fdpass_fds fds;
	ssize_t n;

	/*
	 * Accept all fds, although a message has at most one. If the kernel had to close them, it
	 * could block.
	 */
	fds.max = IVS_FDPASS_MAX;
	do {
		n = ivs_fdpass_recv(sock, buf, len, &fds);
	} while (n == -EINTR);
	if (n == -EAGAIN)
		return IVS_SOCKET_E_AGAIN;
	if (n < 0 && n != -ECONNRESET)
		return (int)n;
	if (fds.n == 1 && n > 0 && !fds.truncated) {
		*fd = fds.fds[0];
		fds.n = 0;
	} else {
		*fd = -1;
	}
	for (unsigned int i = 0; i < fds.n; i++)
		ivs_dispose(disposal, &fds.fds[i]);
	if (n <= 0)
		return IVS_SOCKET_E_GONE;
	/* Check this first: if several fds were sent, truncation does not imply a lack of fds. */
	if (fds.n > 1)
		return IVS_SOCKET_E_FDS;
	if (fds.truncated)
		return IVS_SOCKET_E_TRUNCATED;
	*got = (size_t)n;
	return 0;
}

int ivs_socket_recv_message(int sock, struct ivs_v0_decoder *dec, struct ivs_v0_message *out,
			    struct ivs_disposal *disposal)
{
	uint8_t buf[IVS_V0_LEN];
	int result;

	for (;;) {
		const uint8_t *in = buf;
		size_t got;
		int fd;

		result = ivs_socket_recv_bytes(sock, buf, IVS_V0_LEN - dec->have, &got, &fd,
					       disposal);
		if (result)
			return result;
		result = ivs_v0_feed(dec, &in, &got, &fd, out);
		ivs_dispose(disposal, &fd); /* needed only if the decoder has not taken it */
		if (result == IVS_V0_E_GARBAGE)
			return IVS_SOCKET_E_GARBAGE;
		if (result != IVS_V0_E_MORE)
			return result;
	}
}
