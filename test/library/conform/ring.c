/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Ringing: the partner reports the vectors on which it was rung. Without a server every call is
 * refused with UNSUPPORTED, regardless of the id and the vector.
 */
#include "conform.h"

#define TIMES 20
#define ROUNDS 10
#define NOBODY 60000

/* Ring a vector of the partner, or of peer 0 if the partner has no id. */
static int ring(const struct conform *c, unsigned int vector)
{
	unsigned int id = c->partner >= 0 ? (unsigned int)c->partner : 0;

	return ivs_peer_ring(c->peer, id, vector);
}

/*
 * Return: whether the transport can ring. If not, expect it to refuse with a reason, and the
 * partner not to be rung.
 */
static bool may_ring(struct conform *c)
{
	if (can(c, IVS_CAP_RING))
		return true;
	if (conform_unable(c, ring(c, 0), IVS_CAP_RING) && c->partner >= 0)
		ask_not_rung(c, 0);
	return false;
}

static void each_vector(struct conform *c)
{
	EXPECT_OK(may_ring(c));
	for (unsigned int vector = 0; vector < c->vectors_n; vector++) {
		EXPECT_RESULT(c, ring(c, vector), 0);
		EXPECT_OK(ask_rung(c, vector));
	}
}

static void no_other(struct conform *c)
{
	EXPECT_OK(may_ring(c));
	for (unsigned int vector = 0; vector < c->vectors_n; vector++) {
		EXPECT_RESULT(c, ring(c, vector), 0);
		EXPECT_OK(ask_rung(c, vector));
		for (unsigned int other = 0; other < c->vectors_n; other++)
			EXPECT_OK(ask_not_rung(c, other));
	}
}

static void all_vectors(struct conform *c)
{
	EXPECT_OK(may_ring(c));
	for (unsigned int vector = 0; vector < c->vectors_n; vector++)
		EXPECT_RESULT(c, ring(c, vector), 0);
	for (unsigned int vector = 0; vector < c->vectors_n; vector++)
		EXPECT_OK(ask_rung(c, vector));
}

/* Doorbells on one vector may coalesce. */
static void many(struct conform *c)
{
	unsigned int n = 0;

	EXPECT_OK(may_ring(c));
	for (unsigned int i = 0; i < TIMES; i++)
		EXPECT_RESULT(c, ring(c, 0), 0);
	EXPECT_OK(ask_rung(c, 0));
	do {
		EXPECT_OK(ASK(c, ASK_TAKE, {0, 0, QUIET_MS, WORDS_AT}));
		n++;
	} while (!ask_result(c, 0) && n <= TIMES);
	EXPECT(c, n <= TIMES, "rung %d times, the partner was woken %u times", TIMES, n);
}

/*
 * A peer that is woken by a doorbell sees what was written to memory before the doorbell was rung.
 */
static void memory_first(struct conform *c)
{
	_Atomic uint64_t *word = (_Atomic uint64_t *)(void *)(c->memory + WORDS_AT);

	EXPECT_OK(may_ring(c));
	for (uint64_t i = 1; i <= ROUNDS; i++) {
		ask_begin(c, &(const struct ask){ASK_TAKE, {0, 0, LONG_MS, WORDS_AT}});
		atomic_store_explicit(word, i, memory_order_relaxed);
		EXPECT_RESULT(c, ring(c, 0), 0);
		EXPECT_OK(ask_end(c));
		EXPECT(c, !ask_result(c, 0), "the partner was not rung");
		EXPECT(c, (uint64_t)ask_result(c, 1) == i, "expected %d, the partner read %d",
		       (int)i, (int)ask_result(c, 1));
	}
}

static void oneself(struct conform *c)
{
	unsigned int id;

	EXPECT_OK(may_ring(c));
	id = (unsigned int)ivs_peer_id(c->peer);
	for (unsigned int vector = 0; vector < c->vectors_n; vector++) {
		EXPECT_RESULT(c, ivs_peer_ring(c->peer, id, vector), 0);
		if (can(c, IVS_CAP_WAIT))
			EXPECT_RESULT(c, ivs_peer_wait(c->peer, vector, LONG_MS), 0);
	}
}

/* With a roster, ringing a missing peer fails. Without one, a device ignores the doorbell. */
static void nobody(struct conform *c)
{
	EXPECT_OK(may_ring(c));
	EXPECT_RESULT(c, ivs_peer_ring(c->peer, NOBODY, 0),
		      can(c, IVS_CAP_ROSTER) ? IVS_PEER_E_ABSENT : 0);
}

