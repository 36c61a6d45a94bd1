/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The other peers as the roster in the region shows them, and how much of that has been reported.
 *
 * As in remotes.h a report is the difference between what is and what was reported. No locking: the
 * owner does.
 */
#ifndef IVS_ROSTER_PAGE_READER_H
#define IVS_ROSTER_PAGE_READER_H

#include <stdbool.h>

#include "base/peer_change.h"
#include "ivshmem/api.h"
#include "roster_page/format.h"

/**
 * struct ivs_roster_page_peer - one id
 * @since:          the generation at which it joined; 0: it is not there
 * @vectors_n:      that it can be rung on
 * @reported_since: the same as last reported; 0: it is not known to be there
 * @reported_n:     likewise
 */
struct ivs_roster_page_peer {
	uint64_t since;
	uint64_t reported_since;
	uint32_t vectors_n;
	uint32_t reported_n;
};

/**
 * struct ivs_roster_page_reader - by id
 * @own_id:     is never reported; -1: none
 * @dirty_from: all ids below have been reported as they are
 */
struct ivs_roster_page_reader {
	struct ivs_roster_page_peer *peers;
	unsigned int ids_n;
	unsigned int dirty_from;
	int own_id;
};

void ivs_roster_page_reader_deinit(struct ivs_roster_page_reader *reader);

/**
 * ivs_roster_page_reader_sort() - by id; of several with the same id, which no server writes, the newest stays
 *
 * Return: how many are left.
 */
uint32_t ivs_roster_page_reader_sort(struct ivs_roster_page_entry *entries, uint32_t entries_n);

/** ivs_roster_page_reader_set() - these are there now, sorted, and nobody else. Return: 0 or -errno. */
IVS_MUST_USE int ivs_roster_page_reader_set(struct ivs_roster_page_reader *reader,
					    const struct ivs_roster_page_entry *entries,
					    uint32_t entries_n);

/** ivs_roster_page_reader_report() - the next join or leave that has not been reported. Return: whether. */
IVS_MUST_USE bool ivs_roster_page_reader_report(struct ivs_roster_page_reader *reader,
						struct ivs_peer_change *change);

/** ivs_roster_page_reader_get() - NULL: @id, any id, is not there */
const struct ivs_roster_page_peer *
ivs_roster_page_reader_get(const struct ivs_roster_page_reader *reader, unsigned int id);

/** ivs_roster_page_reader_is_reported() - whether it has been reported that @id, any id, is there */
static inline bool
ivs_roster_page_reader_is_reported(const struct ivs_roster_page_reader *reader, unsigned int id)
{
	return id < reader->ids_n && reader->peers[id].reported_since;
}

#endif
