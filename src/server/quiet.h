/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which clients are quiet, and so are never sent a leave (roster.h).
 *
 * A client that has bound its socket to an address before connecting is not quiet: libivshmem does
 * that, and uses the leaves. QEMU binds no address. Any other client without an address is taken
 * for a QEMU, too: a client that misses leaves rings peers that are gone, which is harmless, but a
 * QEMU that is sent a leave can crash, with its VM. The exception is ivshmem-client, an example
 * program from QEMU's source, which shows leaves: it is known by the name of its executable, which
 * the server can read only for processes of its own user.
 */
#ifndef IVS_SERVER_QUIET_H
#define IVS_SERVER_QUIET_H

#include <stdbool.h>
#include <sys/socket.h>

#include "base/syscalls.h"

extern const struct ivs_syscall ivs_quiet_syscalls[];

/**
 * ivs_quiet_is() - whether a client is quiet
 * @bound:   the client's socket is bound to an address
 * @self_fd: /proc/self, or -1
 * @cred:    credentials of the client's process
 */
bool ivs_quiet_is(bool bound, int self_fd, const struct ucred *cred);

#endif
