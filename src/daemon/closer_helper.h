/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The helper processes of closer.h. One of them, the holder, receives fds and holds them for a
 * while. To close them, it starts other processes, the workers. A worker closes a few fds of one
 * owner and ends; it may block. The holder never blocks: it does not close an fd before a worker
 * has a copy.
 */
#ifndef IVS_DAEMON_CLOSER_HELPER_H
#define IVS_DAEMON_CLOSER_HELPER_H

#include <stdint.h>

#include "base/syscalls.h"
#include "ivshmem/api.h"

extern const struct ivs_syscall ivs_closer_helper_syscalls[];

#define IVS_CLOSER_HOLD_MS 5000
#define IVS_CLOSER_HOLD_MIN_MS 1000  /* hold time if the holder has many fds */
#define IVS_CLOSER_HOLD_SHORT_MS 100 /* if it has very many, and no worker is blocked */
#define IVS_CLOSER_BLOCKED_MAX 2     /* workers that the fds of one owner can block */
#define IVS_CLOSER_WORKERS_MAX 64    /* so 32 owners together can block all workers */

/* Combined with an owner: the pool takes the fd even if it takes no others of that owner. */
#define IVS_CLOSER_ALWAYS (UINT64_C(1) << 63)
#define IVS_CLOSER_ANYBODY (IVS_CLOSER_ALWAYS | UINT32_MAX) /* the owner is unknown, or trusted */

/* Combined with an owner that the holder reports: the owner has more than its share of held fds. */
#define IVS_CLOSER_BRIEF (UINT64_C(1) << 62)

/**
 * struct ivs_closer_start - how to start a pool
 * @sock: connects the holder and the program. Each message to the holder is an owner (uint64_t)
 *               with fds of this owner. A message from the holder is also an owner: one that has
 *               blocked as many workers as it may, sent again each time its fds have to be held for
 *               longer; IVS_CLOSER_ANYBODY if all workers are blocked; or an owner combined with
 *               IVS_CLOSER_BRIEF when the holder has more than the owner's share of fds
 * @workers_max: at most IVS_CLOSER_WORKERS_MAX
 * @confine:     drops the privileges of the calling process; returns 0 or -errno
 * @context:     for @confine
 */
struct ivs_closer_start {
	int sock;
	unsigned int workers_max;
	int (*confine)(const void *context);
	const void *context;
};

/**
 * ivs_closer_start() - start the holder
 *
 * Call it in a child process whose parent waits for it. The holder is a grandchild of that parent,
 * so the parent need not wait for the holder.
 *
 * Return: 0 or an errno.
 */
int ivs_closer_start(const struct ivs_closer_start *start);

#endif
