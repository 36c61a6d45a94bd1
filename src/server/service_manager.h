/* SPDX-License-Identifier: BSD-3-Clause */
/* Storing the fds of clients with the service manager, and reporting the server's status to it. */
#ifndef IVS_SERVER_SERVICE_MANAGER_H
#define IVS_SERVER_SERVICE_MANAGER_H

#include "server/private.h"

/**
 * ivs_server_store_clients() - store the fds of new clients, so that they survive a crash
 *
 * A client is announced only after it has been stored. But if the service manager does not read for
 * so long that waiting would do more harm than losing the client in a crash, the server announces
 * the client anyway.
 */
void ivs_server_store_clients(struct ivs_server *server);

/**
 * ivs_server_update_store() - send the service manager what it has not accepted yet, and ask it to
 * drop the fds of clients that have departed
 */
void ivs_server_update_store(struct ivs_server *server);

/** ivs_server_store_again() - retry sending what the service manager has not accepted yet */
void ivs_server_store_again(struct ivs_loop_timer *timer);

/** ivs_server_notify_manager() - report that the server is alive, and its status; restart @timer */
void ivs_server_notify_manager(struct ivs_loop_timer *timer);

#endif
