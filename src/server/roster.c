/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation. Three sets of ids, as bitmaps:
 *
 *   used     ids that cannot be given: somebody is there, or left and is still known to somebody
 *   visible  those whom others are to know: there, greeted, with at least one vector
 *   known    per client: of whom it has been told at least one vector
 *
 * What a client must be told is known minus visible (leaves) and visible minus known (joins). Both
 * are found by looking through words, so a join costs every other client a few instructions and no
 * memory. A client in the middle of a peer's vectors remembers whose and which (at_id, at_vector).
 * Joins are told in the order of ids from a cursor upwards, once around; when the cursor has passed
 * the last one for the first time, it is the client's own turn.
 */
#include "server/roster.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "util/bitmap.h"

#define IDS_MAX (IVS_WIRE_ID_MAX + 1)
#define NOBODY IDS_MAX
#define GREETING_LEN 3 /* version, id, memory */

/**
 * struct client - one id
 * @present:    somebody is there
 * @vectors_n:  how many vectors it has
 * @knowers_n:  how many others know it
 * @greeting:   how many messages of the greeting it has been told
 * @at_id:      in the middle of whose vectors it is, or NOBODY
 * @at_vector:  which one is next
 * @cursor:     from which id upwards to look for joins
 * @knows_self: its own vectors have been told, or it has none
 */
struct client {
	bool present;
	bool knows_self;
	unsigned int vectors_n;
	unsigned int knowers_n;
	unsigned int greeting;
	unsigned int at_id;
	unsigned int at_vector;
	unsigned int cursor;
};

/**
 * struct ivs_roster - see the top of this file
 * @ids_n:   ids for which there is room, a multiple of a bitmap's word
 * @words_n: words in a bitmap
 * @clients: by id
 * @known:   ids_n bitmaps, one behind the other
 */
struct ivs_roster {
	unsigned int peers_max;
	unsigned int peers_n;
	unsigned int ids_n;
	unsigned int words_n;
	struct client *clients;
	uint64_t *used;
	uint64_t *visible;
	uint64_t *known;
};

static uint64_t *known_by(const struct ivs_roster *roster, unsigned int id)
{
	return roster->known + (size_t)id * roster->words_n;
}

static void free_tables(struct ivs_roster *roster)
{
	free(roster->clients);
	free(roster->used);
	free(roster->visible);
	free(roster->known);
}

/* Make room for @ids_n ids; all or nothing. */
static int grow(struct ivs_roster *roster, unsigned int ids_n)
{
	unsigned int words_n = ids_n / IVS_BITMAP_BITS;
	struct ivs_roster bigger = *roster;
	size_t words_len = roster->words_n * sizeof(uint64_t);

	bigger.ids_n = ids_n;
	bigger.words_n = words_n;
	bigger.clients = calloc(ids_n, sizeof(*bigger.clients));
	bigger.used = calloc(words_n, sizeof(uint64_t));
	bigger.visible = calloc(words_n, sizeof(uint64_t));
	bigger.known = calloc((size_t)ids_n * words_n, sizeof(uint64_t));
	if (!bigger.clients || !bigger.used || !bigger.visible || !bigger.known) {
		free_tables(&bigger);
		return -ENOMEM;
	}
	if (roster->ids_n) {
		memcpy(bigger.clients, roster->clients, roster->ids_n * sizeof(*bigger.clients));
		memcpy(bigger.used, roster->used, words_len);
		memcpy(bigger.visible, roster->visible, words_len);
	}
	for (unsigned int id = 0; id < roster->ids_n; id++)
		memcpy(known_by(&bigger, id), known_by(roster, id), words_len);
	free_tables(roster);
	*roster = bigger;
	return 0;
}

int ivs_roster_new(unsigned int peers_max, struct ivs_roster **out)
{
	struct ivs_roster *roster = calloc(1, sizeof(*roster));

	if (!roster)
		return -ENOMEM;
	roster->peers_max = peers_max;
	if (grow(roster, IVS_BITMAP_BITS)) {
		free(roster);
		return -ENOMEM;
	}
	*out = roster;
	return 0;
}

