/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Joins, leaves and the list of peers, from a server or from the roster page. Without either, the
 * list is empty and the peer gives a reason.
 */
#include <errno.h>

#include "conform.h"

#define ROOM 16
#define NEWCOMERS 3

/* Return: whether the peer has a roster. If not, expect a reason and an empty list. */
static bool may_see(struct conform *c)
{
	unsigned int ids[ROOM];

	if (can(c, IVS_CAP_ROSTER))
		return true;
	if (!ivs_peer_cap_reason(c->peer, IVS_CAP_ROSTER))
		conform_fail(c, "the peer has no roster, but gives no reason");
	if (ivs_peer_roster(c->peer, ids, ROOM))
		conform_fail(c, "the peer has no roster, but lists a peer");
	return false;
}

static bool lists(struct conform *c, struct ivs_peer *peer, unsigned int id)
{
	unsigned int ids[ROOM];
	unsigned int n = ivs_peer_roster(peer, ids, ROOM);

	if (n > ROOM) {
		conform_fail(c, "the roster lists %u peers", n);
		return false;
	}
	for (unsigned int i = 0; i < n; i++) {
		if (ids[i] == id)
			return true;
	}
	return false;
}

/* Peers that joined earlier are reported after opening, with all their vectors. */
static void there_first(struct conform *c)
{
	struct ivs_event event;

	EXPECT_OK(may_see(c));
	EXPECT_OK(conform_reopen(c, NULL));
	EXPECT(c, !lists(c, c->peer, (unsigned int)c->partner),
	       "listed before the join was reported");
	do {
		EXPECT_OK(conform_await(c, c->peer, IVS_EVENT_JOIN, (unsigned int)c->partner,
					&event));
	} while (event.vectors_n != c->vectors_n);
	EXPECT(c, lists(c, c->peer, (unsigned int)c->partner),
	       "the join was reported, but the partner is not listed");
}

static void not_oneself(struct conform *c)
{
	struct ivs_event event;
	int id = ivs_peer_id(c->peer);
	int result;

	EXPECT_OK(may_see(c));
	EXPECT_OK(conform_reopen(c, NULL));
	id = ivs_peer_id(c->peer);
	while (!(result = ivs_peer_next(c->peer, QUIET_MS, &event)))
		EXPECT(c, event.type != IVS_EVENT_JOIN || (int)event.id != id,
		       "the peer reported its own join");
	EXPECT(c, id < 0 || !lists(c, c->peer, (unsigned int)id), "the peer lists itself");
}

static void vectors_of_partner(struct conform *c)
{
	unsigned int n;

	if (!can(c, IVS_CAP_ROSTER)) {
		n = ivs_peer_vectors_of(c->peer, c->partner >= 0 ? (unsigned int)c->partner : 0);
		EXPECT(c, !n, "expected 0, got %u", n);
		return;
	}
	EXPECT_OK(conform_drain(c, c->peer, QUIET_MS));
	n = ivs_peer_vectors_of(c->peer, (unsigned int)c->partner);
	EXPECT(c, n == c->vectors_n, "expected %u, got %u", c->vectors_n, n);
}

static void vectors_of_nobody(struct conform *c)
{
	static const unsigned int nobody[] = {60000, 65535, 65536, ~0U};

	for (unsigned int i = 0; i < sizeof(nobody) / sizeof(*nobody); i++) {
		unsigned int n = ivs_peer_vectors_of(c->peer, nobody[i]);

		EXPECT(c, !n, "expected 0 of %u, got %u", nobody[i], n);
	}
}

static void join_and_leave(struct conform *c)
{
	struct ivs_event event;
	unsigned int id;
	int joined;

	EXPECT_OK(may_see(c));
	joined = ask_join(c, 1);
	if (joined < 0)
		return;
	id = (unsigned int)joined;
	do {
		EXPECT_OK(conform_await(c, c->peer, IVS_EVENT_JOIN, id, &event));
	} while (event.vectors_n != c->vectors_n);
	EXPECT(c, lists(c, c->peer, id), "peer %u has joined, but is not listed", id);
	EXPECT(c, ivs_peer_vectors_of(c->peer, id) == c->vectors_n, "%u vectors",
	       ivs_peer_vectors_of(c->peer, id));
	EXPECT_OK(ASK(c, ASK_LEAVE, {1}));
	EXPECT_OK(conform_await(c, c->peer, IVS_EVENT_LEAVE, id, NULL));
	EXPECT(c, !lists(c, c->peer, id), "peer %u has left, but is still listed", id);
	EXPECT(c, !ivs_peer_vectors_of(c->peer, id), "the peer that left still has %u vectors",
	       ivs_peer_vectors_of(c->peer, id));
}

