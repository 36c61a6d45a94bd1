/* SPDX-License-Identifier: BSD-3-Clause */
/* System calls that no list beside our own code names; input to the sandbox (daemon/sandbox.h). */
#ifndef IVS_DAEMON_PROCESS_SYSCALLS_H
#define IVS_DAEMON_PROCESS_SYSCALLS_H

#include "base/syscalls.h"

/* Those of the C library itself: memory, time, the end of the process. */
extern const struct ivs_syscall ivs_libc_syscalls[];

/* Starting this program with fork(2) and execve(2) under a filter that is already loaded. */
extern const struct ivs_syscall ivs_start_syscalls[];

#endif
