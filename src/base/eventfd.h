/* SPDX-License-Identifier: BSD-3-Clause */
/* Non-blocking access to eventfds that are shared with untrusted processes. */
#ifndef IVS_BASE_EVENTFD_H
#define IVS_BASE_EVENTFD_H

#include <stdbool.h>

#include "base/syscalls.h"
#include "ivshmem/api.h"

extern const struct ivs_syscall ivs_eventfd_syscalls[];

/**
 * ivs_eventfd_is() - whether @fd is an eventfd
 *
 * Check fds from untrusted processes: writing to a pipe could raise SIGPIPE, writing to a file
 * would modify it, and writing to a socket could block. The result is true if /proc is not
 * available.
 */
IVS_MUST_USE bool ivs_eventfd_is(int fd);

/**
 * ivs_eventfd_signal() - add 1 to the counter, unless it is full
 *
 * Return: 0 or -errno; -EINTR: another process made the call block, and a signal interrupted it
 * (daemon/stall.h).
 */
IVS_MUST_USE int ivs_eventfd_signal(int fd);

/** ivs_eventfd_take() - reset the counter. Return: 1, 0 (it was already 0), -errno. */
IVS_MUST_USE int ivs_eventfd_take(int fd);

#endif