void ivs_roster_free(struct ivs_roster *roster)
{
	if (!roster)
		return;
	free_tables(roster);
	free(roster);
}

static int lowest_free_id(struct ivs_roster *roster, unsigned int *id)
{
	unsigned int words_n = roster->words_n;
	int result;

	for (unsigned int word = 0; word < words_n; word++) {
		if (~roster->used[word]) {
			*id = word * IVS_BITMAP_BITS +
			      (unsigned int)__builtin_ctzll(~roster->used[word]);
			return 0;
		}
	}
	*id = roster->ids_n;
	if (roster->ids_n == IDS_MAX)
		return IVS_ROSTER_E_FULL;
	result = grow(roster, roster->ids_n * 2);
	return result;
}

int ivs_roster_join(struct ivs_roster *roster, unsigned int vectors_n, unsigned int *id)
{
	unsigned int lowest;
	int result;

	if (roster->peers_n == roster->peers_max)
		return IVS_ROSTER_E_FULL;
	result = lowest_free_id(roster, &lowest);
	if (result)
		return result;
	roster->clients[lowest] = (struct client){
		.present = true,
		.knows_self = !vectors_n,
		.vectors_n = vectors_n,
		.at_id = NOBODY,
	};
	ivs_bitmap_add(roster->used, lowest);
	roster->peers_n++;
	*id = lowest;
	return 0;
}

static void free_id_if_unknown(struct ivs_roster *roster, unsigned int id)
{
	const struct client *client = &roster->clients[id];

	if (!client->present && !client->knowers_n)
		ivs_bitmap_remove(roster->used, id);
}

static void forget(struct ivs_roster *roster, unsigned int viewer, unsigned int id)
{
	ivs_bitmap_remove(known_by(roster, viewer), id);
	roster->clients[id].knowers_n--;
	free_id_if_unknown(roster, id);
}

void ivs_roster_leave(struct ivs_roster *roster, unsigned int id)
{
	struct client *client = &roster->clients[id];
	const uint64_t *known = known_by(roster, id);
	unsigned int other = 0;

	while ((other = ivs_bitmap_first_only(known, NULL, other, roster->ids_n)) < roster->ids_n)
		forget(roster, id, other);
	client->present = false;
	roster->peers_n--;
	ivs_bitmap_remove(roster->visible, id);
	free_id_if_unknown(roster, id);
}

/**
 * struct plan - a walk through what is due, which changes nothing but itself
 * @self: a copy of the client, advanced as if the messages so far had left
 * @leave_from: ids below it have been looked through for leaves
 * @wrapped:    the cursor has gone around
 * @join_end:   where it stops: after going around, at the ids already in this plan
 */
struct plan {
	const struct ivs_roster *roster;
	unsigned int id;
	struct client self;
	unsigned int leave_from;
	bool wrapped;
	unsigned int join_end;
};

static bool plan_greeting(struct plan *plan, struct ivs_wire_message *out)
{
	static const enum ivs_wire_type types[GREETING_LEN] = {IVS_WIRE_VERSION, IVS_WIRE_ID,
							       IVS_WIRE_MEMORY};

	if (plan->self.greeting == GREETING_LEN)
		return false;
	out->type = types[plan->self.greeting++];
	if (out->type == IVS_WIRE_ID)
		out->id = plan->id;
	return true;
}

/* The next vector of the peer whose turn it is, if that is still there. */
static bool plan_vector(struct plan *plan, struct ivs_wire_message *out)
{
	unsigned int id = plan->self.at_id;

	if (id == NOBODY || !ivs_bitmap_has(plan->roster->visible, id))
		return false;
	*out = (struct ivs_wire_message){IVS_WIRE_VECTOR, id, plan->self.at_vector++, -1};
	if (plan->self.at_vector == plan->roster->clients[id].vectors_n)
		plan->self.at_id = NOBODY;
	return true;
}

