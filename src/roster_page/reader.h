/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The other peers as the roster page shows them, and the changes among them.
 *
 * As in client/doorbells.h changes are the difference between the present state and what has been
 * reported. No locking: that is up to the owner.
 */
#ifndef IVS_ROSTER_PAGE_READER_H
#define IVS_ROSTER_PAGE_READER_H

#include <stdbool.h>

#include "base/peer_change.h"
#include "ivshmem/api.h"
#include "roster_page/format.h"

/**
 * struct ivs_roster_page_peer - one id
 * @since:          the generation at which it joined; 0: it is not connected
 * @vectors_n:      how many vectors it has
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
 * struct ivs_roster_page_reader - peers by id
 * @own_id:     never reported; -1: none
 * @dirty_from: all changes of ids below it have been reported
 */
struct ivs_roster_page_reader {
	struct ivs_roster_page_peer *peers;
	unsigned int ids_n;
	unsigned int dirty_from;
	int own_id;
};

void ivs_roster_page_reader_deinit(struct ivs_roster_page_reader *reader);

/**
 * ivs_roster_page_reader_sort() - sort by id, and drop all but the newest entry of an id
 *
 * A server writes one entry per id; other peers may have written more.
 *
 * Return: how many are left.
 */
uint32_t ivs_roster_page_reader_sort(struct ivs_roster_page_entry *entries, uint32_t entries_n);

/** ivs_roster_page_reader_set() - replace all peers; @entries are sorted. Return: 0 or -errno. */
IVS_MUST_USE int ivs_roster_page_reader_set(struct ivs_roster_page_reader *reader,
					    const struct ivs_roster_page_entry *entries,
					    uint32_t entries_n);

/**
 * ivs_roster_page_reader_report() - the next join or leave that has not been reported
 *
 * Return: whether there is one.
 */
IVS_MUST_USE bool ivs_roster_page_reader_report(struct ivs_roster_page_reader *reader,
						struct ivs_peer_change *change);

/** ivs_roster_page_reader_get() - a peer; NULL: @id, which may be any id, is not connected */
const struct ivs_roster_page_peer *
ivs_roster_page_reader_get(const struct ivs_roster_page_reader *reader, unsigned int id);

/** ivs_roster_page_reader_is_reported() - whether the join of @id, any id, has been reported */
static inline bool ivs_roster_page_reader_is_reported(const struct ivs_roster_page_reader *reader,
						      unsigned int id)
{
	return id < reader->ids_n && reader->peers[id].reported_since;
}

#endif
