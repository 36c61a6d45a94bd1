/* SPDX-License-Identifier: BSD-3-Clause */
/* The service manager: what it keeps of clients, and what it hears of us. */
#ifndef IVS_SERVER_MANAGER_H
#define IVS_SERVER_MANAGER_H

#include "server/state.h"

/**
 * ivs_server_is_kept() - whether client @id may be told anything
 *
 * It may when it would be there after a crash; or when the service manager cannot be told of it, or
 * has not read for so long that waiting does more harm.
 */
bool ivs_server_is_kept(struct ivs_server *server, unsigned int id);

/** ivs_server_forget() - @client, who is none any more: close and free it */
void ivs_server_forget(struct ivs_server *server, struct ivs_client *client);

/** ivs_server_keep_again() - after TIMER_KEEP: what the manager had no room for */
void ivs_server_keep_again(struct ivs_server *server);

/** ivs_server_report() - after TIMER_REPORT, and at the start */
void ivs_server_report(struct ivs_server *server);

#endif
