/* SPDX-License-Identifier: BSD-3-Clause */
/* Telling clients what the roster says that they do not know. */
#ifndef IVS_SERVER_ANNOUNCE_H
#define IVS_SERVER_ANNOUNCE_H

#include "server/private.h"

/** ivs_server_drop() - client @id leaves */
void ivs_server_drop(struct ivs_server *server, unsigned int id, enum ivs_drop why);

/** ivs_server_is_waiting() - whether the kernel refuses to take messages; then all wait for the timer */
bool ivs_server_is_waiting(const struct ivs_server *server);

/** ivs_server_announce_to() - client @id, until it knows everything, or its socket is full, or it is gone */
void ivs_server_announce_to(struct ivs_server *server, unsigned int id);

/** ivs_server_handle_client() - events of a client */
void ivs_server_handle_client(struct ivs_loop_source *source, uint32_t events);

/** ivs_server_announce() - everybody, as long as the roster changes */
void ivs_server_announce(struct ivs_server *server);

/** ivs_server_announce_again() - announce what the kernel refused before */
void ivs_server_announce_again(struct ivs_loop_timer *timer);

#endif