/* A peer is listed from the report of its join until the report of its leave. */
static void listed_when_reported(struct conform *c)
{
	struct ivs_event event;
	int id;

	EXPECT_OK(may_see(c));
	EXPECT_OK(conform_drain(c, c->peer, QUIET_MS));
	id = ask_join(c, 1);
	if (id < 0)
		return;
	EXPECT(c, !lists(c, c->peer, (unsigned int)id), "listed before the join was reported");
	EXPECT_OK(conform_await(c, c->peer, IVS_EVENT_JOIN, (unsigned int)id, &event));
	EXPECT_OK(ASK(c, ASK_LEAVE, {1}));
	EXPECT(c, lists(c, c->peer, (unsigned int)id), "removed before the leave was reported");
	EXPECT_OK(conform_await(c, c->peer, IVS_EVENT_LEAVE, (unsigned int)id, NULL));
}

/*
 * Joins and leaves are reported in pairs; a peer that joins and leaves between two calls may not be
 * reported at all.
 */
static void in_pairs(struct conform *c)
{
	unsigned int joined[2] = {0};
	struct ivs_event event;
	int first;
	int second;

	EXPECT_OK(may_see(c));
	EXPECT_OK(conform_drain(c, c->peer, QUIET_MS));
	first = ask_join(c, 1);
	EXPECT_OK(!c->failed);
	second = ask_join(c, 2); /* before the first one leaves, which could have the same id */
	EXPECT_OK(!c->failed && ASK(c, ASK_LEAVE, {1}));
	do {
		EXPECT_RESULT(c, ivs_peer_next(c->peer, LONG_MS, &event), 0);
		if (event.type != IVS_EVENT_JOIN && event.type != IVS_EVENT_LEAVE)
			continue;
		joined[(int)event.id == second] = event.type == IVS_EVENT_JOIN;
	} while (!joined[1] || joined[0]);
	EXPECT(c,
	       lists(c, c->peer, (unsigned int)second) && !lists(c, c->peer, (unsigned int)first),
	       "the list does not match the reported events");
	EXPECT_OK(ASK(c, ASK_LEAVE, {2}));
	EXPECT_OK(conform_await(c, c->peer, IVS_EVENT_LEAVE, (unsigned int)second, NULL));
}

static void several(struct conform *c)
{
	unsigned int ids[ROOM];
	unsigned int n;
	int id[NEWCOMERS];

	EXPECT_OK(may_see(c));
	for (unsigned int i = 0; i < NEWCOMERS; i++) {
		id[i] = ask_join(c, i + 1);
		EXPECT_OK(!c->failed);
		EXPECT_OK(conform_await(c, c->peer, IVS_EVENT_JOIN, (unsigned int)id[i], NULL));
	}
	EXPECT_OK(conform_drain(c, c->peer, QUIET_MS));
	n = ivs_peer_roster(c->peer, ids, ROOM);
	EXPECT(c, n == NEWCOMERS + 1, "expected %d, got %u", NEWCOMERS + 1, n);
	for (unsigned int i = 1; i < n; i++)
		EXPECT(c, ids[i - 1] < ids[i], "not ascending: %u before %u", ids[i - 1], ids[i]);
	for (unsigned int i = 0; i < NEWCOMERS; i++)
		EXPECT(c, lists(c, c->peer, (unsigned int)id[i]), "peer %d is not listed", id[i]);
	for (unsigned int i = 0; i < NEWCOMERS; i++)
		EXPECT_OK(ASK(c, ASK_LEAVE, {i + 1}));
	for (unsigned int i = 0; i < NEWCOMERS; i++) {
		while (lists(c, c->peer, (unsigned int)id[i]))
			EXPECT_OK(conform_await(c, c->peer, IVS_EVENT_LEAVE, (unsigned int)id[i],
						NULL));
	}
}

static void little_room(struct conform *c)
{
	unsigned int ids[2] = {77777, 88888};
	unsigned int n;

	EXPECT_OK(may_see(c));
	EXPECT_OK(conform_drain(c, c->peer, QUIET_MS));
	n = ivs_peer_roster(c->peer, NULL, 0);
	EXPECT(c, n == 1, "expected the partner alone, got %u", n);
	n = ivs_peer_roster(c->peer, ids, 1);
	EXPECT(c, n == 1 && ids[0] == (unsigned int)c->partner && ids[1] == 88888, "%u, %u and %u",
	       n, ids[0], ids[1]);
}

/*
 * Read the roster page, and fail the case if the page is unexpectedly absent or present. Return:
 * whether the page has been read.
 */
static bool published(struct conform *c, struct ivs_roster_info *out,
		      struct ivs_roster_entry *peers, unsigned int peers_n)
{
	int result = ivs_peer_read_roster(c->peer, out, peers, peers_n);
	int wanted = c->roster ? 0 : IVS_PEER_E_ABSENT;

	if (result != wanted)
		conform_fail(c, "ivs_peer_read_roster(): expected %s, got %s",
			     conform_result(wanted), conform_result(result));
	return !result && !c->failed;
}

