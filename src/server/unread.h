/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Clients that do not read their greeting. They do no harm, but their users wait without knowing
 * why: QEMU, for example, never reads if its chardev has reconnect=.
 */
#ifndef IVS_SERVER_UNREAD_H
#define IVS_SERVER_UNREAD_H

#include "server/private.h"

/** ivs_server_await_reading() - warn if this new client has not read its greeting after 5 s */
void ivs_server_await_reading(struct ivs_server *server, struct ivs_client *client);

/** ivs_server_check_reading() - handle the timer that ivs_server_await_reading() sets */
void ivs_server_check_reading(struct ivs_loop_timer *timer);

#endif
