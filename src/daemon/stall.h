/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A guard for a loop that must not wait for strangers. Some system calls can be made to wait by who
 * handed over the fd: write(2) to an eventfd whose O_NONBLOCK was switched off and whose counter was
 * filled at just that moment, close(2) of a socket that lingers, open(2) of a file that is leased. A
 * timer's signal ends them with EINTR, within two periods. A loop that is idle costs nothing, one
 * that is busy five signals a second.
 *
 * One in a process; for the thread that made it, which must be the only one that takes SIGALRM.
 */
#ifndef IVS_DAEMON_STALL_H
#define IVS_DAEMON_STALL_H

#include <stdbool.h>

#include "base/syscalls.h"

extern const struct ivs_syscall ivs_stall_syscalls[];

#define IVS_STALL_PERIOD_MS 200

/** ivs_stall_open() - have the signal handled */
void ivs_stall_open(void);

/** ivs_stall_busy() - something is about to be done */
void ivs_stall_busy(void);

/**
 * ivs_stall_hurry() - what is done until it is switched off again ends within some ms, if a signal ends it
 *
 * Before ivs_stall_open() nothing happens.
 */
void ivs_stall_hurry(bool on);

/** ivs_stall_idle() - about to wait for events, as long as it takes */
void ivs_stall_idle(void);

#endif
