/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The beginning of a connection: connecting, and what the server sends until a client can start.
 *
 * A server does not say how many vectors there are, nor when it has sent everything (W-6). All own
 * vectors have come when they are as many as another peer has, or when the server has been silent
 * for IVS_GREETING_QUIET_MS.
 *
 * A client that must not wait uses ivs_connection_connect() and ivs_connection_next(), and shows
 * each event to ivs_greeting_note().
 */
#ifndef IVS_CLIENT_GREETING_H
#define IVS_CLIENT_GREETING_H

#include "client/connection.h"

#define IVS_GREETING_QUIET_MS 100

/**
 * struct ivs_greeting - what is expected, and what has come
 * @wanted_n:     own vectors that are needed; 0: all that there are
 * @region_only:  the greeting ends when the region has come
 * @deadline_ns:  for all of it; ivs_clock_ns() time
 * @has_region:   the region has come
 * @vectors_n:    own vectors that have come
 * @others_n:     the most vectors that another peer has
 * @quiet_ns:     when the server will have been silent for long enough about this client
 */
struct ivs_greeting {
	unsigned int wanted_n;
	bool region_only;
	int64_t deadline_ns;
	bool has_region;
	unsigned int vectors_n;
	unsigned int others_n;
	int64_t quiet_ns;
};

/**
 * ivs_greeting_connect() - connect; wait while the server's queue of connections is full
 *
 * Return: 0, IVS_CONNECTION_E_ADDRESS, _ABSENT, _BUSY (until the deadline); -errno.
 */
IVS_MUST_USE int ivs_greeting_connect(const struct ivs_greeting *greeting,
				      struct ivs_connection *connection, const char *path,
				      struct ivs_error *err);

/**
 * ivs_greeting_next() - wait for the next event of the greeting
 *
 * Return: 0; IVS_CONNECTION_E_AGAIN: the greeting is over, successfully; _TIMEOUT, _LOST, _PROTOCOL;
 * -errno.
 */
IVS_MUST_USE int ivs_greeting_next(struct ivs_greeting *greeting, struct ivs_connection *connection,
				   struct ivs_connection_event *event, struct ivs_error *err);

/** ivs_greeting_note() - @event has come; ivs_greeting_next() does this itself */
void ivs_greeting_note(struct ivs_greeting *greeting, const struct ivs_connection *connection,
		       const struct ivs_connection_event *event);

/** ivs_greeting_is_over() - whether the region has come and, as far as can be known, all own vectors */
bool ivs_greeting_is_over(const struct ivs_greeting *greeting);

/** ivs_greeting_timeout() - what was missing at the deadline. Return: IVS_CONNECTION_E_TIMEOUT. */
int ivs_greeting_timeout(const struct ivs_greeting *greeting,
			 const struct ivs_connection *connection, struct ivs_error *err);

#endif
