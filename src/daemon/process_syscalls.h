/* SPDX-License-Identifier: BSD-3-Clause */
/* System calls that no list beside our own code names; input to the sandbox (daemon/sandbox.h). */
#ifndef IVS_DAEMON_PROCESS_SYSCALLS_H
#define IVS_DAEMON_PROCESS_SYSCALLS_H

#include "base/syscalls.h"

/* The C library's own: memory, the time, and the end of a process. */
extern const struct ivs_syscall ivs_libc_syscalls[];

/* Starting this program, from fork(2) and execve(2) on, under a filter that is already in force. */
extern const struct ivs_syscall ivs_start_syscalls[];

#endif
