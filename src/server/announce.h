/* SPDX-License-Identifier: BSD-3-Clause */
/* Sends each client the roster changes it has not seen. */
#ifndef IVS_SERVER_ANNOUNCE_H
#define IVS_SERVER_ANNOUNCE_H

#include "server/private.h"

/**
 * ivs_server_is_waiting() - whether the kernel refuses messages, so that all clients have to wait
 */
bool ivs_server_is_waiting(const struct ivs_server *server);

/**
 * ivs_server_announce_to() - send one client what it has not seen, until its socket is full
 *
 * Sets @send_result of a client that cannot be sent to any more. No-op while the kernel refuses
 * messages, and for a client that is not stored yet.
 */
void ivs_server_announce_to(struct ivs_server *server, struct ivs_client *client);

/** ivs_server_announce() - the same for all clients, as long as the roster changes */
void ivs_server_announce(struct ivs_server *server);

/** ivs_server_announce_again() - retry what the kernel refused, at the end of this round */
void ivs_server_announce_again(struct ivs_loop_timer *timer);

#endif
