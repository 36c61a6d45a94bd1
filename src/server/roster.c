/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation. Sets of ids, as bitmaps:
 *
 *   visible  those whom others are to know: there, greeted, with at least one vector
 *   known    per client: whom it takes to be there, having been told at least one vector
 *   heard    per client: whom it has ever known, under that id
 *   taken    ids of those who are there, or still known to somebody
 *   stale    ids that are taken, or of which somebody has heard
 *
 * What a client must be told is known minus visible (leaves) and visible minus heard (joins). Both
 * are found by looking through words, so a join costs every other client a few instructions and no
 * memory. A client in the middle of a peer's vectors remembers whose and which (at_id, at_vector).
 * Joins are told in the order of ids from a cursor upwards, once around; when the cursor has passed
 * those who were visible when the client's greeting was complete, it is the client's own turn.
 */
#include "server/roster.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "util/bitmap.h"

#define IDS_MAX (IVS_WIRE_ID_MAX + 1)
#define NOBODY IDS_MAX
#define GREETING_LEN 3 /* version, id, memory */

/**
 * struct client - somebody who is there
 * @vectors_n:  how many vectors it has
 * @greeting:   how many messages of the greeting it has been told
 * @at_id:      in the middle of whose vectors it is, or NOBODY
 * @at_vector:  which one is next
 * @cursor:     from which id upwards to look for joins
 * @knows_self: its own vectors have been told, or it has none
 * @self_after: the ids below which there was somebody to be told of before itself
 * @known, @heard: bitmaps of the roster's words_n words
 */
struct client {
	unsigned int vectors_n;
	unsigned int greeting;
	unsigned int at_id;
	unsigned int at_vector;
	unsigned int cursor;
	bool knows_self;
	unsigned int self_after;
	uint64_t *known;
	uint64_t *heard;
};

/**
 * struct id - what is known of one id
 * @client:    who has it, or NULL
 * @known_n:   to how many clients it is known
 * @heard_n:   how many clients have heard of it
 */
struct id {
	struct client *client;
	unsigned int known_n;
	unsigned int heard_n;
};

/**
 * struct ivs_roster - see the top of this file
 * @ids_n:   ids for which there is room, a multiple of a bitmap's word
 * @words_n: words in a bitmap
 * @stale_n: ids in @stale
 */
struct ivs_roster {
	unsigned int peers_max;
	unsigned int peers_n;
	unsigned int ids_n;
	unsigned int words_n;
	unsigned int stale_n;
	struct id *ids;
	uint64_t *visible;
	uint64_t *taken;
	uint64_t *stale;
};

static void free_client(struct client *client)
{
	if (!client)
		return;
	free(client->known);
	free(client->heard);
	free(client);
}

static struct client *new_client(unsigned int words_n, unsigned int vectors_n)
{
	struct client *client = calloc(1, sizeof(*client));

	if (!client)
		return NULL;
	client->vectors_n = vectors_n;
	client->knows_self = !vectors_n;
	client->at_id = NOBODY;
	client->known = calloc(words_n, sizeof(uint64_t));
	client->heard = calloc(words_n, sizeof(uint64_t));
	if (client->known && client->heard)
		return client;
	free_client(client);
	return NULL;
}

static int grow_bitmap(uint64_t **map, unsigned int from_n, unsigned int to_n)
{
	uint64_t *bigger = reallocarray(*map, to_n, sizeof(uint64_t));

	if (!bigger)
		return -ENOMEM;
	memset(bigger + from_n, 0, (to_n - from_n) * sizeof(uint64_t));
	*map = bigger;
	return 0;
}

/* Make room for @ids_n ids. What has grown when memory runs out may stay so: nobody relies on it.
 */
static int grow(struct ivs_roster *roster, unsigned int ids_n)
{
	unsigned int to_n = ids_n / IVS_BITMAP_BITS;
	unsigned int from_n = roster->words_n;
	struct id *ids;

	for (unsigned int id = 0; id < roster->ids_n; id++) {
		struct client *client = roster->ids[id].client;

		if (client && (grow_bitmap(&client->known, from_n, to_n) ||
			       grow_bitmap(&client->heard, from_n, to_n)))
			return -ENOMEM;
	}
	if (grow_bitmap(&roster->visible, from_n, to_n) ||
	    grow_bitmap(&roster->taken, from_n, to_n) || grow_bitmap(&roster->stale, from_n, to_n))
		return -ENOMEM;
	ids = reallocarray(roster->ids, ids_n, sizeof(*ids));
	if (!ids)
		return -ENOMEM;
	memset(ids + roster->ids_n, 0, (ids_n - roster->ids_n) * sizeof(*ids));
	roster->ids = ids;
	roster->ids_n = ids_n;
	roster->words_n = to_n;
	return 0;
}

