/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Helper processes that close fds which untrusted processes can watch.
 *
 * The last close(2) of a file that can be polled takes the mutex of every epoll that watches the
 * file. A process holds the mutex of its epoll for as long as it likes: epoll_wait(2) writes events
 * to memory under the mutex, and a page fault on that memory lasts as long as the userfaultfd(2) or
 * FUSE file system behind it wants. No signal interrupts the wait for the mutex, not even SIGKILL.
 * So a program that has received such an fd, or passed one on, must not be the last to close it.
 *
 * The program passes these fds to a pool of helper processes instead. A helper process keeps an fd
 * for IVS_CLOSER_HOLD_MS and then closes it, so that other processes that close their copies at the
 * same time are not the last either. If its close(2) blocks, the other helper processes take over.
 * If all are blocked, fds stay open.
 *
 * A process has one pool, or several: a client that blocks one does not affect the others. All
 * functions but ivs_closer_use() apply to the pool in use. Not thread-safe.
 */
#ifndef IVS_DAEMON_CLOSER_H
#define IVS_DAEMON_CLOSER_H

#include <stdbool.h>

#include "base/syscalls.h"
#include "ivshmem/api.h"

extern const struct ivs_syscall ivs_closer_syscalls[];	      /* of the program */
extern const struct ivs_syscall ivs_closer_helper_syscalls[]; /* of the helper processes */

#define IVS_CLOSER_HELPERS 4
#define IVS_CLOSER_HOLD_MS 5000
#define IVS_CLOSER_HOLD_MIN_MS 1000 /* if the helper processes hold as many as they can */
#define IVS_CLOSER_COLLECTED_MAX 64
#define IVS_CLOSER_WAIT_MS 1000

/**
 * struct ivs_closer - a pool
 * @helpers_n: number of helper processes
 * @fd:        to pass fds to them; -1: not open
 * @collects:  fds are being collected for one message
 * @kept:      fds that are being collected, or that the helper processes have not taken, because
 *             all were blocked
 */
struct ivs_closer {
	unsigned int helpers_n;
	int fd;
	bool collects;
	int *kept;
	unsigned int kept_n;
	unsigned int kept_room;
};

#define IVS_CLOSER_INIT                                                                            \
	{                                                                                          \
		.helpers_n = IVS_CLOSER_HELPERS, .fd = -1                                          \
	}

/**
 * ivs_closer_use() - use @other from now on; NULL: the pool of the program
 *
 * Return: the pool that was in use.
 */
struct ivs_closer *ivs_closer_use(struct ivs_closer *other);

/**
 * ivs_closer_open() - start the helper processes
 * @confine: called in each, to drop its privileges; returns 0, or another value to end it
 * @context: for @confine
 *
 * Call it while the process has one thread, and before it is confined. The helper processes are not
 * children of the caller. They exit when no process has ivs_closer_fd() any more and they have
 * closed all that they hold.
 *
 * Return: 0 or -errno.
 */
IVS_MUST_USE int ivs_closer_open(int (*confine)(const void *context), const void *context,
				 struct ivs_error *err);

/** ivs_closer_adopt() - use the pool of a program that ran in this process before; @fd: its fd */
void ivs_closer_adopt(int fd);

/** ivs_closer_fd() - the socket of the pool, for ivs_closer_adopt(); -1: there is no pool */
int ivs_closer_fd(void);

/** ivs_closer_close() - pass the kept fds to the pool, and stop using it */
void ivs_closer_close(void);

enum ivs_closer_error {
	IVS_CLOSER_E_BLOCKED = 1, /* all helper processes are blocked, or busy for a moment */
	IVS_CLOSER_E_LATER,	  /* memory is short, or the user has too many fds in flight */
	IVS_CLOSER_E_ABSENT,	  /* there are no helper processes */
};

/**
 * ivs_closer_take() - have fds closed; those that are negative are skipped
 * @fds: those that were taken are set to -1
 *
 * Return: 0, IVS_CLOSER_E_*.
 */
IVS_MUST_USE int ivs_closer_take(int *fds, unsigned int fds_n);

/** ivs_closer_keep() - keep an fd that the pool has not taken until it does; set @fd to -1 */
void ivs_closer_keep(int *fd);

/**
 * ivs_closer_collect() - begin to collect fds, or pass on the collected ones
 *
 * Collected fds share messages. Otherwise very many fds to close would fill the socket of the pool
 * with messages, although no helper process is blocked. At most IVS_CLOSER_COLLECTED_MAX fds are
 * collected.
 */
void ivs_closer_collect(bool collects);

/** ivs_closer_kept_n() - number of kept fds */
unsigned int ivs_closer_kept_n(void);

/** ivs_closer_take_kept() - have kept fds closed. Return: 0 (none is left), IVS_CLOSER_E_*. */
int ivs_closer_take_kept(void);

/**
 * ivs_closer_wait() - at the end of a program: wait a little after ivs_closer_take() has failed
 *
 * Return: false if IVS_CLOSER_WAIT_MS have passed since the first call: do not retry.
 */
bool ivs_closer_wait(void);

#endif
