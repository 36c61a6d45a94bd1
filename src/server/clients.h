/* SPDX-License-Identifier: BSD-3-Clause */
/* Adding clients to the server, and dropping them. */
#ifndef IVS_SERVER_CLIENTS_H
#define IVS_SERVER_CLIENTS_H

#include "server/private.h"

/**
 * ivs_server_add() - add a client that is in the roster, and watch its socket
 * @client: departs if it cannot be added
 *
 * Return: 0 or -errno.
 */
IVS_MUST_USE int ivs_server_add(struct ivs_server *server, struct ivs_client *client);

/** ivs_server_reap() - drop clients to which sending failed. Return: whether there were any. */
bool ivs_server_reap(struct ivs_server *server);

#endif