int ivs_roster_new(unsigned int peers_max, struct ivs_roster **out)
{
	struct ivs_roster *roster = calloc(1, sizeof(*roster));

	if (!roster)
		return -ENOMEM;
	roster->peers_max = peers_max;
	if (grow(roster, IVS_BITMAP_BITS)) {
		ivs_roster_free(roster);
		return -ENOMEM;
	}
	*out = roster;
	return 0;
}

void ivs_roster_free(struct ivs_roster *roster)
{
	if (!roster)
		return;
	for (unsigned int id = 0; id < roster->ids_n; id++)
		free_client(roster->ids[id].client);
	free(roster->ids);
	free(roster->visible);
	free(roster->taken);
	free(roster->stale);
	free(roster);
}

/* The lowest number that is not in @map; ids_n if all are. */
static unsigned int lowest_absent(const struct ivs_roster *roster, const uint64_t *map)
{
	for (unsigned int word = 0; word < roster->words_n; word++) {
		if (~map[word])
			return word * IVS_BITMAP_BITS + (unsigned int)__builtin_ctzll(~map[word]);
	}
	return roster->ids_n;
}

/* Of the ids that are not taken the one of which the fewest have heard. Return: whether there is one. */
static bool least_heard(const struct ivs_roster *roster, unsigned int *out)
{
	unsigned int fewest = UINT_MAX;

	for (unsigned int id = 0; id < roster->ids_n; id++) {
		if (ivs_bitmap_has(roster->taken, id) || roster->ids[id].heard_n >= fewest)
			continue;
		fewest = roster->ids[id].heard_n;
		*out = id;
	}
	return fewest != UINT_MAX;
}

static int choose_id(struct ivs_roster *roster, unsigned int *id)
{
	*id = lowest_absent(roster, roster->stale);
	if (*id < roster->ids_n)
		return 0;
	if (roster->ids_n < IDS_MAX)
		return grow(roster, roster->ids_n * 2);
	return least_heard(roster, id) ? 0 : IVS_ROSTER_E_FULL;
}

/* After something about @id has changed. */
static void update_id(struct ivs_roster *roster, unsigned int id)
{
	const struct id *entry = &roster->ids[id];

	roster->stale_n -= ivs_bitmap_has(roster->stale, id);
	if (entry->client || entry->known_n)
		ivs_bitmap_add(roster->taken, id);
	else
		ivs_bitmap_remove(roster->taken, id);
	if (entry->client || entry->heard_n)
		ivs_bitmap_add(roster->stale, id);
	else
		ivs_bitmap_remove(roster->stale, id);
	roster->stale_n += ivs_bitmap_has(roster->stale, id);
}

int ivs_roster_join(struct ivs_roster *roster, unsigned int vectors_n, unsigned int *id)
{
	struct client *client;
	unsigned int chosen;
	int result;

	if (roster->peers_n == roster->peers_max)
		return IVS_ROSTER_E_FULL;
	result = choose_id(roster, &chosen);
	if (result)
		return result;
	client = new_client(roster->words_n, vectors_n);
	if (!client)
		return -ENOMEM;
	roster->ids[chosen].client = client;
	roster->peers_n++;
	update_id(roster, chosen);
	*id = chosen;
	return 0;
}

static void forget(struct ivs_roster *roster, struct client *client, unsigned int id)
{
	ivs_bitmap_remove(client->known, id);
	roster->ids[id].known_n--;
	update_id(roster, id);
}

