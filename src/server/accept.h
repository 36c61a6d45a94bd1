/* SPDX-License-Identifier: BSD-3-Clause */
/* New connections: who is let in, who is refused, and what to do without file descriptors. */
#ifndef IVS_SERVER_ACCEPT_H
#define IVS_SERVER_ACCEPT_H

#include "base/syscalls.h"
#include "server/private.h"

extern const struct ivs_syscall ivs_accept_syscalls[];

/** ivs_server_open_spare() - the fd to give up in need. Return: 0 or -errno. */
IVS_MUST_USE int ivs_server_open_spare(struct ivs_server *server);

/** ivs_server_accept() - those who wait at the listener, up to a number */
void ivs_server_accept(struct ivs_server *server);

/** ivs_server_watch_listener() - start to accept. Return: 0 or -errno. */
IVS_MUST_USE int ivs_server_watch_listener(struct ivs_server *server);

/** ivs_server_accept_again() - after a pause: accept, or retry later */
void ivs_server_accept_again(struct ivs_loop_timer *timer);

#endif
