/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The other peers as a client of the server knows them, and how much of that has been reported.
 *
 * As in the server, the state is kept and not the history: a report is the difference between what
 * is and what was reported, so memory is bounded by the number of ids. No locking: the owner does.
 */
#ifndef IVS_PEER_REMOTES_H
#define IVS_PEER_REMOTES_H

#include <stdbool.h>

#include "ivshmem/peer.h"

/**
 * struct ivs_doorbells - the eventfds of one peer; lives on while somebody is about to ring one
 */
struct ivs_doorbells {
	unsigned int refs;
	unsigned int fds_n;
	unsigned int fds_max;
	int *fds;
};

/**
 * struct ivs_remote - one id
 * @doorbells:  NULL: nobody is there
 * @reported_n: how many vectors have been reported; 0: it is not known to be there
 * @replaced:   the one that was reported left, and this is another
 */
struct ivs_remote {
	struct ivs_doorbells *doorbells;
	unsigned int reported_n;
	bool replaced;
};

/**
 * struct ivs_remotes - by id
 * @dirty_from: all ids below have been reported as they are
 * @fds_n:      how many doorbells there are
 * @fds_limit:  how many there may be: what comes beyond is as if it had not; 0: any number
 */
struct ivs_remotes {
	struct ivs_remote *remotes;
	unsigned int ids_n;
	unsigned int dirty_from;
	unsigned int fds_n;
	unsigned int fds_limit;
};

void ivs_remotes_deinit(struct ivs_remotes *remotes);

/** ivs_remotes_add() - the next vector of @id; @fd is set to -1 if taken. Return: 0 or -errno. */
IVS_MUST_USE int ivs_remotes_add(struct ivs_remotes *remotes, unsigned int id, int *fd);

/** ivs_remotes_remove() - @id left. Return: whether it was there. */
bool ivs_remotes_remove(struct ivs_remotes *remotes, unsigned int id);

/** ivs_remotes_report() - the next join or leave that has not been reported. Return: whether. */
IVS_MUST_USE bool ivs_remotes_report(struct ivs_remotes *remotes, struct ivs_event *event);

/** ivs_remotes_vectors() - how many vectors of @id are known; 0: it is not there */
unsigned int ivs_remotes_vectors(const struct ivs_remotes *remotes, unsigned int id);

/** ivs_remotes_get() - the doorbells of @id, to be put back; NULL: it is not there */
struct ivs_doorbells *ivs_remotes_get(struct ivs_remotes *remotes, unsigned int id);

/** ivs_doorbells_put() - done with them */
void ivs_doorbells_put(struct ivs_doorbells *doorbells);

#endif
