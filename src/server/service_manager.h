/* SPDX-License-Identifier: BSD-3-Clause */
/* The service manager: what it keeps of clients, and what it hears of us. */
#ifndef IVS_SERVER_SERVICE_MANAGER_H
#define IVS_SERVER_SERVICE_MANAGER_H

#include "server/private.h"

/**
 * ivs_server_store_client() - whether client @id may be told anything
 *
 * It may when it would be there after a crash; or when the service manager cannot be told of it, or
 * has not read for so long that waiting does more harm.
 */
bool ivs_server_store_client(struct ivs_server *server, unsigned int id);

/** ivs_server_forget_client() - @client, who is none any more: close and free it */
void ivs_server_forget_client(struct ivs_server *server, struct ivs_client *client);

/** ivs_server_store_again() - what the manager had no room for */
void ivs_server_store_again(struct ivs_loop_timer *timer);

/** ivs_server_notify_manager() - that we are alive, and how we are; sets @timer again */
void ivs_server_notify_manager(struct ivs_loop_timer *timer);

#endif
