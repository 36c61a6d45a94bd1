/* SPDX-License-Identifier: BSD-3-Clause */
/* Going into the background, and the file that says who is there. */
#ifndef IVS_DAEMON_BACKGROUND_H
#define IVS_DAEMON_BACKGROUND_H

#include <stdbool.h>

#include "base/syscalls.h"
#include "ivshmem/api.h"

extern const struct ivs_syscall ivs_background_syscalls[];

/**
 * struct ivs_pidfile - a file with our process id, locked as long as we live
 * @fd:   -1: none
 * @ours: we made it or wrote into it, so that it is ours to remove
 * @path: must outlive it
 */
struct ivs_pidfile {
	int fd;
	bool ours;
	const char *path;
};

enum ivs_pidfile_error {
	IVS_PIDFILE_E_BUSY = 1, /* a living process holds it */
	IVS_PIDFILE_E_FOREIGN,	/* what is there is no pidfile */
};

/**
 * ivs_pidfile_open() - claim @path; nothing is written yet
 *
 * A file that is not empty and has anything but a number in it is not touched.
 *
 * Return: 0, IVS_PIDFILE_E_*, -errno.
 */
IVS_MUST_USE int ivs_pidfile_open(struct ivs_pidfile *file, const char *path,
				  struct ivs_error *err);

/** ivs_pidfile_adopt() - @fd is that of a former program of this process: open, locked, written */
void ivs_pidfile_adopt(struct ivs_pidfile *file, int fd, const char *path);

/** ivs_pidfile_write() - the id of the calling process. Return: 0 or -errno. */
IVS_MUST_USE int ivs_pidfile_write(struct ivs_pidfile *file, struct ivs_error *err);

/** ivs_pidfile_close() - unlock it; remove it if it is ours and still there */
void ivs_pidfile_close(struct ivs_pidfile *file);

/**
 * struct ivs_background - a process on its way into the background; each fd is -1 if there is none
 * @ready_fd: by which its parent is told
 * @null_fd: /dev/null, opened while it can be
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

/** ivs_background_ready() - let the parent end, and let go of its terminal. Return: 0 or -errno. */
IVS_MUST_USE int ivs_background_ready(struct ivs_background *daemon, struct ivs_error *err);

#endif
