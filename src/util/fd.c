/* SPDX-License-Identifier: BSD-3-Clause */
#include "util/fd.h"

#include <fcntl.h>

int ivs_fd_fill_standard(void)
{
	int fd;

	/* Not close-on-exec: these are meant to be inherited. */
	do {
		fd = open("/dev/null", O_RDWR);
	} while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd < 0)
		return -errno;
	ivs_fd_close(&fd);
	return 0;
}
