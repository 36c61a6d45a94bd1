/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The roster in the region, as a peer sees it (rules P-1 ... in PROTOCOL.md). On ways in without a
 * server it is where joins and leaves come from: looked at every 100 ms and at each call.
 */
#ifndef IVS_PEER_ROSTER_H
#define IVS_PEER_ROSTER_H

#include "roster_page/reader.h"

struct ivs_peer;

/**
 * struct ivs_peer_roster - what has been taken in
 * @reserved_len: bytes at the end of the region, as they were at opening; 0: no roster there
 * @watched:      joins and leaves come from here
 * @timer_fd:     a timerfd; -1 unless @watched
 * @taken:        @sequence is of the snapshot that has been taken in
 * @maintained:  a server keeps it, as far as has been taken in
 * @complete:     everybody has an entry
 * @entries:        room for a snapshot
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
 * ivs_peer_roster_note() - how much of the region is reserved, by its fd and without touching the mapping
 *
 * For ways in that learn joins and leaves elsewhere.
 */
void ivs_peer_roster_note(struct ivs_peer *peer, int fd, uint64_t len);

/** ivs_peer_roster_open() - watch the roster, if the mapped region has one. Return: 0 or -errno. */
IVS_MUST_USE int ivs_peer_roster_open(struct ivs_peer *peer, struct ivs_error *err);

/** ivs_peer_roster_close() - also after ivs_peer_roster_open() has failed or was not called */
void ivs_peer_roster_close(struct ivs_peer *peer);

/** ivs_peer_roster_update() - take in what has changed, if it is watched; takes the lock. Return: 0, -errno. */
IVS_MUST_USE int ivs_peer_roster_update(struct ivs_peer *peer);

/**
 * ivs_peer_roster_check() - whether the roster knows that ringing is in vain
 *
 * Return: 0, also if it does not know; IVS_PEER_E_ABSENT, _VECTOR; -errno.
 */
IVS_MUST_USE int ivs_peer_roster_check(struct ivs_peer *peer, unsigned int id, unsigned int vector);

#endif
