/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The roster page as a peer reads it (PROTOCOL.md, P-1 to P-9). For transports without a connection
 * to a server it is the source of joins and leaves: read every 100 ms and at each call.
 */
#ifndef IVS_PEER_ROSTER_H
#define IVS_PEER_ROSTER_H

#include "roster_page/reader.h"

struct ivs_peer;

/**
 * struct ivs_peer_roster - the roster page, and what has been read from it
 * @reserved_len: bytes at the end of the region, as at opening; 0: there is no page
 * @watched:      joins and leaves come from here
 * @timer_fd:     a timerfd; -1 unless @watched
 * @taken:        a snapshot has been taken
 * @maintained:   in that snapshot a server maintains the page
 * @complete:     in that snapshot every peer has an entry
 * @sequence:     of that snapshot
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
 * ivs_peer_roster_note() - find out how much of the region is reserved, without watching the page
 * @fd:  the region, which is read instead of a mapping
 * @len: bytes of the region
 *
 * For transports that get joins and leaves from a server.
 */
void ivs_peer_roster_note(struct ivs_peer *peer, int fd, uint64_t len);

/** ivs_peer_roster_open() - watch the page, if the mapped region has one. Return: 0 or -errno. */
IVS_MUST_USE int ivs_peer_roster_open(struct ivs_peer *peer, struct ivs_error *err);

/** ivs_peer_roster_close() - also after ivs_peer_roster_open() has failed or was not called */
void ivs_peer_roster_close(struct ivs_peer *peer);

/** ivs_peer_roster_update() - read changes, if watched; takes the lock. Return: 0, -errno. */
IVS_MUST_USE int ivs_peer_roster_update(struct ivs_peer *peer);

/**
 * ivs_peer_roster_check() - whether the page says that the peer or the vector does not exist
 *
 * Return: 0, also if that is unknown; IVS_PEER_E_ABSENT, _VECTOR; -errno.
 */
IVS_MUST_USE int ivs_peer_roster_check(struct ivs_peer *peer, unsigned int id, unsigned int vector);

#endif
