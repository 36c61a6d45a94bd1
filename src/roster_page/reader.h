/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The other peers as the roster page shows them, and a record of the joins and leaves reported so
 * far.
 *
 * As in client/doorbells.h, the next report is the difference between the current state and what
 * has been reported. No function takes a lock; the owner of the reader has to take one.
 */
#ifndef IVS_ROSTER_PAGE_READER_H
#define IVS_ROSTER_PAGE_READER_H

#include <stdbool.h>

#include "base/peer_change.h"
#include "ivshmem/api.h"
#include "roster_page/format.h"

/**
 * struct ivs_roster_page_peer - the peer with a certain id
 * @since:          the generation at which the peer joined; 0: no peer has this id
 * @vectors_n:      number of the peer's vectors
 * @reported_since: @since as last reported; 0: no join has been reported
 * @reported_n:     @vectors_n as last reported
 */
struct ivs_roster_page_peer {
	uint64_t since;
	uint64_t reported_since;
	uint32_t vectors_n;
	uint32_t reported_n;
};

/**
 * struct ivs_roster_page_reader - the peers by id
 * @own_id:     the caller's own id, which is never reported; -1: none
 * @dirty_from: all changes of ids below this have been reported
 */
struct ivs_roster_page_reader {
	struct ivs_roster_page_peer *peers;
	unsigned int ids_n;
	unsigned int dirty_from;
	int own_id;
};

void ivs_roster_page_reader_deinit(struct ivs_roster_page_reader *reader);

/**
 * ivs_roster_page_reader_sort() - sort entries by id, and keep only the newest entry for each id
 *
 * A server writes one entry per id, but other peers can write more.
 *
 * Return: the number of entries left.
 */
uint32_t ivs_roster_page_reader_sort(struct ivs_roster_page_entry *entries, uint32_t entries_n);

/** ivs_roster_page_reader_set() - replace all peers; @entries must be sorted. Return: 0, -errno. */
IVS_MUST_USE int ivs_roster_page_reader_set(struct ivs_roster_page_reader *reader,
					    const struct ivs_roster_page_entry *entries,
					    uint32_t entries_n);

/**
 * ivs_roster_page_reader_report() - report the next join or leave that has not been reported
 *
 * Return: false if there is none.
 */
IVS_MUST_USE bool ivs_roster_page_reader_report(struct ivs_roster_page_reader *reader,
						struct ivs_peer_change *change);

/** ivs_roster_page_reader_get() - get the peer with @id, which may be any id; NULL: no such peer */
const struct ivs_roster_page_peer *
ivs_roster_page_reader_get(const struct ivs_roster_page_reader *reader, unsigned int id);

/**
 * ivs_roster_page_reader_is_reported() - whether a join of @id, which may be any id, has been
 * reported
 */
static inline bool ivs_roster_page_reader_is_reported(const struct ivs_roster_page_reader *reader,
						      unsigned int id)
{
	return id < reader->ids_n && reader->peers[id].reported_since;
}

#endif
