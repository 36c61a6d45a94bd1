/* SPDX-License-Identifier: BSD-3-Clause */
#include "roster_page/reader.h"

#include <errno.h>
#include <stdlib.h>

void ivs_roster_page_reader_deinit(struct ivs_roster_page_reader *reader)
{
	free(reader->peers);
	reader->peers = NULL;
	reader->ids_n = 0;
}

static int compare_entries(const void *left, const void *right)
{
	const struct ivs_roster_page_entry *a = left;
	const struct ivs_roster_page_entry *b = right;

	if (a->id != b->id)
		return a->id < b->id ? -1 : 1;
	return a->since > b->since ? -1 : a->since < b->since;
}

uint32_t ivs_roster_page_reader_sort(struct ivs_roster_page_entry *entries, uint32_t entries_n)
{
	uint32_t n = 0;

	if (entries_n)
		qsort(entries, entries_n, sizeof(*entries), compare_entries);
	for (uint32_t i = 0; i < entries_n; i++) {
		if (!n || entries[n - 1].id != entries[i].id)
			entries[n++] = entries[i];
	}
	return n;
}

static int make_room(struct ivs_roster_page_reader *reader, unsigned int ids_n)
{
	struct ivs_roster_page_peer *more;

	if (ids_n <= reader->ids_n)
		return 0;
	more = reallocarray(reader->peers, ids_n, sizeof(*more));
	if (!more)
		return -ENOMEM;
	for (unsigned int id = reader->ids_n; id < ids_n; id++)
		more[id] = (struct ivs_roster_page_peer){0};
	reader->peers = more;
	reader->ids_n = ids_n;
	return 0;
}

int ivs_roster_page_reader_set(struct ivs_roster_page_reader *reader,
			       const struct ivs_roster_page_entry *entries, uint32_t entries_n)
{
	int result = entries_n ? make_room(reader, entries[entries_n - 1].id + 1) : 0;
	uint32_t at = 0;

	if (result)
		return result;
	for (unsigned int id = 0; id < reader->ids_n; id++) {
		bool there = at < entries_n && entries[at].id == id;

		reader->peers[id].since = there ? entries[at].since : 0;
		reader->peers[id].vectors_n = there ? entries[at].vectors_n : 0;
		at += there;
	}
	reader->dirty_from = 0;
	return 0;
}

/* Return: whether a change of @id is to be reported. */
static bool report_one(struct ivs_roster_page_peer *peer, unsigned int id,
		       struct ivs_peer_change *change)
{
	if (peer->reported_since && peer->reported_since != peer->since) {
		peer->reported_since = 0;
		*change = (struct ivs_peer_change){.id = id};
		return true;
	}
	if (!peer->since || (peer->reported_since && peer->reported_n == peer->vectors_n))
		return false;
	peer->reported_since = peer->since;
	peer->reported_n = peer->vectors_n;
	*change = (struct ivs_peer_change){.joined = true, .id = id, .vectors_n = peer->vectors_n};
	return true;
}

bool ivs_roster_page_reader_report(struct ivs_roster_page_reader *reader,
				   struct ivs_peer_change *change)
{
	for (unsigned int id = reader->dirty_from; id < reader->ids_n; id++) {
		reader->dirty_from = id; /* after a leave, a join of this id may follow */
		if ((int)id != reader->own_id && report_one(&reader->peers[id], id, change))
			return true;
	}
	reader->dirty_from = reader->ids_n;
	return false;
}

const struct ivs_roster_page_peer *
ivs_roster_page_reader_get(const struct ivs_roster_page_reader *reader, unsigned int id)
{
	return id < reader->ids_n && reader->peers[id].since ? &reader->peers[id] : NULL;
}
