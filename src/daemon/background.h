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
 * @fd:   locked, and open for reading only, so that an attacker who takes over the process
 *        cannot change the number; -1: none
 * @write_fd: open for writing until the process id has been written; then -1
 * @ours: this process created the file or wrote to it, and removes the file at exit
 * @path: must stay valid for as long as this structure
 */
struct ivs_pidfile {
	int fd;
	int write_fd;
	bool ours;
	const char *path;
};

enum ivs_pidfile_error {
	IVS_PIDFILE_E_BUSY = 1, /* a running process holds the lock on the file */
	IVS_PIDFILE_E_FOREIGN,	/* the file is not a pidfile, or others can write to it */
};

/**
 * ivs_pidfile_open() - lock @path, without writing to it
 *
 * A file is refused if it holds anything but a number, if its owner is neither root nor the user of
 * this process, or if all users can write to it.
 *
 * Return: 0, IVS_PIDFILE_E_*, -errno.
 */
IVS_MUST_USE int ivs_pidfile_open(struct ivs_pidfile *file, const char *path,
				  struct ivs_error *err);

/** ivs_pidfile_adopt() - take over @fd, which was locked and written to before execve(2) */
void ivs_pidfile_adopt(struct ivs_pidfile *file, int fd, const char *path);

/** ivs_pidfile_write() - write the id of the calling process. Return: 0 or -errno. */
IVS_MUST_USE int ivs_pidfile_write(struct ivs_pidfile *file, struct ivs_error *err);

/** ivs_pidfile_close() - unlock the file, and remove it if it is ours and was not replaced */
void ivs_pidfile_close(struct ivs_pidfile *file);

/**
 * struct ivs_background - fds of a process that is becoming a daemon; in any other process they are
 * -1
 * @ready_fd: a pipe to the parent, which waits for one byte from it
 * @null_fd:  /dev/null, opened before the sandbox forbids it
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
	IVS_BACKGROUND_E_CHILD = 1, /* the child exited before it was ready */
};

/**
 * ivs_background_fork() - continue in a child process with its own session
 * @daemon: set in the child, to be passed to ivs_background_ready()
 * @parent: set to true in the parent, where the call returns once the child is ready or has exited
 *
 * The child keeps the working directory, so that relative paths keep their meaning.
 *
 * Return: 0, IVS_BACKGROUND_E_CHILD (in the parent), -errno.
 */
IVS_MUST_USE int ivs_background_fork(struct ivs_background *daemon, bool *parent,
				     struct ivs_error *err);

/**
 * ivs_background_ready() - notify the parent, so that it exits, and detach from the terminal
 *
 * Return: 0 or -errno.
 */
IVS_MUST_USE int ivs_background_ready(struct ivs_background *daemon, struct ivs_error *err);

#endif
