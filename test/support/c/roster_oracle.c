/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "support/c/roster_oracle.h"

static const char *const type_names[] = {"VERSION", "ID", "MEMORY", "VECTOR", "LEAVE"};

struct oracle *oracle_new(void)
{
	struct oracle *o = calloc(1, sizeof(*o));

	if (!o)
		abort();
	return o;
}

void oracle_free(struct oracle *o)
{
	ivs_roster_free(o->roster);
	free(o->memory.base);
	ivs_roster_free(o->twin);
	for (unsigned int id = 0; id < ORACLE_IDS; id++)
		free(o->view[id].list);
	free(o);
}

static bool IVS_PRINTF(2, 3) wrong(struct oracle *o, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(o->wrong, sizeof(o->wrong), fmt, args);
	va_end(args);
	if (o->trace)
		fprintf(o->trace, "wrong: %s\n", o->wrong);
	return false;
}

static void view_clear(struct oracle *o, unsigned int id)
{
	struct oracle_view *view = &o->view[id];

	view->stage = 0;
	view->list_n = 0;
	memset(view->heard, 0, sizeof(view->heard[0]) * o->ids_end);
	memset(view->awaited, 0, sizeof(view->awaited[0]) * o->ids_end);
}

/* Overwrite the discarded memory, so that a roster that still uses its content fails the test. */
static void spoil(struct ivs_roster_memory *memory, size_t offset, size_t len, bool zero)
{
	memset(memory->base + offset, zero ? 0 : 0xa5, len);
}

void oracle_begin(struct oracle *o, unsigned int peers_max, bool twin)
{
	for (unsigned int id = 0; id < o->ids_end; id++)
		view_clear(o, id);
	memset(o->present, 0, sizeof(o->present));
	memset(o->vacant, 0, sizeof(o->vacant));
	memset(o->vectors, 0, sizeof(o->vectors));
	o->ids_end = 0;
	o->peers_n = 0;
	o->fillers = 0;
	o->peers_max = peers_max;
	o->wrong[0] = '\0';
	ivs_roster_free(o->roster);
	ivs_roster_free(o->twin);
	o->twin = NULL;
	free(o->memory.base);
	o->memory = (struct ivs_roster_memory){.grow = ivs_roster_heap_grow, .discard = spoil};
	if (ivs_roster_new(peers_max, &o->memory, &o->roster) != 0 ||
	    (twin && ivs_roster_new(peers_max, NULL, &o->twin) != 0))
		abort();
	if (o->trace)
		fprintf(o->trace, "history: room for %u\n", peers_max);
}

/* Check that the roster reports the correct ids and the correct number of peers. */
static bool same_world(struct oracle *o)
{
	if (ivs_roster_peers(o->roster) != o->peers_n)
		return wrong(o, "the roster has %u peers, not %u", ivs_roster_peers(o->roster),
			     o->peers_n);
	/* Also look up the id after the last one, which has no peer. */
	for (unsigned int id = 0; id <= o->ids_end; id++) {
		if (ivs_roster_present(o->roster, id) != o->present[id])
			return wrong(o, "present(%u) is not %d", id, o->present[id]);
		if ((ivs_roster_next_vacant(o->roster, id) == id) != o->vacant[id])
			return wrong(o, "vacant(%u) is not %d", id, o->vacant[id]);
		if (o->present[id] && ivs_roster_greeted(o->roster, id) != (o->view[id].stage == 3))
			return wrong(o, "greeted(%u) is not %d", id, o->view[id].stage == 3);
	}
	return true;
}

static bool has_seat(const struct oracle *o, unsigned int id)
{
	return o->present[id] || o->vacant[id];
}

/* Return: the number of connected clients that know @id. @quiet: count only those that are quiet */
static unsigned int knowers(const struct oracle *o, unsigned int id, bool quiet)
{
	unsigned int n = 0;

	for (unsigned int c = 0; c < o->ids_end; c++)
		n += o->present[c] && c != id && o->view[c].heard[id] && (o->quiet[c] || !quiet);
	return n;
}

static bool is_free(const struct oracle *o, unsigned int id)
{
	return !has_seat(o, id) && !knowers(o, id, false);
}

static void has_joined(struct oracle *o, unsigned int id, const struct ivs_roster_newcomer *who)
{
	if (id >= o->ids_end)
		o->ids_end = id + 1;
	view_clear(o, id);
	o->present[id] = true;
	o->vacant[id] = false;
	o->quiet[id] = who->quiet;
	o->owner[id] = ++o->owners_n;
	o->vectors[id] = (uint8_t)who->vectors_n;
	o->peers_n++;
}

