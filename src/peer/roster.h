/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reads the roster page (PROTOCOL.md, P-1 to P-9). Transports without a connection to a server get
 * joins and leaves from the page. They check it for changes every 100 ms, before each ring, and
 * before each event.
 */
#ifndef IVS_PEER_ROSTER_H
#define IVS_PEER_ROSTER_H

#include "roster_page/reader.h"

struct ivs_peer;

/**
 * struct ivs_peer_roster - the roster page, and what has been read from it
 * @reserved_len: bytes reserved at the end of the region when it was opened; 0: no roster page
 * @watched:      the page is the source of joins and leaves
 * @timer_fd:     a timerfd; -1 if @watched is false
 * @taken:        at least one snapshot of the page has been taken
 * @maintained:   according to the last snapshot, a server maintains the page
 * @complete:     in the last snapshot, every connected peer has an entry
 * @sequence:     sequence number of the last snapshot
 * @entries:      buffer for snapshots
 */
struct ivs_peer_roster {
	uint64_t reserved_len;
	bool watched;
	int timer_fd;
	bool taken;
	bool maintained;
	bool complete;
	uint64_t sequence;
	struct ivs_roster_page_entry *entries;
	uint32_t entries_max;
	struct ivs_roster_page_reader reader;
};

/**
 * ivs_peer_roster_note() - set @reserved_len, without watching the page
 * @fd: the region's file; the region is mapped
 *
 * Transports that get joins and leaves from a server use this function. It never raises SIGBUS.
 */
void ivs_peer_roster_note(struct ivs_peer *peer, int fd);

/** ivs_peer_roster_open() - watch the page, if the mapped region has one. Return: 0 or -errno. */
IVS_MUST_USE int ivs_peer_roster_open(struct ivs_peer *peer, struct ivs_error *err);

/** ivs_peer_roster_close() - release everything; valid even without ivs_peer_roster_open() */
void ivs_peer_roster_close(struct ivs_peer *peer);

/** ivs_peer_roster_update() - read changes, if @watched; takes the lock. Return: 0, -errno. */
IVS_MUST_USE int ivs_peer_roster_update(struct ivs_peer *peer);

/**
 * ivs_peer_roster_check() - look up the peer and the vector in the page
 *
 * Return: 0 if they exist, or if that is unknown; IVS_PEER_E_ABSENT, _VECTOR; -errno.
 */
IVS_MUST_USE int ivs_peer_roster_check(struct ivs_peer *peer, unsigned int id, unsigned int vector);

#endif
