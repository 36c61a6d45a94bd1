/* SPDX-License-Identifier: BSD-3-Clause */
/* Sending each client the joins and leaves that it has not been sent. */
#ifndef IVS_SERVER_ANNOUNCE_H
#define IVS_SERVER_ANNOUNCE_H

#include "server/private.h"

/**
 * ivs_server_is_waiting() - whether the kernel refuses messages and all clients have to wait
 */
bool ivs_server_is_waiting(const struct ivs_server *server);

/**
 * ivs_server_announce_to() - send one client the messages that are due, until its socket is full
 *
 * If nothing can be sent to the client any more, sets its @send_result. Does nothing while the
 * kernel refuses messages, or before the service manager has stored the client's fds.
 */
void ivs_server_announce_to(struct ivs_server *server, struct ivs_client *client);

/** ivs_server_announce() - send all clients the messages that are due, if there is room */
void ivs_server_announce(struct ivs_server *server);

/** ivs_server_announce_again() - retry the refused messages at the end of this round */
void ivs_server_announce_again(struct ivs_loop_timer *timer);

#endif
