/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/fd.h"

#include <fcntl.h>

IVS_SYSCALLS(ivs_fd_syscalls, {"close"});

int ivs_fd_fill_standard(void)
{
	int fd = STDIN_FILENO;

	/*
	 * Usually all of these fds are open. In that case avoid open(2), which the sandbox may not
	 * allow.
	 */
	while (fd <= STDERR_FILENO && fcntl(fd, F_GETFD) >= 0)
		fd++;
	if (fd > STDERR_FILENO)
		return 0;
	/* These fds are not close-on-exec, so child processes inherit them. */
	do {
		fd = open("/dev/null", O_RDWR);
	} while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd < 0)
		return -errno;
	ivs_fd_close(&fd);
	return 0;
}
