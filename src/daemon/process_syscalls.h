/* SPDX-License-Identifier: BSD-3-Clause */
/* Lists for daemon/sandbox.h: system calls that none of our files makes directly. */
#ifndef IVS_DAEMON_PROCESS_SYSCALLS_H
#define IVS_DAEMON_PROCESS_SYSCALLS_H

#include "base/syscalls.h"

/* System calls of the C library itself: for memory, time and exit. */
extern const struct ivs_syscall ivs_libc_syscalls[];

/* System calls for starting this program with fork(2) and execve(2) under a filter. */
extern const struct ivs_syscall ivs_start_syscalls[];

#endif
