/* SPDX-License-Identifier: BSD-3-Clause */
/* Eventfds that strangers hold, too: written and read without ever waiting. */
#ifndef IVS_BASE_EVENTFD_H
#define IVS_BASE_EVENTFD_H

#include <stdbool.h>

#include "base/syscalls.h"
#include "ivshmem/api.h"

extern const struct ivs_syscall ivs_eventfd_syscalls[];

/**
 * ivs_eventfd_is() - whether @fd is an eventfd
 *
 * Of what strangers hand over: writing to a pipe could kill us, to a file would change it, to a
 * socket could wait. Where there is no /proc to ask, they are believed.
 */
IVS_MUST_USE bool ivs_eventfd_is(int fd);

/**
 * ivs_eventfd_signal() - add 1; a full counter is left as it is
 *
 * Return: 0 or -errno; -EINTR: who has it, too, made the call wait until a signal came (daemon/stall.h).
 */
IVS_MUST_USE int ivs_eventfd_signal(int fd);

/** ivs_eventfd_take() - make it 0. Return: 1 if it was not, 0, -errno. */
IVS_MUST_USE int ivs_eventfd_take(int fd);

#endif