void ivs_roster_leave(struct ivs_roster *roster, unsigned int id)
{
	struct client *client = roster->ids[id].client;
	unsigned int end = roster->ids_n;
	unsigned int other;

	for (other = 0; (other = ivs_bitmap_first_only(client->known, NULL, other, end)) < end;)
		forget(roster, client, other);
	for (other = 0; (other = ivs_bitmap_first_only(client->heard, NULL, other, end)) < end;
	     other++) {
		roster->ids[other].heard_n--;
		update_id(roster, other);
	}
	free_client(client);
	roster->ids[id].client = NULL;
	roster->peers_n--;
	ivs_bitmap_remove(roster->visible, id);
	update_id(roster, id);
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

/* Past the highest id that is visible. */
static unsigned int visible_end(const struct ivs_roster *roster)
{
	for (unsigned int word = roster->words_n; word--;) {
		if (roster->visible[word])
			return (word + 1) * IVS_BITMAP_BITS -
			       (unsigned int)__builtin_clzll(roster->visible[word]);
	}
	return 0;
}

static bool plan_greeting(struct plan *plan, struct ivs_wire_message *out)
{
	static const enum ivs_wire_type types[GREETING_LEN] = {IVS_WIRE_VERSION, IVS_WIRE_ID,
							       IVS_WIRE_MEMORY};

	if (plan->self.greeting == GREETING_LEN)
		return false;
	out->type = types[plan->self.greeting++];
	if (out->type == IVS_WIRE_ID)
		out->id = plan->id;
	if (out->type == IVS_WIRE_MEMORY)
		plan->self.self_after = visible_end(plan->roster);
	return true;
}

/* The next vector of the peer whose turn it is, if that is still there. */
static bool plan_vector(struct plan *plan, struct ivs_wire_message *out)
{
	unsigned int id = plan->self.at_id;

	if (id == NOBODY || !ivs_bitmap_has(plan->roster->visible, id))
		return false;
	*out = (struct ivs_wire_message){IVS_WIRE_VECTOR, id, plan->self.at_vector++, -1};
	if (plan->self.at_vector == plan->roster->ids[id].client->vectors_n)
		plan->self.at_id = NOBODY;
	return true;
}

static bool plan_leave(struct plan *plan, struct ivs_wire_message *out)
{
	const struct ivs_roster *roster = plan->roster;
	unsigned int id = ivs_bitmap_first_only(plan->self.known, roster->visible, plan->leave_from,
						roster->ids_n);

	plan->leave_from = id + (id < roster->ids_n);
	if (id == roster->ids_n)
		return false;
	plan->self.at_id = NOBODY;
	*out = (struct ivs_wire_message){IVS_WIRE_LEAVE, id, 0, -1};
	return true;
}

/* The next peer of whom the client has not heard, but not itself. */
static unsigned int next_join(const struct plan *plan, unsigned int from, unsigned int end)
{
	const struct ivs_roster *roster = plan->roster;
	const uint64_t *heard = plan->self.heard;
	unsigned int id = ivs_bitmap_first_only(roster->visible, heard, from, end);

	if (id == plan->id)
		id = ivs_bitmap_first_only(roster->visible, heard, id + 1, end);
	return id;
}

static bool plan_join(struct plan *plan, struct ivs_wire_message *out)
{
	struct client *self = &plan->self;
	unsigned int id = next_join(plan, self->cursor, plan->join_end);

	if (!self->knows_self && id >= self->self_after) {
		self->knows_self = true;
		id = plan->id;
	} else if (id < plan->join_end) {
		self->cursor = id + 1;
	} else if (!plan->wrapped) {
		plan->wrapped = true;
		plan->join_end = plan->roster->ids[plan->id].client->cursor;
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
		.self = *roster->ids[id].client,
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
	struct client *self = roster->ids[viewer].client;
	struct id *entry = &roster->ids[msg->id];

	if (!msg->vector && msg->id != viewer) {
		ivs_bitmap_add(self->known, msg->id);
		ivs_bitmap_add(self->heard, msg->id);
		entry->known_n++;
		entry->heard_n++;
		self->cursor = msg->id + 1;
	} else if (msg->id == viewer) {
		self->knows_self = true;
	}
	self->at_id = msg->id;
	self->at_vector = msg->vector + 1;
	if (self->at_vector == entry->client->vectors_n)
		self->at_id = NOBODY;
}

void ivs_roster_told(struct ivs_roster *roster, unsigned int id,
		     const struct ivs_wire_message *msgs, unsigned int msgs_n)
{
	struct client *self = roster->ids[id].client;

	for (unsigned int i = 0; i < msgs_n; i++) {
		switch (msgs[i].type) {
		case IVS_WIRE_VECTOR:
			told_vector(roster, id, &msgs[i]);
			break;
		case IVS_WIRE_LEAVE:
			self->at_id = NOBODY;
			forget(roster, self, msgs[i].id);
			break;
		default:
			self->greeting++;
			if (self->greeting != GREETING_LEN)
				break;
			self->self_after = visible_end(roster);
			if (self->vectors_n)
				ivs_bitmap_add(roster->visible, id);
		}
	}
}

bool ivs_roster_greeted(const struct ivs_roster *roster, unsigned int id)
{
	return roster->ids[id].client->greeting == GREETING_LEN;
}

bool ivs_roster_present(const struct ivs_roster *roster, unsigned int id)
{
	return id < roster->ids_n && roster->ids[id].client;
}

unsigned int ivs_roster_unheard(const struct ivs_roster *roster)
{
	return IDS_MAX - roster->stale_n;
}

unsigned int ivs_roster_peers(const struct ivs_roster *roster)
{
	return roster->peers_n;
}
