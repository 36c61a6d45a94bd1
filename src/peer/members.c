/* SPDX-License-Identifier: BSD-3-Clause */
#include "peer/members.h"

#include <errno.h>
#include <stdlib.h>

void ivs_members_deinit(struct ivs_members *members)
{
	free(members->members);
	members->members = NULL;
	members->ids_n = 0;
}

static int compare(const void *left, const void *right)
{
	const struct ivs_roster_slot *a = left;
	const struct ivs_roster_slot *b = right;

	if (a->id != b->id)
		return a->id < b->id ? -1 : 1;
	return a->since > b->since ? -1 : a->since < b->since;
}

uint32_t ivs_members_sort(struct ivs_roster_slot *slots, uint32_t slots_n)
{
	uint32_t n = 0;

	if (slots_n)
		qsort(slots, slots_n, sizeof(*slots), compare);
	for (uint32_t i = 0; i < slots_n; i++) {
		if (!n || slots[n - 1].id != slots[i].id)
			slots[n++] = slots[i];
	}
	return n;
}

static int make_room(struct ivs_members *members, unsigned int ids_n)
{
	struct ivs_member *more;

	if (ids_n <= members->ids_n)
		return 0;
	more = reallocarray(members->members, ids_n, sizeof(*more));
	if (!more)
		return -ENOMEM;
	for (unsigned int id = members->ids_n; id < ids_n; id++)
		more[id] = (struct ivs_member){0};
	members->members = more;
	members->ids_n = ids_n;
	return 0;
}

int ivs_members_set(struct ivs_members *members, const struct ivs_roster_slot *slots,
		    uint32_t slots_n)
{
	int result = slots_n ? make_room(members, slots[slots_n - 1].id + 1) : 0;
	uint32_t at = 0;

	if (result)
		return result;
	for (unsigned int id = 0; id < members->ids_n; id++) {
		bool there = at < slots_n && slots[at].id == id;

		members->members[id].since = there ? slots[at].since : 0;
		members->members[id].vectors_n = there ? slots[at].vectors_n : 0;
		at += there;
	}
	members->dirty_from = 0;
	return 0;
}

/* Whether there is something to report of @id. */
static bool report_one(struct ivs_member *member, unsigned int id, struct ivs_event *event)
{
	if (member->reported_since && member->reported_since != member->since) {
		member->reported_since = 0;
		*event = (struct ivs_event){.type = IVS_EVENT_LEAVE, .id = id};
		return true;
	}
	if (!member->since || (member->reported_since && member->reported_n == member->vectors_n))
		return false;
	member->reported_since = member->since;
	member->reported_n = member->vectors_n;
	*event = (struct ivs_event){
		.type = IVS_EVENT_JOIN, .id = id, .vectors_n = member->vectors_n};
	return true;
}

bool ivs_members_report(struct ivs_members *members, struct ivs_event *event)
{
	for (unsigned int id = members->dirty_from; id < members->ids_n; id++) {
		members->dirty_from = id; /* a leave may be followed by a join */
		if ((int)id != members->own_id && report_one(&members->members[id], id, event))
			return true;
	}
	members->dirty_from = members->ids_n;
	return false;
}

const struct ivs_member *ivs_members_get(const struct ivs_members *members, unsigned int id)
{
	return id < members->ids_n && members->members[id].since ? &members->members[id] : NULL;
}
