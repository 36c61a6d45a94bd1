/* SPDX-License-Identifier: BSD-3-Clause */
/* The messages that are due: a walk through the sets that changes nothing. */
#include "roster/private.h"

/**
 * struct plan - state of the walk
 * @self: a copy of the record, advanced as if the messages so far had been sent
 * @known, @heard: its sets, unchanged
 * @leave_from: ids below it have been searched for leaves
 * @cut:        a peer that left when a part of its vectors had been sent: its leave came first
 * @wrapped:    the cursor has wrapped around
 * @join_end:   where the cursor stops: after wrapping, at the ids already in this plan
 */
struct plan {
	const struct ivs_roster *roster;
	unsigned int id;
	const uint64_t *known;
	const uint64_t *heard;
	unsigned int leave_from;
	unsigned int cut;
	bool wrapped;
	unsigned int join_end;
	struct ivs_roster_record self; /* without its sets; last, because it has a flexible array */
};

static bool plan_greeting(struct plan *plan, struct ivs_v0_message *out)
{
	static const enum ivs_v0_type types[GREETING_LEN] = {IVS_V0_VERSION, IVS_V0_ID,
							     IVS_V0_MEMORY};

	if (plan->self.greeting == GREETING_LEN)
		return false;
	out->type = types[plan->self.greeting++];
	if (out->type == IVS_V0_ID)
		out->id = plan->id;
	if (out->type == IVS_V0_MEMORY)
		plan->self.self_after = ivs_roster_visible_end(plan->roster);
	return true;
}

/* The next vector of the peer whose vectors were sent in part, if it is still visible. */
static bool plan_vector(struct plan *plan, struct ivs_v0_message *out)
{
	unsigned int id = plan->self.at_id;

	if (id == NO_ID || !ivs_bitmap_has(plan->roster->visible, id))
		return false;
	*out = (struct ivs_v0_message){IVS_V0_VECTOR, id, plan->self.at_vector++, -1};
	if (plan->self.at_vector == ivs_roster_record_of(plan->roster, id)->vectors_n)
		plan->self.at_id = NO_ID;
	return true;
}

/* The next peer that is known and not visible any more. */
static unsigned int next_leave(const struct plan *plan, unsigned int from)
{
	return ivs_bitmap_next_andnot(plan->known, plan->roster->visible, from,
				      plan->roster->ids_n);
}

static bool plan_leave(struct plan *plan, struct ivs_v0_message *out)
{
	unsigned int id = plan->self.at_id;

	/* In place of the rest of its vectors. */
	if (id != NO_ID) {
		plan->self.at_id = NO_ID;
		plan->cut = id;
	} else {
		id = next_leave(plan, plan->leave_from);
		if (id == plan->cut)
			id = next_leave(plan, id + 1);
		plan->leave_from = id + (id < plan->roster->ids_n);
		if (id == plan->roster->ids_n)
			return false;
	}
	*out = (struct ivs_v0_message){IVS_V0_LEAVE, id, 0, -1};
	return true;
}

/* The next peer of which the client has not heard, except itself. */
static unsigned int next_join(const struct plan *plan, unsigned int from, unsigned int end)
{
	const struct ivs_roster *roster = plan->roster;
	const uint64_t *heard = plan->heard;
	unsigned int id = ivs_bitmap_next_andnot(roster->visible, heard, from, end);

	if (id == plan->id)
		id = ivs_bitmap_next_andnot(roster->visible, heard, id + 1, end);
	return id;
}

static bool plan_join(struct plan *plan, struct ivs_v0_message *out)
{
	struct ivs_roster_record *self = &plan->self;
	unsigned int id = next_join(plan, self->cursor, plan->join_end);

	if (!self->knows_self && id >= self->self_after) {
		self->knows_self = true;
		id = plan->id;
	} else if (id < plan->join_end) {
		self->cursor = id + 1;
	} else if (!plan->wrapped) {
		plan->wrapped = true;
		plan->join_end = ivs_roster_record_of(plan->roster, plan->id)->cursor;
		self->cursor = 0;
		return plan_join(plan, out);
	} else {
		return false;
	}
	self->at_id = id;
	self->at_vector = 0;
	return plan_vector(plan, out);
}

unsigned int ivs_roster_due(const struct ivs_roster *roster, unsigned int id,
			    struct ivs_v0_message *out, unsigned int out_n)
{
	struct ivs_roster_record *record = ivs_roster_record_of(roster, id);
	struct plan plan = {
		.roster = roster,
		.id = id,
		.self = *record,
		.known = ivs_roster_known(record),
		.heard = ivs_roster_heard(roster, record),
		.cut = NO_ID,
		.join_end = roster->ids_n,
	};
	unsigned int n;

	for (n = 0; n < out_n; n++) {
		out[n] = (struct ivs_v0_message){.fd = -1};
		if (!plan_greeting(&plan, &out[n]) && !plan_vector(&plan, &out[n]) &&
		    !plan_leave(&plan, &out[n]) && !plan_join(&plan, &out[n]))
			break;
	}
	return n;
}

/* The rest of a peer sent in part, the leaves, the joins, and the client itself. */
uint64_t ivs_roster_behind(const struct ivs_roster *roster, unsigned int id)
{
	struct ivs_roster_record *self = ivs_roster_record_of(roster, id);
	const uint64_t *known = ivs_roster_known(self);
	const uint64_t *heard = ivs_roster_heard(roster, self);
	const uint64_t *visible = roster->visible;
	unsigned int end = roster->ids_n;
	uint64_t n = GREETING_LEN - self->greeting;

	if (self->at_id != NO_ID && ivs_bitmap_has(visible, self->at_id))
		n += ivs_roster_record_of(roster, self->at_id)->vectors_n - self->at_vector;
	for (unsigned int other = 0;
	     (other = ivs_bitmap_next_andnot(known, visible, other, end)) < end; other++)
		n++;
	for (unsigned int other = 0;
	     (other = ivs_bitmap_next_andnot(visible, heard, other, end)) < end; other++)
		n += other == id ? 0 : ivs_roster_record_of(roster, other)->vectors_n;
	return n + (self->knows_self ? 0 : self->vectors_n);
}
