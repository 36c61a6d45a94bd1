/* SPDX-License-Identifier: BSD-3-Clause */
#include "peer/remotes.h"

#include <stdlib.h>

#include "base/fd.h"
#include "protocol/v0.h"

#define FIRST_ROOM 16

void ivs_doorbells_put(struct ivs_doorbells *doorbells)
{
	if (!doorbells || --doorbells->refs)
		return;
	for (unsigned int i = 0; i < doorbells->fds_n; i++)
		ivs_fd_close(&doorbells->fds[i]);
	free(doorbells->fds);
	free(doorbells);
}

void ivs_remotes_deinit(struct ivs_remotes *remotes)
{
	for (unsigned int id = 0; id < remotes->ids_n; id++)
		ivs_doorbells_put(remotes->remotes[id].doorbells);
	free(remotes->remotes);
	*remotes = (struct ivs_remotes){0};
}

static int make_room(struct ivs_remotes *remotes, unsigned int id)
{
	unsigned int ids_n = remotes->ids_n ? remotes->ids_n : FIRST_ROOM;
	struct ivs_remote *more;

	if (id < remotes->ids_n)
		return 0;
	while (ids_n <= id)
		ids_n *= 2;
	more = reallocarray(remotes->remotes, ids_n, sizeof(*more));
	if (!more)
		return -ENOMEM;
	for (unsigned int i = remotes->ids_n; i < ids_n; i++)
		more[i] = (struct ivs_remote){0};
	remotes->remotes = more;
	remotes->ids_n = ids_n;
	return 0;
}

static int add_doorbell(struct ivs_doorbells *doorbells, int *fd)
{
	unsigned int max = doorbells->fds_max ? doorbells->fds_max * 2 : 1;
	int *more;

	if (doorbells->fds_n == doorbells->fds_max) {
		more = reallocarray(doorbells->fds, max, sizeof(*more));
		if (!more)
			return -ENOMEM;
		doorbells->fds = more;
		doorbells->fds_max = max;
	}
	doorbells->fds[doorbells->fds_n++] = ivs_fd_take(fd);
	return 0;
}

static void mark_dirty(struct ivs_remotes *remotes, unsigned int id)
{
	if (id < remotes->dirty_from)
		remotes->dirty_from = id;
}

int ivs_remotes_add(struct ivs_remotes *remotes, unsigned int id, int *fd)
{
	struct ivs_doorbells *doorbells;
	int result;

	if (remotes->fds_limit && remotes->fds_n >= remotes->fds_limit) {
		ivs_fd_close(fd);
		return 0;
	}
	result = make_room(remotes, id);
	if (result)
		return result;
	doorbells = remotes->remotes[id].doorbells;
	if (!doorbells) {
		doorbells = calloc(1, sizeof(*doorbells));
		if (!doorbells)
			return -ENOMEM;
		doorbells->refs = 1;
		remotes->remotes[id].doorbells = doorbells;
	}
	/* Vectors are 16 bits wide: what comes beyond them could never be rung. */
	if (doorbells->fds_n == IVS_V0_ID_MAX + 1) {
		ivs_fd_close(fd);
		return 0;
	}
	mark_dirty(remotes, id);
	result = add_doorbell(doorbells, fd);
	remotes->fds_n += !result;
	return result;
}

bool ivs_remotes_remove(struct ivs_remotes *remotes, unsigned int id)
{
	struct ivs_remote *remote;

	if (id >= remotes->ids_n || !remotes->remotes[id].doorbells)
		return false;
	remote = &remotes->remotes[id];
	remotes->fds_n -= remote->doorbells->fds_n;
	ivs_doorbells_put(remote->doorbells);
	remote->doorbells = NULL;
	remote->replaced = true;
	mark_dirty(remotes, id);
	return true;
}

/* Whether there is something to report of @id. */
static bool report_one(struct ivs_remote *remote, unsigned int id, struct ivs_event *event)
{
	unsigned int vectors_n = remote->doorbells ? remote->doorbells->fds_n : 0;
	bool left = remote->reported_n && remote->replaced;

	remote->replaced = false;
	if (left) {
		remote->reported_n = 0;
		*event = (struct ivs_event){.type = IVS_EVENT_LEAVE, .id = id};
		return true;
	}
	if (vectors_n == remote->reported_n)
		return false;
	remote->reported_n = vectors_n;
	*event = (struct ivs_event){.type = IVS_EVENT_JOIN, .id = id, .vectors_n = vectors_n};
	return true;
}

bool ivs_remotes_report(struct ivs_remotes *remotes, struct ivs_event *event)
{
	for (unsigned int id = remotes->dirty_from; id < remotes->ids_n; id++) {
		remotes->dirty_from = id; /* a leave may be followed by a join */
		if (report_one(&remotes->remotes[id], id, event))
			return true;
	}
	remotes->dirty_from = remotes->ids_n;
	return false;
}

unsigned int ivs_remotes_vectors(const struct ivs_remotes *remotes, unsigned int id)
{
	if (id >= remotes->ids_n || !remotes->remotes[id].doorbells)
		return 0;
	return remotes->remotes[id].doorbells->fds_n;
}

struct ivs_doorbells *ivs_remotes_get(struct ivs_remotes *remotes, unsigned int id)
{
	struct ivs_doorbells *doorbells;

	if (id >= remotes->ids_n || !remotes->remotes[id].doorbells)
		return NULL;
	doorbells = remotes->remotes[id].doorbells;
	doorbells->refs++;
	return doorbells;
}
