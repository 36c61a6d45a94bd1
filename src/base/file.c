/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/file.h"

#include <sys/file.h>
#include <time.h>

#include "base/clock.h"

#define LOCK_TRIES 50
#define LOCK_PAUSE_MS 100

int ivs_file_lock(int fd, int kind)
{
	const struct timespec pause = {.tv_nsec = LOCK_PAUSE_MS * IVS_NS_PER_MS};

	for (unsigned int i = 0; i < LOCK_TRIES; i++) {
		if (!flock(fd, kind | LOCK_NB))
			return 0;
		if (errno != EWOULDBLOCK)
			return -errno;
		nanosleep(&pause, NULL);
	}
	return IVS_FILE_E_BUSY;
}

const char *ivs_file_kind(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG:
		return "a regular file";
	case S_IFDIR:
		return "a directory";
	case S_IFLNK:
		return "a symbolic link";
	case S_IFCHR:
		return "a character device";
	case S_IFBLK:
		return "a block device";
	case S_IFIFO:
		return "a named pipe";
	default:
		return "a socket";
	}
}