bool oracle_take(struct oracle *o, unsigned int id, bool quiet)
{
	const struct ivs_roster_newcomer who = {.vectors_n = o->vectors[id], .quiet = quiet};
	uint64_t seat = ivs_roster_seat_serial(o->roster, id);
	int rc = ivs_roster_join_seat(o->roster, &who, id);

	if (o->trace)
		fprintf(o->trace, "%s takes seat %u: %d\n", quiet ? "quiet" : "other", id, rc);
	if (o->twin && ivs_roster_join_seat(o->twin, &who, id) != rc)
		return wrong(o, "the twin's join differs");
	if (rc != (o->peers_n == o->peers_max ? IVS_ROSTER_E_FULL : 0))
		return wrong(o, "taking seat %u: %d", id, rc);
	if (rc)
		return same_world(o);
	has_joined(o, id, &who);
	if (ivs_roster_seat_serial(o->roster, id) != seat)
		return wrong(o, "the serial of seat %u has changed", id);
	return same_world(o);
}

bool oracle_give_up(struct oracle *o, unsigned int id)
{
	if (o->trace)
		fprintf(o->trace, "seat %u is given up\n", id);
	ivs_roster_give_up(o->roster, id);
	if (o->twin)
		ivs_roster_give_up(o->twin, id);
	o->vacant[id] = false;
	return same_world(o);
}

bool oracle_join(struct oracle *o, unsigned int vectors_n, bool quiet)
{
	const struct ivs_roster_newcomer who = {.vectors_n = vectors_n, .quiet = quiet};
	unsigned int want = 0, got = ORACLE_IDS, got_twin = ORACLE_IDS;
	int rc = ivs_roster_join(o->roster, &who, &got);

	if (o->trace)
		fprintf(o->trace, "join of %u vectors%s: %d, id %u\n", vectors_n,
			quiet ? ", quiet" : "", rc, got);
	if (o->twin && (ivs_roster_join(o->twin, &who, &got_twin) != rc || got_twin != got))
		return wrong(o, "the twin's join differs");
	if (o->peers_n == o->peers_max) {
		if (rc != IVS_ROSTER_E_FULL)
			return wrong(o, "join into a full roster: %d", rc);
		return same_world(o);
	}
	while (!is_free(o, want))
		want++;
	if (want >= ORACLE_IDS - 1)
		abort(); /* this history is too long for the oracle */
	if (rc != 0 || got != want)
		return wrong(o, "join: result %d, id %u instead of %u", rc, got, want);
	has_joined(o, want, &who);
	return same_world(o);
}

bool oracle_fill(struct oracle *o, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		if (!oracle_join(o, 0, false))
			return false;
	}
	o->fillers = n;
	return true;
}

/*
 * @kept: whether the seat stays
 * @swept: the roster has already given up the seats that are no longer needed; the twin has not
 */
static bool has_left(struct oracle *o, unsigned int id, bool kept, bool swept)
{
	if (o->twin && ivs_roster_leave(o->twin, id) != kept)
		return wrong(o, "the twin's leave of %u differs", id);
	o->present[id] = false;
	o->vacant[id] = kept;
	o->peers_n--;
	for (unsigned int c = 0; c < o->ids_end; c++)
		o->view[c].awaited[id] = false;
	for (unsigned int seat = 0; seat < o->ids_end; seat++) {
		bool needed = knowers(o, seat, true);

		if (!o->vacant[seat])
			continue;
		if (!swept && ivs_roster_is_needed(o->roster, seat) != needed)
			return wrong(o, "whether the seat %u is needed is not %d", seat, needed);
		if (!needed && !swept && !oracle_give_up(o, seat))
			return false;
		if (!needed && swept && o->twin)
			ivs_roster_give_up(o->twin, seat);
		o->vacant[seat] = needed;
	}
	return same_world(o);
}

bool oracle_leave(struct oracle *o, unsigned int id)
{
	bool kept = knowers(o, id, true);

	if (o->trace)
		fprintf(o->trace, "%u leaves\n", id);
	if (ivs_roster_leave(o->roster, id) != kept)
		return wrong(o, "leave(%u) did not return %d", id, kept);
	return has_left(o, id, kept, false);
}

