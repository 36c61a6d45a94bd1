/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The other peers as a client of the server knows them, and how much of that has been reported.
 *
 * As in the server, the state is kept and not the history: a report is the difference between what
 * is and what was reported, so memory is bounded by the number of ids. No locking: the owner does.
 */
#ifndef IVS_CLIENT_DOORBELLS_H
#define IVS_CLIENT_DOORBELLS_H

#include <stdbool.h>

#include "base/peer_change.h"
#include "ivshmem/api.h"

/**
 * struct ivs_doorbell_set - the eventfds of one peer; freed with the last reference
 * @left: the peer has left; read and set atomically, because who rings holds no lock
 */
struct ivs_doorbell_set {
	unsigned int refs;
	bool left;
	unsigned int fds_n;
	unsigned int fds_max;
	int *fds;
};

/**
 * struct ivs_doorbells_entry - one id
 * @set:        NULL: nobody is there
 * @reported_n: how many vectors have been reported; 0: it is not known to be there
 * @replaced:   the one that was reported left, and this is another
 */
struct ivs_doorbells_entry {
	struct ivs_doorbell_set *set;
	unsigned int reported_n;
	bool replaced;
};

/**
 * struct ivs_doorbells - by id
 * @dirty_from: all ids below have been reported as they are
 * @fds_n:      how many doorbells there are
 * @fds_limit:  how many there may be: what comes beyond is as if it had not; 0: any number
 */
struct ivs_doorbells {
	struct ivs_doorbells_entry *entries;
	unsigned int ids_n;
	unsigned int dirty_from;
	unsigned int fds_n;
	unsigned int fds_limit;
};

void ivs_doorbells_deinit(struct ivs_doorbells *doorbells);

/** ivs_doorbells_add() - the next vector of @id; @fd is set to -1 if taken. Return: 0 or -errno. */
IVS_MUST_USE int ivs_doorbells_add(struct ivs_doorbells *doorbells, unsigned int id, int *fd);

/** ivs_doorbells_remove() - @id left. Return: whether it was there. */
bool ivs_doorbells_remove(struct ivs_doorbells *doorbells, unsigned int id);

/** ivs_doorbells_report() - the next join or leave that has not been reported. Return: whether. */
IVS_MUST_USE bool ivs_doorbells_report(struct ivs_doorbells *doorbells,
				       struct ivs_peer_change *change);

/** ivs_doorbells_vectors() - how many vectors of @id are known; 0: it is not there */
unsigned int ivs_doorbells_vectors(const struct ivs_doorbells *doorbells, unsigned int id);

/** ivs_doorbells_is_reported() - whether it has been reported that @id, any id, is there */
static inline bool ivs_doorbells_is_reported(const struct ivs_doorbells *doorbells, unsigned int id)
{
	return id < doorbells->ids_n && doorbells->entries[id].reported_n;
}

/** ivs_doorbells_get() - a reference to the set of @id; NULL: it is not there */
struct ivs_doorbell_set *ivs_doorbells_get(struct ivs_doorbells *doorbells, unsigned int id);

/** ivs_doorbell_set_has_left() - whether its peer has left; needs no lock, only a reference */
static inline bool ivs_doorbell_set_has_left(const struct ivs_doorbell_set *set)
{
	return __atomic_load_n(&set->left, __ATOMIC_ACQUIRE);
}

/** ivs_doorbell_set_put() - give a reference back; NULL is fine */
void ivs_doorbell_set_put(struct ivs_doorbell_set *set);

#endif
