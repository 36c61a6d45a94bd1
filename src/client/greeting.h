/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Waiting until a client can start, that is, until the greeting and the client's own vectors have
 * arrived. In this file, "greeting" includes both.
 *
 * A server announces neither the number of vectors nor the end of the greeting (W-6). A client's
 * own vectors count as complete when there are as many as another peer has, or when the server has
 * been silent for IVS_GREETING_QUIET_MS.
 *
 * A client that may block calls ivs_greeting_connect() and ivs_greeting_next(). A client that must
 * not block calls ivs_connection_connect() and ivs_connection_next(), and passes each event to
 * ivs_greeting_note().
 */
#ifndef IVS_CLIENT_GREETING_H
#define IVS_CLIENT_GREETING_H

#include "client/connection.h"

#define IVS_GREETING_QUIET_MS 100

/**
 * struct ivs_greeting - the messages to wait for, and those that have arrived
 * @wanted_n:    number of the client's own vectors to wait for; 0: all of them
 * @region_only: wait only for the region, not for vectors
 * @deadline_ns: time by which the greeting must be complete; on the clock of ivs_clock_ns()
 * @has_region:  the region has arrived
 * @vectors_n:   number of the client's own vectors that have arrived
 * @others_n:    the largest number of vectors that any other peer has
 * @quiet_ns:    when the client's own vectors count as complete if no other arrives
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
 * ivs_greeting_connect() - connect; wait while the server's listen queue is full
 *
 * Return: 0, IVS_CONNECTION_E_ADDRESS, _ABSENT, _BUSY (the queue is still full at the deadline);
 * -errno.
 */
IVS_MUST_USE int ivs_greeting_connect(const struct ivs_greeting *greeting,
				      struct ivs_connection *connection, const char *path,
				      struct ivs_error *err);

/**
 * ivs_greeting_next() - wait for the next event of the greeting
 *
 * Return: 0; IVS_CONNECTION_E_AGAIN: the greeting is complete; _TIMEOUT, _LOST, _PROTOCOL; -errno.
 */
IVS_MUST_USE int ivs_greeting_next(struct ivs_greeting *greeting, struct ivs_connection *connection,
				   struct ivs_connection_event *event, struct ivs_error *err);

/** ivs_greeting_note() - record @event; ivs_greeting_next() does this itself */
void ivs_greeting_note(struct ivs_greeting *greeting, const struct ivs_connection *connection,
		       const struct ivs_connection_event *event);

/** ivs_greeting_is_over() - whether the region and the client's own vectors have arrived */
bool ivs_greeting_is_over(const struct ivs_greeting *greeting);

/** ivs_greeting_timeout() - describe in @err what is missing. Return: IVS_CONNECTION_E_TIMEOUT. */
int ivs_greeting_timeout(const struct ivs_greeting *greeting,
			 const struct ivs_connection *connection, struct ivs_error *err);

#endif