bool oracle_resume(struct oracle *o, unsigned int in_doubt)
{
	struct ivs_roster_memory copy = o->memory;
	int rc;

	if (o->trace)
		fprintf(o->trace, "another process resumes, %u in doubt\n", in_doubt);
	if (in_doubt < ORACLE_IDS)
		ivs_roster_begin_send(o->roster, in_doubt);
	copy.base = malloc(copy.len);
	if (!copy.base)
		abort();
	memcpy(copy.base, o->memory.base, copy.len);
	ivs_roster_free(o->roster);
	free(o->memory.base);
	o->memory = copy;
	rc = ivs_roster_resume(o->peers_max, &o->memory, &o->roster);
	if (rc) {
		o->roster = NULL;
		return wrong(o, "cannot resume: %d", rc);
	}
	if (in_doubt < ORACLE_IDS)
		return has_left(o, in_doubt, knowers(o, in_doubt, true), true);
	return same_world(o);
}

/*
 * Return: whether @peer may be announced to @client: it is connected, and either visible or @client
 * itself.
 */
static bool is_news(const struct oracle *o, unsigned int client, unsigned int peer)
{
	return o->present[peer] && (peer == client || o->view[peer].stage == 3);
}

/* Return: whether @client, which is not quiet, knows an owner of @peer that has left. */
static bool is_outdated(const struct oracle *o, unsigned int client, unsigned int peer)
{
	const struct oracle_view *view = &o->view[client];

	return !o->quiet[client] && view->heard[peer] > 0 &&
	       (!o->present[peer] || view->owner[peer] != o->owner[peer]);
}

/*
 * Return: whether @client, which has been sent @heard vectors of @peer, needs all of them. A quiet
 * client knows seats and not their owners.
 */
static bool needs_vectors(const struct oracle *o, unsigned int client, unsigned int peer,
			  unsigned int heard)
{
	if (o->quiet[client] && heard)
		return has_seat(o, peer);
	return is_news(o, client, peer);
}

bool oracle_pending(const struct oracle *o, unsigned int id)
{
	const struct oracle_view *view = &o->view[id];

	if (view->stage < 3)
		return true;
	for (unsigned int p = 0; p < o->ids_end; p++) {
		if (is_outdated(o, id, p))
			return true;
		if (needs_vectors(o, id, p, view->heard[p]) && view->heard[p] < o->vectors[p])
			return true;
	}
	return false;
}

/* Return: the rule about the greeting that @msg violates, or NULL. */
static const char *judge_greeting(unsigned int client, unsigned int stage,
				  const struct ivs_v0_message *msg)
{
	static const enum ivs_v0_type want[] = {IVS_V0_VERSION, IVS_V0_ID, IVS_V0_MEMORY};

	if (msg->type != want[stage])
		return "the greeting comes first: version, id, memory";
	if (msg->id != (stage == 1 ? client : 0))
		return "the greeting has the client's own id";
	return NULL;
}

static const char *judge_vector(const struct oracle *o, unsigned int client,
				const struct ivs_v0_message *msg)
{
	const struct oracle_view *view = &o->view[client];

	if (!needs_vectors(o, client, msg->id, view->heard[msg->id]))
		return "only vectors of peers that are connected and visible, or of known seats";
	if (is_outdated(o, client, msg->id))
		return "the leave comes before the vectors of the next owner";
	if (view->heard[msg->id] >= o->vectors[msg->id])
		return "no more vectors than the peer has";
	if (msg->vector != view->heard[msg->id])
		return "the vectors of a peer are in order";
	if (msg->id != client || msg->vector > 0)
		return NULL;
	for (unsigned int p = 0; p < o->ids_end; p++) {
		if (view->awaited[p] && p != client && view->heard[p] < o->vectors[p])
			return "own vectors follow those of visible peers";
	}
	return NULL;
}

/* Return: the rule of roster.h that sending @msg to @client now would violate, or NULL. */
static const char *judge(const struct oracle *o, unsigned int client,
			 const struct ivs_v0_message *msg)
{
	const struct oracle_view *view = &o->view[client];
	bool leaves = false;

	if (msg->fd != -1)
		return "the fds are all -1";
	if (view->stage < 3)
		return judge_greeting(client, view->stage, msg);
	if (msg->type != IVS_V0_VECTOR && msg->type != IVS_V0_LEAVE)
		return "only one greeting";
	if (msg->id >= o->ids_end)
		return "only ids that a peer has had";
	for (unsigned int p = 0; p < o->ids_end; p++) {
		if (view->heard[p] == 0)
			continue;
		leaves = leaves || is_outdated(o, client, p);
		if (o->quiet[client] && !has_seat(o, p))
			continue; /* the rest of this peer's vectors no longer exists */
		if (view->heard[p] < o->vectors[p] && msg->id != p)
			return "nothing between the vectors of one peer";
	}
	if (msg->type == IVS_V0_VECTOR) {
		if (leaves && view->heard[msg->id] == 0)
			return "leaves before joins";
		return judge_vector(o, client, msg);
	}
	if (msg->id == client)
		return "no leave of the client itself";
	if (o->quiet[client])
		return "no leave to a quiet client";
	if (view->heard[msg->id] == 0)
		return "only leaves of peers of which it has received a vector";
	return is_outdated(o, client, msg->id) ? NULL : "no leave of a connected peer";
}

