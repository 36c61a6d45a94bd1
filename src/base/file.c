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
