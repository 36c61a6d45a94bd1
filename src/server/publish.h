/* SPDX-License-Identifier: BSD-3-Clause */
/* The roster in the region (--roster): when it is written, and what if it cannot be. */
#ifndef IVS_SERVER_PUBLISH_H
#define IVS_SERVER_PUBLISH_H

#include "server/private.h"

/**
 * ivs_server_open_roster_page() - publish those who are there already, before others are accepted
 * @entries_n: for how many; 0: nothing is published
 *
 * What stands in the way now always will.
 *
 * Return: 0, IVS_ROSTER_PAGE_WRITER_E_*, -errno.
 */
IVS_MUST_USE int ivs_server_open_roster_page(struct ivs_server *server, uint32_t entries_n,
					     struct ivs_error *err);

/** ivs_server_close_roster_page() - say that nobody keeps it any more (P-7) */
void ivs_server_close_roster_page(struct ivs_server *server);

/** ivs_server_list_client() - @id has been greeted: the others may know of it (P-6) */
void ivs_server_list_client(struct ivs_server *server, unsigned int id);

/** ivs_server_publish() - what has changed, if anything, unless it failed less than 1 s ago */
void ivs_server_publish(struct ivs_server *server);

/** ivs_server_publish_again() - after a failure */
void ivs_server_publish_again(struct ivs_loop_timer *timer);

#endif