/* Return: how many peers the page must list: the partner, and this peer if it has an id. */
static unsigned int expected_n(const struct conform *c)
{
	return can(c, IVS_CAP_ID) ? 2 : 1;
}

/* Wait until the page lists exactly the partner and, if it has an id, this peer. */
static bool settled(struct conform *c, struct ivs_roster_info *out, struct ivs_roster_entry *peers)
{
	int64_t end = conform_now_ms() + LONG_MS;

	while (conform_now_ms() < end) {
		bool own = !can(c, IVS_CAP_ID);

		if (!published(c, out, peers, ROOM))
			return false;
		for (unsigned int i = 0; i < out->listed_n && i < ROOM; i++)
			own |= (int)peers[i].id == ivs_peer_id(c->peer);
		if (own && out->peers_n == expected_n(c))
			return true;
		take_a_breath();
	}
	conform_fail(c, "expected %u peers, got %u", expected_n(c), out->peers_n);
	return false;
}

static void published_now(struct conform *c)
{
	struct ivs_roster_entry peers[ROOM];
	struct ivs_roster_info out;
	bool partner = false;

	EXPECT_OK(settled(c, &out, peers));
	EXPECT(c, out.maintained, "no server maintains the page");
	EXPECT(c, out.listed_n == out.peers_n, "%u peers are present, but %u are listed",
	       out.peers_n, out.listed_n);
	for (unsigned int i = 0; i < out.listed_n; i++) {
		EXPECT(c, peers[i].since && peers[i].since <= out.generation,
		       "peer %u is listed since %llu, but the generation is %llu", peers[i].id,
		       (unsigned long long)peers[i].since, (unsigned long long)out.generation);
		EXPECT(c, peers[i].vectors_n == c->vectors_n, "peer %u has %u vectors", peers[i].id,
		       peers[i].vectors_n);
		EXPECT(c, !i || peers[i - 1].id < peers[i].id, "the ids are not ascending");
		partner |= (int)peers[i].id == c->partner;
	}
	EXPECT(c, partner, "the partner is not listed");
}

static void published_without_room(struct conform *c)
{
	struct ivs_roster_info out = {.peers_n = 99};

	EXPECT_OK(published(c, &out, NULL, 0));
	EXPECT(c, out.listed_n && out.listed_n <= out.peers_n, "%u of %u", out.listed_n,
	       out.peers_n);
}

/* Wait until the generation differs from @old. */
static bool await_generation(struct conform *c, uint64_t old, struct ivs_roster_info *out,
			     struct ivs_roster_entry *peers)
{
	int64_t end = conform_now_ms() + LONG_MS;

	do {
		if (!published(c, out, peers, ROOM))
			return false;
		if (out->generation != old)
			return true;
		take_a_breath();
	} while (conform_now_ms() < end);
	conform_fail(c, "the generation is still %llu", (unsigned long long)old);
	return false;
}

static void generation(struct conform *c)
{
	struct ivs_roster_entry peers[ROOM];
	struct ivs_roster_info out;
	uint64_t begin;
	uint64_t since = 0;
	int id;

	EXPECT_OK(settled(c, &out, peers));
	begin = out.generation;
	id = ask_join(c, 1);
	EXPECT_OK(id >= 0 && await_generation(c, begin, &out, peers));
	EXPECT(c, out.generation == begin + 1, "a join changed the generation from %llu to %llu",
	       (unsigned long long)begin, (unsigned long long)out.generation);
	for (unsigned int i = 0; i < out.listed_n && i < ROOM; i++)
		since = (int)peers[i].id == id ? peers[i].since : since;
	EXPECT(c, since == begin + 1, "joined at %llu, listed since %llu",
	       (unsigned long long)begin + 1, (unsigned long long)since);
	EXPECT_OK(ASK(c, ASK_LEAVE, {1}) && await_generation(c, begin + 1, &out, peers));
	EXPECT(c, out.generation == begin + 2, "a leave changed the generation from %llu to %llu",
	       (unsigned long long)begin + 1, (unsigned long long)out.generation);
}

const struct conform_case roster_cases[] = {
	{"roster: peers that joined earlier are reported", there_first},
	{"roster: the peer itself is not listed", not_oneself},
	{"roster: the number of the partner's vectors", vectors_of_partner},
	{"roster: a peer that does not exist has no vectors", vectors_of_nobody},
	{"roster: a peer joins and leaves", join_and_leave},
	{"roster: a peer is listed from its reported join to its reported leave",
	 listed_when_reported},
	{"roster: joins and leaves come in pairs", in_pairs},
	{"roster: several peers are listed in ascending order", several},
	{"roster: read with room for fewer peers, and for none", little_room},
	{"roster: the page is in the region, or absent", published_now},
	{"roster: the page is read without room for peers", published_without_room},
	{"roster: the generation grows by one with each join and leave", generation},
	{0},
};
