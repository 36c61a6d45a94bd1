/* SPDX-License-Identifier: BSD-3-Clause */
/* System calls that every server makes; input to the sandbox (daemon/sandbox.h). */
#ifndef IVS_SERVER_SYSCALLS_H
#define IVS_SERVER_SYSCALLS_H

#include "base/syscalls.h"

/** ivs_server_syscall_lists - lists of system calls, terminated by NULL */
extern const struct ivs_syscall *const ivs_server_syscall_lists[];

#endif
