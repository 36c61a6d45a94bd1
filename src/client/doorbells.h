/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The doorbells of the other peers, and the record of which joins and leaves have been reported.
 *
 * As in the server, the state is stored rather than its history: the next report is the difference
 * between the current state and what has been reported, so memory is bounded by the number of ids.
 * No function takes a lock; the owner of the doorbells has to take one.
 */
#ifndef IVS_CLIENT_DOORBELLS_H
#define IVS_CLIENT_DOORBELLS_H

#include <stdbool.h>

#include "base/disposal.h"
#include "base/peer_change.h"
#include "ivshmem/api.h"

/**
 * struct ivs_doorbell_set - the eventfds of one peer; freed with the last reference
 * @left:     the peer has left; accessed atomically, because ringing takes no lock
 * @disposal: closes the eventfds
 */
struct ivs_doorbell_set {
	struct ivs_disposal *disposal;
	unsigned int refs;
	bool left;
	unsigned int fds_n;
	unsigned int fds_max;
	int *fds;
};

/**
 * struct ivs_doorbells_entry - the peer with a certain id
 * @set:        the peer's doorbells; NULL: no peer has this id
 * @reported_n: number of vectors last reported; 0: no join has been reported
 * @replaced:   a peer with this id has left since the last report
 */
struct ivs_doorbells_entry {
	struct ivs_doorbell_set *set;
	unsigned int reported_n;
	bool replaced;
};

/**
 * struct ivs_doorbells - all doorbells
 * @entries:    the entries by id
 * @dirty_from: all changes of ids below this have been reported
 * @fds_n:      number of doorbells
 * @fds_limit:  doorbells beyond this number are ignored; 0: no limit
 * @disposal:   closes doorbells; NULL: close(2). Each set uses it until the last reference to the
 *              set is dropped
 */
struct ivs_doorbells {
	struct ivs_doorbells_entry *entries;
	unsigned int ids_n;
	unsigned int dirty_from;
	unsigned int fds_n;
	unsigned int fds_limit;
	struct ivs_disposal *disposal;
};

void ivs_doorbells_deinit(struct ivs_doorbells *doorbells);

/**
 * ivs_doorbells_add() - add the next vector of @id; set @fd to -1 if it was taken. Return: 0,
 * -errno.
 */
IVS_MUST_USE int ivs_doorbells_add(struct ivs_doorbells *doorbells, unsigned int id, int *fd);

/** ivs_doorbells_remove() - remove peer @id, which has left. Return: whether it was present. */
bool ivs_doorbells_remove(struct ivs_doorbells *doorbells, unsigned int id);

/** ivs_doorbells_report() - report the next join or leave. Return: false if there is none. */
IVS_MUST_USE bool ivs_doorbells_report(struct ivs_doorbells *doorbells,
				       struct ivs_peer_change *change);

/** ivs_doorbells_vectors() - number of vectors of peer @id; 0: no such peer */
unsigned int ivs_doorbells_vectors(const struct ivs_doorbells *doorbells, unsigned int id);

/** ivs_doorbells_is_reported() - whether the last report about peer @id was a join */
static inline bool ivs_doorbells_is_reported(const struct ivs_doorbells *doorbells, unsigned int id)
{
	return id < doorbells->ids_n && doorbells->entries[id].reported_n;
}

/** ivs_doorbells_get() - take a reference to the doorbells of peer @id; NULL: no such peer */
struct ivs_doorbell_set *ivs_doorbells_get(struct ivs_doorbells *doorbells, unsigned int id);

/** ivs_doorbell_set_has_left() - whether the peer has left; needs a reference, but no lock */
static inline bool ivs_doorbell_set_has_left(const struct ivs_doorbell_set *set)
{
	return __atomic_load_n(&set->left, __ATOMIC_ACQUIRE);
}

/** ivs_doorbell_set_put() - drop a reference; NULL is ignored */
void ivs_doorbell_set_put(struct ivs_doorbell_set *set);

#endif
