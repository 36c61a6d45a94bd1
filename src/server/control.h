/* SPDX-License-Identifier: BSD-3-Clause */
/* The control socket: who may open it may ask how the server is. See ivshmem-control(7). */
#ifndef IVS_SERVER_CONTROL_H
#define IVS_SERVER_CONTROL_H

#include "server/state.h"
#include "util/syscalls.h"

extern const struct ivs_syscall ivs_control_syscalls[];

/**
 * ivs_control_open() - listen
 *
 * Return: 0, IVS_LISTENER_E_*, -errno.
 */
IVS_MUST_USE int ivs_control_open(struct ivs_server *server,
				  const struct ivs_listener_options *opts, struct ivs_error *err);

/** ivs_control_listener() - the fd at which it listens; -1 without one */
int ivs_control_listener(const struct ivs_server *server);

/** ivs_control_close() - also of a server without a control socket */
void ivs_control_close(struct ivs_server *server);

/** ivs_control_note() - an epoll event: TAG_CONTROL or one above; for ivs_control_serve() */
void ivs_control_note(struct ivs_server *server, uint32_t tag, uint32_t events);

/** ivs_control_accept_again() - after TIMER_CONTROL: likewise */
void ivs_control_accept_again(struct ivs_server *server);

/**
 * ivs_control_serve() - what was noted; the last thing in a round, so that clients come first
 *
 * At most one request of each connection: who sends many at once waits for others in between.
 */
void ivs_control_serve(struct ivs_server *server);

#endif
