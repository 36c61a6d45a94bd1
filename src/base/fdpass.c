/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/fdpass.h"

#include <errno.h>
#include <string.h>

IVS_SYSCALLS(ivs_fdpass_syscalls, {"sendmmsg"});

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
	/* sendmmsg() tells the reason only when not even the first message of a call has left. */
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
