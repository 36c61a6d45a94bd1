/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The other peers as the roster in the region shows them, and how much of that has been reported.
 *
 * As in remotes.h a report is the difference between what is and what was reported. No locking: the
 * owner does.
 */
#ifndef IVS_PEER_MEMBERS_H
#define IVS_PEER_MEMBERS_H

#include <stdbool.h>

#include "ivshmem/peer.h"
#include "wire/roster_page.h"

/**
 * struct ivs_member - one id
 * @since:          the generation at which it joined; 0: it is not there
 * @vectors_n:      that it can be rung on
 * @reported_since: the same as last reported; 0: it is not known to be there
 * @reported_n:     likewise
 */
struct ivs_member {
	uint64_t since;
	uint64_t reported_since;
	uint32_t vectors_n;
	uint32_t reported_n;
};

/**
 * struct ivs_members - by id
 * @own_id:     is never reported; -1: none
 * @dirty_from: all ids below have been reported as they are
 */
struct ivs_members {
	struct ivs_member *members;
	unsigned int ids_n;
	unsigned int dirty_from;
	int own_id;
};

void ivs_members_deinit(struct ivs_members *members);

/**
 * ivs_members_sort() - by id; of several with the same id, which no server writes, the newest stays
 *
 * Return: how many are left.
 */
uint32_t ivs_members_sort(struct ivs_roster_slot *slots, uint32_t slots_n);

/** ivs_members_set() - these are there now, sorted, and nobody else. Return: 0 or -errno. */
IVS_MUST_USE int ivs_members_set(struct ivs_members *members, const struct ivs_roster_slot *slots,
				 uint32_t slots_n);

/** ivs_members_report() - the next join or leave that has not been reported. Return: whether. */
IVS_MUST_USE bool ivs_members_report(struct ivs_members *members, struct ivs_event *event);

/** ivs_members_get() - NULL: @id, any id, is not there */
const struct ivs_member *ivs_members_get(const struct ivs_members *members, unsigned int id);

#endif
