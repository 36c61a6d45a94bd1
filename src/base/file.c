/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/file.h"

#include <signal.h>
#include <sys/file.h>
#include <time.h>

#include "base/clock.h"

#define LOCK_TRIES 50
#define LOCK_PAUSE_MS 100

static bool signal_is_pending(void)
{
	sigset_t set;

	return !sigpending(&set) &&
	       (sigismember(&set, SIGINT) == 1 || sigismember(&set, SIGTERM) == 1 ||
		sigismember(&set, SIGHUP) == 1 || sigismember(&set, SIGQUIT) == 1);
}

int ivs_file_lock(int fd, int kind, bool interruptible)
{
	const struct timespec pause = {.tv_nsec = LOCK_PAUSE_MS * IVS_NS_PER_MS};

	for (unsigned int i = 0; i < LOCK_TRIES; i++) {
		if (!flock(fd, kind | LOCK_NB))
			return 0;
		if (errno != EWOULDBLOCK)
			return -errno;
		if (interruptible && signal_is_pending())
			return -EINTR;
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
