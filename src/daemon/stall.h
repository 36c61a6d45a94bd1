/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A guard for an event loop that must not block on fds of untrusted processes. The process that
 * sent an fd can make some system calls block: write(2) to an eventfd, by clearing O_NONBLOCK and
 * filling the counter just before the call; close(2) of a socket that lingers; open(2) of a file
 * with a lease. A timer's signal interrupts such calls with EINTR, within two periods. The guard
 * costs an idle loop nothing, and a busy loop five signals per second.
 *
 * A process has one guard. It protects the thread that calls ivs_stall_open(), which must be the
 * only thread that does not block SIGALRM.
 */
#ifndef IVS_DAEMON_STALL_H
#define IVS_DAEMON_STALL_H

#include <stdbool.h>

#include "base/syscalls.h"

extern const struct ivs_syscall ivs_stall_syscalls[];

#define IVS_STALL_PERIOD_MS 200

/** ivs_stall_open() - install the signal handler */
void ivs_stall_open(void);

/** ivs_stall_busy() - activate the guard; call it before handling events */
void ivs_stall_busy(void);

/**
 * ivs_stall_hurry() - while @on, interrupt blocking calls after about 1 ms
 *
 * No-op before ivs_stall_open().
 */
void ivs_stall_hurry(bool on);

/** ivs_stall_idle() - deactivate the guard; call it before waiting for events */
void ivs_stall_idle(void);

#endif
