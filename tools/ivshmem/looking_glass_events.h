/* SPDX-License-Identifier: BSD-3-Clause */
/* What "looking-glass test" prints while it publishes: a line for each event, as text or JSON. */
#ifndef TOOLS_IVSHMEM_LOOKING_GLASS_EVENTS_H
#define TOOLS_IVSHMEM_LOOKING_GLASS_EVENTS_H

#include <stdbool.h>
#include <stdint.h>

#include "looking_glass/publisher.h"

/**
 * struct events - what has been printed
 * @json:     print JSON objects
 * @frames:   for each client, the frames that it has taken since it attached
 * @frames_n: frames taken by all clients
 * @restart_ns: time of the last report of a new session
 * @restarts_n: new sessions that have not been reported since
 */
struct events {
	bool json;
	uint64_t frames[IVS_LGMP_CLIENTS_MAX];
	uint64_t frames_n;
	int64_t restart_ns;
	uint64_t restarts_n;
};

/**
 * struct event_start - what is published
 * @path: path of the region's file
 * @user: user that can start the client, as in "as user joe"
 * @size: size of the region in bytes
 */
struct event_start {
	const char *path;
	const char *user;
	uint64_t size;
	const struct ivs_publisher_options *options;
};

/** events_started() - print what is published, and the command that starts the client */
void events_started(const struct events *events, const struct event_start *start);

/** events_report() - print what a step has found, and count frames */
void events_report(struct events *events, const struct ivs_publisher_report *report,
		   int64_t now_ns);

/** events_ended() - print the number of frames */
void events_ended(const struct events *events);

#endif
