/* SPDX-License-Identifier: BSD-3-Clause */
/* Daemonizing, and the pidfile. */
#ifndef IVS_DAEMON_BACKGROUND_H
#define IVS_DAEMON_BACKGROUND_H

#include <stdbool.h>

#include "base/syscalls.h"
#include "ivshmem/api.h"

extern const struct ivs_syscall ivs_background_syscalls[];

/**
 * struct ivs_pidfile - a file with our process id, locked while the process runs
 * @fd:   -1: none
 * @ours: we created or wrote it, and remove it at the end
 * @path: must outlive it
 */
struct ivs_pidfile {
	int fd;
	bool ours;
	const char *path;
};

enum ivs_pidfile_error {
	IVS_PIDFILE_E_BUSY = 1, /* a running process holds its lock */
	IVS_PIDFILE_E_FOREIGN,	/* the file is not a pidfile */
};

/**
 * ivs_pidfile_open() - lock @path, without writing to it
 *
 * A file that holds anything but a number is refused.
 *
 * Return: 0, IVS_PIDFILE_E_*, -errno.
 */
IVS_MUST_USE int ivs_pidfile_open(struct ivs_pidfile *file, const char *path,
				  struct ivs_error *err);

/** ivs_pidfile_adopt() - take over @fd, locked and written by a former program of this process */
void ivs_pidfile_adopt(struct ivs_pidfile *file, int fd, const char *path);

/** ivs_pidfile_write() - write the id of the calling process. Return: 0 or -errno. */
IVS_MUST_USE int ivs_pidfile_write(struct ivs_pidfile *file, struct ivs_error *err);

/** ivs_pidfile_close() - unlock it, and remove it if it is ours and has not been replaced */
void ivs_pidfile_close(struct ivs_pidfile *file);

/**
 * struct ivs_background - a process that is to become a daemon; fds are -1 if it is not
 * @ready_fd: written to when it is ready; the parent waits for that
 * @null_fd:  /dev/null, opened before the process is confined
 */
struct ivs_background {
	int ready_fd;
	int null_fd;
};

#define IVS_BACKGROUND_INIT                                                                        \
	{                                                                                          \
		-1, -1                                                                             \
	}

enum ivs_background_error {
	IVS_BACKGROUND_E_CHILD = 1, /* the child ended before it was ready */
};

/**
 * ivs_background_fork() - continue in a child with a session of its own
 * @daemon: in the child: for ivs_background_ready()
 * @parent: whether this is the parent, which has waited until the child was ready
 *
 * The child keeps the working directory, so that relative paths keep their meaning.
 *
 * Return: 0, IVS_BACKGROUND_E_CHILD (in the parent), -errno.
 */
IVS_MUST_USE int ivs_background_fork(struct ivs_background *daemon, bool *parent,
				     struct ivs_error *err);

/**
 * ivs_background_ready() - let the parent end, and detach from the terminal.
 *
 * Return: 0 or -errno.
 */
IVS_MUST_USE int ivs_background_ready(struct ivs_background *daemon, struct ivs_error *err);

#endif
