/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reports changes to the region's file. Transports of host processes keep the file open, and query
 * the kernel about it once a second while the application waits.
 */
#ifndef IVS_PEER_REGION_H
#define IVS_PEER_REGION_H

#include "region/watch.h"

struct ivs_event;
struct ivs_peer;

/**
 * struct ivs_peer_region - the file of the region
 * @fd:       the file; -1: not watched
 * @timer_fd: a timerfd; -1 unless the file is watched
 * @reported: the changes that the last event has reported; guarded by the peer's lock
 */
struct ivs_peer_region {
	int fd;
	int timer_fd;
	unsigned int reported;
	struct ivs_region_watch watch;
};

#define IVS_PEER_REGION_INIT                                                                       \
	{                                                                                          \
		.fd = -1, .timer_fd = -1, .watch = IVS_REGION_WATCH_INIT                           \
	}

/**
 * ivs_peer_region_open() - watch the mapped region, unless it cannot change
 * @fd:   the region's file; set to -1 when the peer has taken it over
 * @path: the name with which the region was opened; NULL: unknown
 *
 * Return: 0 or -errno.
 */
IVS_MUST_USE int ivs_peer_region_open(struct ivs_peer *peer, int *fd, const char *path);

/** ivs_peer_region_close() - release everything; valid even without ivs_peer_region_open() */
void ivs_peer_region_close(struct ivs_peer *peer);

/**
 * ivs_peer_region_report() - handle the timer. Return: 1 if @event is set, 0 if there is nothing to
 * report, or -errno.
 */
IVS_MUST_USE int ivs_peer_region_report(struct ivs_peer *peer, struct ivs_event *event);

#endif