static void no_vector(struct conform *c)
{
	EXPECT_OK(may_ring(c));
	EXPECT_RESULT(c, ring(c, c->vectors_n), can(c, IVS_CAP_ROSTER) ? IVS_PEER_E_VECTOR : 0);
	for (unsigned int vector = 0; vector < c->vectors_n; vector++)
		EXPECT_OK(ask_not_rung(c, vector));
}

static void no_vector_of_oneself(struct conform *c)
{
	unsigned int id;
	int result;

	EXPECT_OK(may_ring(c));
	id = (unsigned int)ivs_peer_id(c->peer);
	result = ivs_peer_ring(c->peer, id, c->vectors_n);
	EXPECT(c, result == IVS_PEER_E_VECTOR || (c->device && !result),
	       "expected VECTOR%s, got %s", c->device ? " or 0" : "", conform_result(result));
}

/* Ids have 16 bits. A larger number is refused, not truncated. */
static void id_too_large(struct conform *c)
{
	unsigned int beyond = 65536 + (unsigned int)(c->partner >= 0 ? c->partner : 0);

	EXPECT_OK(may_ring(c));
	EXPECT_RESULT(c, ivs_peer_ring(c->peer, beyond, 0), IVS_PEER_E_ABSENT);
	EXPECT_RESULT(c, ivs_peer_ring(c->peer, ~0U, 0), IVS_PEER_E_ABSENT);
	EXPECT_OK(ask_not_rung(c, 0));
}

static void vector_too_large(struct conform *c)
{
	EXPECT_OK(may_ring(c));
	EXPECT_RESULT(c, ring(c, 65536), IVS_PEER_E_VECTOR);
	EXPECT_RESULT(c, ring(c, ~0U), IVS_PEER_E_VECTOR);
	EXPECT_OK(ask_not_rung(c, 0));
}

static void newcomer(struct conform *c)
{
	int id;

	EXPECT_OK(may_ring(c));
	id = ask_join(c, 1);
	if (id < 0)
		return;
	if (can(c, IVS_CAP_ROSTER))
		EXPECT_OK(conform_await(c, c->peer, IVS_EVENT_JOIN, (unsigned int)id, NULL));
	/*
	 * A device ignores doorbells to a peer until it has received the peer's join, so try again.
	 */
	for (unsigned int i = 0; i < LONG_MS / SHORT_MS; i++) {
		EXPECT_RESULT(c, ivs_peer_ring(c->peer, (unsigned int)id, 0), 0);
		EXPECT_OK(ASK(c, ASK_TAKE, {1, 0, SHORT_MS, WORDS_AT}));
		if (!ask_result(c, 0))
			break;
	}
	EXPECT(c, !ask_result(c, 0), "the new peer, %d, was not rung", id);
	EXPECT_OK(ASK(c, ASK_LEAVE, {1}));
}

static void peer_that_left(struct conform *c)
{
	int id;

	EXPECT_OK(may_ring(c));
	id = ask_join(c, 1);
	if (id < 0)
		return;
	if (can(c, IVS_CAP_ROSTER))
		EXPECT_OK(conform_await(c, c->peer, IVS_EVENT_JOIN, (unsigned int)id, NULL));
	EXPECT_OK(ASK(c, ASK_LEAVE, {1}));
	if (can(c, IVS_CAP_ROSTER))
		EXPECT_OK(conform_await(c, c->peer, IVS_EVENT_LEAVE, (unsigned int)id, NULL));
	EXPECT_RESULT(c, ivs_peer_ring(c->peer, (unsigned int)id, 0),
		      can(c, IVS_CAP_ROSTER) ? IVS_PEER_E_ABSENT : 0);
}

const struct conform_case ring_cases[] = {
	{"ring: each vector of the partner", each_vector},
	{"ring: only the given vector is rung", no_other},
	{"ring: after ringing all vectors, all were rung", all_vectors},
	{"ring: many doorbells wake the partner at least once, and at most as often as rung", many},
	{"ring: the partner reads what was written before the ring", memory_first},
	{"ring: the peer's own id", oneself},
	{"ring: a peer that does not exist", nobody},
	{"ring: a vector that the partner does not have", no_vector},
	{"ring: a vector that the peer itself does not have", no_vector_of_oneself},
	{"ring: an id above 65535", id_too_large},
	{"ring: a vector above 65535", vector_too_large},
	{"ring: a peer that has just joined", newcomer},
	{"ring: a peer that has left", peer_that_left},
	{0},
};
