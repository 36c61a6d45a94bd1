/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sending each client the joins and leaves that it has not been sent. Newcomers come first, slow
 * clients last (cost.h). The time that a round spends on this is limited.
 */
#ifndef IVS_SERVER_ANNOUNCE_H
#define IVS_SERVER_ANNOUNCE_H

#include "server/private.h"

/**
 * ivs_server_is_waiting() - whether the kernel refuses messages, so that all clients have to wait
 */
bool ivs_server_is_waiting(const struct ivs_server *server);

/**
 * ivs_server_announce_to() - send one client the messages that are due, until its socket is full
 *
 * If the client is slow, or this round has no time left for this, ivs_server_announce() sends them.
 * If nothing can be sent to the client any more, the function sets the client's @send_result. It
 * does nothing while the kernel refuses messages, or before the service manager has stored the
 * client's fds.
 */
void ivs_server_announce_to(struct ivs_server *server, struct ivs_client *client);

/**
 * ivs_server_announce() - send all clients the messages that are due, if there is room
 *
 * If this round has no time left for this, another round follows immediately.
 */
void ivs_server_announce(struct ivs_server *server);

/** ivs_server_announce_end() - send no more messages in this round */
void ivs_server_announce_end(struct ivs_server *server);

/** ivs_server_announce_again() - retry the refused messages at the end of this round */
void ivs_server_announce_again(struct ivs_loop_timer *timer);

/** ivs_server_announce_rest() - continue with messages for which a round had no time left */
void ivs_server_announce_rest(struct ivs_loop_timer *timer);

#endif
