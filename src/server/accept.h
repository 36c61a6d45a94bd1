/* SPDX-License-Identifier: BSD-3-Clause */
/* Accepting connections or refusing them, even when no file descriptor is free. */
#ifndef IVS_SERVER_ACCEPT_H
#define IVS_SERVER_ACCEPT_H

#include "base/syscalls.h"
#include "server/private.h"

extern const struct ivs_syscall ivs_accept_syscalls[];

/** ivs_server_open_spare() - reserve an fd that is released on EMFILE. Return: 0 or -errno. */
IVS_MUST_USE int ivs_server_open_spare(struct ivs_server *server);

/** ivs_server_accept() - accept up to 64 waiting connections */
void ivs_server_accept(struct ivs_server *server);

/** ivs_server_watch_listener() - start or resume accepting. Return: 0 or -errno. */
IVS_MUST_USE int ivs_server_watch_listener(struct ivs_server *server);

/** ivs_server_accept_again() - resume accepting after a pause; if that fails, retry later */
void ivs_server_accept_again(struct ivs_loop_timer *timer);

#endif
