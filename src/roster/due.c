/* SPDX-License-Identifier: BSD-3-Clause */
/* Planning the messages that are due to a client. This does not change the roster. */
#include "roster/private.h"

/**
 * struct plan - state of the planning
 * @self: a copy of the client's record, advanced as if the messages planned so far had been sent
 * @known, @outdated: the client's sets, unchanged
 * @leave_from: ids below this have been searched for leaves
 * @cut:        a peer that left when its vectors had been only partly sent; its leave is planned
 * @wrapped:    the cursor has wrapped around to 0
 * @join_end:   the id at which the cursor stops; after wrapping, the id from which it started
 */
struct plan {
	const struct ivs_roster *roster;
	unsigned int id;
	const uint64_t *known;
	const uint64_t *outdated;
	unsigned int leave_from;
	unsigned int cut;
	bool wrapped;
	unsigned int join_end;
	struct ivs_roster_record self; /* without the sets; last, as its array is flexible */
};

/*
 * The peers of which the client must be sent the leave: those it knows that are no longer visible,
 * or whose id has another owner. There are none if the client is quiet.
 */
static uint64_t leaves_in(const void *set, unsigned int word)
{
	const struct plan *plan = set;

	return plan->known[word] & (plan->outdated[word] | ~plan->roster->visible[word]);
}

/* The peers of which the client must be sent the vectors once it has been sent all leaves. */
static uint64_t joins_in(const void *set, unsigned int word)
{
	const struct plan *plan = set;
	uint64_t others = plan->roster->visible[word];

	if (plan->id / IVS_BITMAP_BITS == word)
		others &= ~(UINT64_C(1) << (plan->id % IVS_BITMAP_BITS));
	return others & (plan->outdated[word] | ~plan->known[word]);
}

/*
 * Return: whether vectors of peer @id may be sent. A quiet client needs all vectors of a seat even
 * if the seat is vacant.
 */
static bool is_sendable(const struct plan *plan, unsigned int id)
{
	if (plan->self.quiet)
		return plan->roster->ids[id].record != NO_RECORD;
	return ivs_bitmap_has(plan->roster->visible, id) && !ivs_bitmap_has(plan->outdated, id);
}

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

/* Plan the next vector of the peer whose vectors have been only partly sent. */
static bool plan_vector(struct plan *plan, struct ivs_v0_message *out)
{
	unsigned int id = plan->self.at_id;

	if (id == NO_ID || !is_sendable(plan, id))
		return false;
	*out = (struct ivs_v0_message){IVS_V0_VECTOR, id, plan->self.at_vector++, -1};
	if (plan->self.at_vector == ivs_roster_record_of(plan->roster, id)->vectors_n)
		plan->self.at_id = NO_ID;
	return true;
}

static unsigned int next_leave(const struct plan *plan, unsigned int from)
{
	return ivs_bitmap_next_in(leaves_in, plan, from, plan->roster->ids_n);
}

static bool plan_leave(struct plan *plan, struct ivs_v0_message *out)
{
	unsigned int id = plan->self.at_id;

	if (plan->self.quiet)
		return false;
	/* The leave replaces the peer's remaining vectors. */
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

static bool plan_join(struct plan *plan, struct ivs_v0_message *out)
{
	struct ivs_roster_record *self = &plan->self;
	unsigned int id = ivs_bitmap_next_in(joins_in, plan, self->cursor, plan->join_end);

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

static struct plan begin_plan(const struct ivs_roster *roster, unsigned int id)
{
	struct ivs_roster_record *record = ivs_roster_record_of(roster, id);

	return (struct plan){
		.roster = roster,
		.id = id,
		.self = *record,
		.known = ivs_roster_known(record),
		.outdated = ivs_roster_outdated(roster, record),
		.cut = NO_ID,
		.join_end = roster->ids_n,
	};
}

unsigned int ivs_roster_due(const struct ivs_roster *roster, unsigned int id,
			    struct ivs_v0_message *out, unsigned int out_n)
{
	struct plan plan = begin_plan(roster, id);
	unsigned int n;

	for (n = 0; n < out_n; n++) {
		out[n] = (struct ivs_v0_message){.fd = -1};
		if (!plan_greeting(&plan, &out[n]) && !plan_vector(&plan, &out[n]) &&
		    !plan_leave(&plan, &out[n]) && !plan_join(&plan, &out[n]))
			break;
	}
	return n;
}

/*
 * Count the rest of the greeting and of a partly sent peer, then the leaves, the joins, and the
 * client's own vectors.
 */
uint64_t ivs_roster_behind(const struct ivs_roster *roster, unsigned int id)
{
	const struct plan plan = begin_plan(roster, id);
	const struct ivs_roster_record *self = &plan.self;
	unsigned int end = roster->ids_n;
	uint64_t n = GREETING_LEN - self->greeting;

	if (self->at_id != NO_ID && is_sendable(&plan, self->at_id))
		n += ivs_roster_record_of(roster, self->at_id)->vectors_n - self->at_vector;
	for (unsigned int other = 0; !self->quiet && (other = next_leave(&plan, other)) < end;
	     other++)
		n++;
	for (unsigned int other = 0;
	     (other = ivs_bitmap_next_in(joins_in, &plan, other, end)) < end; other++)
		n += ivs_roster_record_of(roster, other)->vectors_n;
	return n + (self->knows_self ? 0 : self->vectors_n);
}