/* Record that @msg, which has been checked, was sent to @client. */
static void hear(struct oracle *o, unsigned int client, const struct ivs_v0_message *msg)
{
	struct oracle_view *view = &o->view[client];

	if (msg->type == IVS_V0_VECTOR) {
		if (!view->heard[msg->id]++)
			view->owner[msg->id] = o->owner[msg->id];
		return;
	}
	if (msg->type == IVS_V0_LEAVE) {
		view->heard[msg->id] = 0;
		return;
	}
	if (++view->stage < 3)
		return;
	for (unsigned int p = 0; p < o->ids_end; p++)
		view->awaited[p] = p != client && is_news(o, client, p);
}

static bool same_messages(const struct ivs_v0_message *a, const struct ivs_v0_message *b,
			  unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		if (a[i].type != b[i].type || a[i].id != b[i].id || a[i].vector != b[i].vector ||
		    a[i].fd != b[i].fd)
			return false;
	}
	return true;
}

/*
 * Request @ask messages twice, to check that ivs_roster_due() changes nothing and writes nothing
 * beyond @ask messages.
 */
static bool due(struct oracle *o, unsigned int id, unsigned int ask, struct ivs_v0_message *msgs,
		unsigned int *msgs_n)
{
	struct ivs_v0_message again[ORACLE_ASK + 1];
	unsigned int n;

	msgs[ask].id = 0xdead;
	n = *msgs_n = ivs_roster_due(o->roster, id, msgs, ask);
	if (n > ask || msgs[ask].id != 0xdead)
		return wrong(o, "more messages are due for %u than were requested", id);
	if (ivs_roster_due(o->roster, id, again, ask) != n || !same_messages(msgs, again, n))
		return wrong(o, "reading what is due for %u changed the roster", id);
	if ((n > 0) != oracle_pending(o, id))
		return wrong(o, "due for %u: %u messages, but %s", id, n,
			     n > 0 ? "it knows everything" : "some are due");
	return true;
}

/*
 * Check all @msgs_n messages as if all were sent, then restore the model. The caller may send fewer
 * of them, but all must be valid.
 */
static bool judge_all(struct oracle *o, unsigned int id, const struct ivs_v0_message *msgs,
		      unsigned int msgs_n)
{
	struct oracle_view *view = &o->view[id];
	uint8_t heard[ORACLE_IDS];
	bool awaited[ORACLE_IDS];
	unsigned long owner[ORACLE_IDS];
	unsigned int stage = view->stage;
	const char *why = NULL;

	memcpy(heard, view->heard, sizeof(heard[0]) * o->ids_end);
	memcpy(owner, view->owner, sizeof(owner[0]) * o->ids_end);
	memcpy(awaited, view->awaited, sizeof(awaited[0]) * o->ids_end);
	for (unsigned int i = 0; i < msgs_n && !why; i++) {
		why = judge(o, id, &msgs[i]);
		if (o->trace)
			fprintf(o->trace, "  %u is due %s %u.%u: %s\n", id,
				type_names[msgs[i].type], msgs[i].id, msgs[i].vector,
				why ? why : "right");
		if (why)
			wrong(o, "%u is sent %s %u.%u, which violates \"%s\"", id,
			      type_names[msgs[i].type], msgs[i].id, msgs[i].vector, why);
		else
			hear(o, id, &msgs[i]);
	}
	memcpy(view->heard, heard, sizeof(heard[0]) * o->ids_end);
	memcpy(view->owner, owner, sizeof(owner[0]) * o->ids_end);
	memcpy(view->awaited, awaited, sizeof(awaited[0]) * o->ids_end);
	view->stage = stage;
	return !why;
}

