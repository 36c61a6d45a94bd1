/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Helper processes that close fds which untrusted processes can watch.
 *
 * The last close(2) of a file that can be polled takes the mutex of every epoll instance that
 * watches the file. A process can hold the mutex of its epoll instance for as long as it likes:
 * epoll_wait(2) writes events to memory under the mutex, and a page fault on that memory lasts as
 * long as the userfaultfd(2) or FUSE file system behind it wants. No signal interrupts the wait for
 * the mutex, not even SIGKILL. So a program that has received such an fd, or passed one on, must
 * not be the last to close it.
 *
 * The program passes these fds to a pool of helper processes instead. The pool keeps an fd for
 * IVS_CLOSER_HOLD_MS and then closes it, so that other processes that close their copies at the
 * same time are not the last to do so either. If close(2) blocks a helper process, another one
 * takes its place, until @workers_max of them are blocked.
 *
 * Each fd has an owner: the party that can make close(2) of the fd block. An owner blocks at most
 * IVS_CLOSER_BLOCKED_MAX helper processes. While an owner blocks that many, the pool neither closes
 * the other fds of this owner that it holds nor takes more of them. So one owner does not affect
 * the fds of another. Only a full pool lets one owner block more helper processes.
 *
 * A process has one pool or several. All functions except ivs_closer_use() apply to the pool in
 * use. The functions are not thread-safe.
 */
#ifndef IVS_DAEMON_CLOSER_H
#define IVS_DAEMON_CLOSER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/syscalls.h"
#include "daemon/closer_helper.h"
#include "ivshmem/api.h"

extern const struct ivs_syscall ivs_closer_syscalls[]; /* calls that the program makes */

#define IVS_CLOSER_COLLECTED_MAX 64
#define IVS_CLOSER_WAIT_MS (3 * IVS_CLOSER_HOLD_MIN_MS)
#define IVS_CLOSER_OWNERS_MAX 64 /* more owners than can block workers at the same time */

/**
 * struct ivs_closer - a pool
 * @workers_max: at most IVS_CLOSER_WORKERS_MAX
 * @fd:          the socket over which fds are passed to the pool; -1: not open
 * @owner:       owner of the fds that are passed next
 * @collects:    fds are being collected for one message
 * @message_max: maximum number of fds in a message
 * @insists:     the program is ending: pass on the fds of all owners
 * @kept:        fds that are being collected, or that the helper processes have not taken
 * @blocking:    owners that block as many workers as they are allowed to, until @until_ns
 */
struct ivs_closer {
	unsigned int workers_max;
	int fd;
	uint64_t owner;
	unsigned int message_max;
	bool collects;
	bool insists;
	struct ivs_closer_kept {
		uint64_t owner;
		int fd;
	} * kept;
	unsigned int kept_n;
	unsigned int kept_room;
	struct ivs_closer_blocking {
		uint64_t owner;
		int64_t until_ns;
	} blocking[IVS_CLOSER_OWNERS_MAX];
};

#define IVS_CLOSER_INIT(max, first_owner)                                                          \
	{                                                                                          \
		.workers_max = (max), .fd = -1, .owner = (first_owner)                             \
	}

/**
 * ivs_closer_use() - use the pool @other from now on; NULL: use the program's pool
 *
 * Return: the pool that was in use.
 */
struct ivs_closer *ivs_closer_use(struct ivs_closer *other);

/** ivs_closer_set_owner() - set the owner of the fds that are passed to the pool from now on */
void ivs_closer_set_owner(uint64_t owner);

/**
 * ivs_closer_open() - start the helper processes
 * @confine: called in the process that forks the others, to drop its privileges; returns 0 or
 *           -errno
 * @context: for @confine
 *
 * Call it while the process has one thread, and before it is confined. The helper processes are not
 * children of the caller. They exit once no process has ivs_closer_fd() open any more and they have
 * closed all fds that they hold.
 *
 * Return: 0 or -errno.
 */
IVS_MUST_USE int ivs_closer_open(int (*confine)(const void *context), const void *context,
				 struct ivs_error *err);

/**
 * ivs_closer_adopt() - use the pool of the program that previously ran in this process; @fd: the
 * pool's socket
 */
void ivs_closer_adopt(int fd);

/** ivs_closer_fd() - the socket of the pool, for ivs_closer_adopt(); -1: there is no pool */
int ivs_closer_fd(void);

/** ivs_closer_close() - pass the kept fds to the pool, and stop using it */
void ivs_closer_close(void);

enum ivs_closer_error {
	IVS_CLOSER_E_BLOCKED = 1, /* the owner blocks workers, or the queue to the holder is full */
	IVS_CLOSER_E_LATER,	  /* memory is low, or the user has too many fds in flight */
	IVS_CLOSER_E_ABSENT,	  /* there are no helper processes */
};

/**
 * ivs_closer_take() - have the pool close fds; negative fds are skipped
 * @fds: fds that were taken are set to -1
 *
 * Return: 0, IVS_CLOSER_E_*.
 */
IVS_MUST_USE int ivs_closer_take(int *fds, unsigned int fds_n);

/** ivs_closer_accepts() - whether the pool takes fds of @owner now */
bool ivs_closer_accepts(uint64_t owner);

/** ivs_closer_keep() - keep an fd until the pool takes it; set @fd to -1 */
void ivs_closer_keep(int *fd);

/**
 * ivs_closer_collect() - begin to collect fds, or pass on the collected ones
 *
 * Collected fds share messages. Otherwise a large number of fds to close would fill the pool's
 * socket with messages, although no helper process is blocked. At most IVS_CLOSER_COLLECTED_MAX fds
 * are collected.
 */
void ivs_closer_collect(bool collects);

/** ivs_closer_kept_n() - number of kept fds */
unsigned int ivs_closer_kept_n(void);

/** ivs_closer_kept_of() - number of kept fds of an owner */
unsigned int ivs_closer_kept_of(uint64_t owner);

/** ivs_closer_take_kept() - pass kept fds to the pool. Return: 0 (none is left), IVS_CLOSER_E_*. */
int ivs_closer_take_kept(void);

/**
 * ivs_closer_wait() - at the end of a program, wait a little after ivs_closer_take() has failed
 *
 * From now on, the pool also takes fds of owners that block helper processes.
 *
 * Return: false if IVS_CLOSER_WAIT_MS have passed since the first call: do not retry.
 */
bool ivs_closer_wait(void);

#endif