static bool plan_leave(struct plan *plan, struct ivs_wire_message *out)
{
	const struct ivs_roster *roster = plan->roster;
	unsigned int id = ivs_bitmap_first_only(known_by(roster, plan->id), roster->visible,
						plan->leave_from, roster->ids_n);

	plan->leave_from = id + (id < roster->ids_n);
	if (id == roster->ids_n)
		return false;
	plan->self.at_id = NOBODY;
	*out = (struct ivs_wire_message){IVS_WIRE_LEAVE, id, 0, -1};
	return true;
}

/* The next peer that the client does not know, but not itself. */
static unsigned int next_join(const struct plan *plan, unsigned int from, unsigned int end)
{
	const struct ivs_roster *roster = plan->roster;
	const uint64_t *known = known_by(roster, plan->id);
	unsigned int id = ivs_bitmap_first_only(roster->visible, known, from, end);

	if (id == plan->id)
		id = ivs_bitmap_first_only(roster->visible, known, id + 1, end);
	return id;
}

static bool plan_join(struct plan *plan, struct ivs_wire_message *out)
{
	struct client *self = &plan->self;
	unsigned int id = next_join(plan, self->cursor, plan->join_end);

	if (id < plan->join_end) {
		self->cursor = id + 1;
	} else if (!self->knows_self) {
		self->knows_self = true;
		id = plan->id;
	} else if (!plan->wrapped) {
		plan->wrapped = true;
		plan->join_end = plan->roster->clients[plan->id].cursor;
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
			    struct ivs_wire_message *out, unsigned int out_n)
{
	struct plan plan = {
		.roster = roster,
		.id = id,
		.self = roster->clients[id],
		.join_end = roster->ids_n,
	};
	unsigned int n;

	for (n = 0; n < out_n; n++) {
		out[n] = (struct ivs_wire_message){.fd = -1};
		if (!plan_greeting(&plan, &out[n]) && !plan_vector(&plan, &out[n]) &&
		    !plan_leave(&plan, &out[n]) && !plan_join(&plan, &out[n]))
			break;
	}
	return n;
}

/* The same steps as in a plan, for good. */
static void told_vector(struct ivs_roster *roster, unsigned int viewer,
			const struct ivs_wire_message *msg)
{
	struct client *self = &roster->clients[viewer];

	if (!msg->vector && msg->id != viewer) {
		ivs_bitmap_add(known_by(roster, viewer), msg->id);
		roster->clients[msg->id].knowers_n++;
		self->cursor = msg->id + 1;
	} else if (msg->id == viewer) {
		self->knows_self = true;
	}
	self->at_id = msg->id;
	self->at_vector = msg->vector + 1;
	if (self->at_vector == roster->clients[msg->id].vectors_n)
		self->at_id = NOBODY;
}

void ivs_roster_told(struct ivs_roster *roster, unsigned int id,
		     const struct ivs_wire_message *msgs, unsigned int msgs_n)
{
	struct client *self = &roster->clients[id];

	for (unsigned int i = 0; i < msgs_n; i++) {
		switch (msgs[i].type) {
		case IVS_WIRE_VECTOR:
			told_vector(roster, id, &msgs[i]);
			break;
		case IVS_WIRE_LEAVE:
			self->at_id = NOBODY;
			forget(roster, id, msgs[i].id);
			break;
		default:
			self->greeting++;
			if (self->greeting == GREETING_LEN && self->vectors_n)
				ivs_bitmap_add(roster->visible, id);
		}
	}
}

bool ivs_roster_greeted(const struct ivs_roster *roster, unsigned int id)
{
	return roster->clients[id].greeting == GREETING_LEN;
}

bool ivs_roster_present(const struct ivs_roster *roster, unsigned int id)
{
	return id < roster->ids_n && roster->clients[id].present;
}

unsigned int ivs_roster_peers(const struct ivs_roster *roster)
{
	return roster->peers_n;
}