static void list_add(struct oracle_view *view, const struct ivs_v0_message *msg)
{
	if (view->list_n == view->list_room) {
		view->list_room = view->list_room ? 2 * view->list_room : 64;
		view->list = realloc(view->list, view->list_room * sizeof(view->list[0]));
		if (!view->list)
			abort();
	}
	view->list[view->list_n++] = *msg;
}

/* Read one message at a time from the twin, which must yield the same sequence. */
static bool tell_twin(struct oracle *o, unsigned int id, const struct ivs_v0_message *msgs,
		      unsigned int msgs_n)
{
	for (unsigned int i = 0; i < msgs_n; i++) {
		struct ivs_v0_message one;

		if (ivs_roster_due(o->twin, id, &one, 1) != 1 || !same_messages(&one, &msgs[i], 1))
			return wrong(o, "when read one at a time, message %u for %u differs", i,
				     id);
		ivs_roster_end_send(o->twin, id, &one, 1);
	}
	return true;
}

/*
 * Check that each message sent reduces ivs_roster_behind() by one, and that the result is 0 if and
 * only if no message is due.
 */
static bool judge_behind(struct oracle *o, unsigned int id, uint64_t before, unsigned int told)
{
	uint64_t now = ivs_roster_behind(o->roster, id);

	if (now + told != before)
		return wrong(o, "%u was behind by %lu, was sent %u, and is now behind by %lu", id,
			     (unsigned long)before, told, (unsigned long)now);
	if ((now > 0) != oracle_pending(o, id))
		return wrong(o, "%u is behind by %lu, which contradicts what is due", id,
			     (unsigned long)now);
	return true;
}

bool oracle_tell(struct oracle *o, unsigned int id, unsigned int ask, unsigned int take)
{
	uint64_t behind = ivs_roster_behind(o->roster, id);
	struct ivs_v0_message msgs[ORACLE_ASK + 1];
	unsigned int msgs_n;

	if (!due(o, id, ask, msgs, &msgs_n) || !judge_all(o, id, msgs, msgs_n))
		return false;
	if (take > msgs_n)
		take = msgs_n;
	if (o->trace)
		fprintf(o->trace, "%u is sent %u of %u, %u requested\n", id, take, msgs_n, ask);
	ivs_roster_end_send(o->roster, id, msgs, take);
	for (unsigned int i = 0; i < take; i++) {
		hear(o, id, &msgs[i]);
		list_add(&o->view[id], &msgs[i]);
	}
	o->messages += take;
	if (!judge_behind(o, id, behind, take))
		return false;
	if (o->twin && !tell_twin(o, id, msgs, take))
		return false;
	return same_world(o);
}

/*
 * Replay all messages that @id was sent, as a client does, and compare the result with the
 * connected peers.
 */
static bool view_is_truth(struct oracle *o, unsigned int id)
{
	const struct oracle_view *view = &o->view[id];
	unsigned int count[ORACLE_IDS] = {0};

	for (size_t i = 0; i < view->list_n; i++) {
		if (view->list[i].type == IVS_V0_VECTOR)
			count[view->list[i].id]++;
		else if (view->list[i].type == IVS_V0_LEAVE)
			count[view->list[i].id] = 0;
	}
	for (unsigned int p = 0; p < ORACLE_IDS; p++) {
		unsigned int want = is_news(o, id, p) ? o->vectors[p] : 0;

		if (o->quiet[id] && !is_news(o, id, p) && count[p])
			want = has_seat(o, p) ? o->vectors[p] : count[p];
		if (count[p] != want)
			return wrong(o, "%u knows %u vectors of %u, which has %u", id, count[p], p,
				     want);
	}
	return true;
}

bool oracle_drain(struct oracle *o, unsigned int ask)
{
	bool again = true;

	/*
	 * This takes several rounds, because a client that completes its greeting causes messages
	 * to the others.
	 */
	while (again) {
		again = false;
		for (unsigned int id = o->fillers; id < o->ids_end; id++) {
			if (!o->present[id])
				continue;
			while (oracle_pending(o, id)) {
				again = true;
				if (!oracle_tell(o, id, ask, ask))
					return false;
			}
		}
	}
	for (unsigned int id = o->fillers; id < o->ids_end; id++) {
		struct ivs_v0_message msg;

		if (!o->present[id])
			continue;
		if (ivs_roster_due(o->roster, id, &msg, 1) != 0)
			return wrong(o, "more messages are due for %u at the end", id);
		if (!view_is_truth(o, id))
			return false;
	}
	return true;
}
