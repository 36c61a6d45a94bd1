/* SPDX-License-Identifier: BSD-3-Clause */
/* The roster page (--roster): when it is written, and what happens if it cannot be written. */
#ifndef IVS_SERVER_PUBLISH_H
#define IVS_SERVER_PUBLISH_H

#include "server/private.h"

enum ivs_publish_error {
	IVS_PUBLISH_E_REGION = 1, /* the region cannot have a roster page */
};

/**
 * ivs_server_open_roster_page() - publish the resumed clients, before others are accepted
 * @entries_n: number of peers for which the page has room; 0: publish nothing
 *
 * Return: 0, IVS_PUBLISH_E_REGION, -errno.
 */
IVS_MUST_USE int ivs_server_open_roster_page(struct ivs_server *server, uint32_t entries_n,
					     struct ivs_error *err);

/** ivs_server_close_roster_page() - mark the page as no longer maintained (P-7) */
void ivs_server_close_roster_page(struct ivs_server *server);

/** ivs_server_publish() - write the changes, unless writing failed less than 1 s ago */
void ivs_server_publish(struct ivs_server *server);

/** ivs_server_publish_again() - retry publishing after a failure */
void ivs_server_publish_again(struct ivs_loop_timer *timer);

#endif
