/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/doorbells.h"

#include <errno.h>
#include <stdlib.h>

#include "ivshmem/registers.h"

#define FIRST_ROOM 16

void ivs_doorbell_set_put(struct ivs_doorbell_set *set)
{
	if (!set || --set->refs)
		return;
	for (unsigned int i = 0; i < set->fds_n; i++)
		ivs_dispose(set->disposal, &set->fds[i]);
	free(set->fds);
	free(set);
}

void ivs_doorbells_deinit(struct ivs_doorbells *doorbells)
{
	for (unsigned int id = 0; id < doorbells->ids_n; id++)
		ivs_doorbell_set_put(doorbells->entries[id].set);
	free(doorbells->entries);
	*doorbells = (struct ivs_doorbells){0};
}

static int doorbells_make_room(struct ivs_doorbells *doorbells, unsigned int id)
{
	unsigned int ids_n = doorbells->ids_n ? doorbells->ids_n : FIRST_ROOM;
	struct ivs_doorbells_entry *more;

	if (id < doorbells->ids_n)
		return 0;
	while (ids_n <= id)
		ids_n *= 2;
	more = reallocarray(doorbells->entries, ids_n, sizeof(*more));
	if (!more)
		return -ENOMEM;
	for (unsigned int i = doorbells->ids_n; i < ids_n; i++)
		more[i] = (struct ivs_doorbells_entry){0};
	doorbells->entries = more;
	doorbells->ids_n = ids_n;
	return 0;
}

static int doorbell_set_add(struct ivs_doorbell_set *set, int *fd)
{
	unsigned int max = set->fds_max ? set->fds_max * 2 : 1;
	int *more;

	if (set->fds_n == set->fds_max) {
		more = reallocarray(set->fds, max, sizeof(*more));
		if (!more)
			return -ENOMEM;
		set->fds = more;
		set->fds_max = max;
	}
	set->fds[set->fds_n++] = ivs_fd_take(fd);
	return 0;
}

static void doorbells_mark_dirty(struct ivs_doorbells *doorbells, unsigned int id)
{
	if (id < doorbells->dirty_from)
		doorbells->dirty_from = id;
}

int ivs_doorbells_add(struct ivs_doorbells *doorbells, unsigned int id, int *fd)
{
	struct ivs_doorbell_set *set;
	int result;

	if (doorbells->fds_limit && doorbells->fds_n >= doorbells->fds_limit) {
		ivs_dispose(doorbells->disposal, fd);
		return 0;
	}
	result = doorbells_make_room(doorbells, id);
	if (result)
		return result;
	set = doorbells->entries[id].set;
	if (!set) {
		set = calloc(1, sizeof(*set));
		if (!set)
			return -ENOMEM;
		set->refs = 1;
		set->disposal = doorbells->disposal;
		doorbells->entries[id].set = set;
	}
	/* The number of a vector has 16 bits, so further doorbells could not be rung. */
	if (set->fds_n == IVS_VECTOR_MAX + 1) {
		ivs_dispose(doorbells->disposal, fd);
		return 0;
	}
	doorbells_mark_dirty(doorbells, id);
	result = doorbell_set_add(set, fd);
	doorbells->fds_n += !result;
	return result;
}

bool ivs_doorbells_remove(struct ivs_doorbells *doorbells, unsigned int id)
{
	struct ivs_doorbells_entry *entry;

	if (id >= doorbells->ids_n || !doorbells->entries[id].set)
		return false;
	entry = &doorbells->entries[id];
	doorbells->fds_n -= entry->set->fds_n;
	__atomic_store_n(&entry->set->left, true, __ATOMIC_RELEASE);
	ivs_doorbell_set_put(entry->set);
	entry->set = NULL;
	entry->replaced = true;
	doorbells_mark_dirty(doorbells, id);
	return true;
}

/* Return: whether a join or a leave of @id is to be reported. */
static bool doorbells_report_entry(struct ivs_doorbells_entry *entry, unsigned int id,
				   struct ivs_peer_change *change)
{
	unsigned int vectors_n = entry->set ? entry->set->fds_n : 0;
	bool left = entry->reported_n && entry->replaced;

	entry->replaced = false;
	if (left) {
		entry->reported_n = 0;
		*change = (struct ivs_peer_change){.id = id};
		return true;
	}
	if (vectors_n == entry->reported_n)
		return false;
	entry->reported_n = vectors_n;
	*change = (struct ivs_peer_change){.joined = true, .id = id, .vectors_n = vectors_n};
	return true;
}

bool ivs_doorbells_report(struct ivs_doorbells *doorbells, struct ivs_peer_change *change)
{
	for (unsigned int id = doorbells->dirty_from; id < doorbells->ids_n; id++) {
		doorbells->dirty_from = id; /* after a leave, a join of this id may follow */
		if (doorbells_report_entry(&doorbells->entries[id], id, change))
			return true;
	}
	doorbells->dirty_from = doorbells->ids_n;
	return false;
}

unsigned int ivs_doorbells_vectors(const struct ivs_doorbells *doorbells, unsigned int id)
{
	if (id >= doorbells->ids_n || !doorbells->entries[id].set)
		return 0;
	return doorbells->entries[id].set->fds_n;
}

struct ivs_doorbell_set *ivs_doorbells_get(struct ivs_doorbells *doorbells, unsigned int id)
{
	struct ivs_doorbell_set *set;

	if (id >= doorbells->ids_n || !doorbells->entries[id].set)
		return NULL;
	set = doorbells->entries[id].set;
	set->refs++;
	return set;
}
