/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Doorbell handles, which are created once and rung many times. A transport that cannot ring
 * refuses to create a handle and gives a reason.
 */
#include "conform.h"

#define TIMES 20
#define NO_PEER 60000

static int new_doorbell(const struct conform *c, unsigned int vector, struct ivs_doorbell **out)
{
	unsigned int id = c->partner >= 0 ? (unsigned int)c->partner : 0;

	*out = NULL;
	return ivs_doorbell_new(c->peer, id, vector, out);
}

static bool may_ring(struct conform *c)
{
	struct ivs_doorbell *doorbell;
	int result;

	if (can(c, IVS_CAP_RING))
		return true;
	result = new_doorbell(c, 0, &doorbell);
	ivs_doorbell_free(doorbell);
	conform_unable(c, result, IVS_CAP_RING);
	return false;
}

/* Create a handle, ring it @times times and free it. Return: the first result that is not 0. */
static int ring_by_handle(const struct conform *c, unsigned int vector, unsigned int times)
{
	struct ivs_doorbell *doorbell;
	int result = new_doorbell(c, vector, &doorbell);

	for (unsigned int i = 0; i < times && !result; i++)
		result = ivs_doorbell_ring(doorbell);
	ivs_doorbell_free(doorbell);
	return result;
}

static void each_vector(struct conform *c)
{
	EXPECT_OK(may_ring(c));
	for (unsigned int vector = 0; vector < c->vectors_n; vector++) {
		EXPECT_RESULT(c, ring_by_handle(c, vector, 1), 0);
		EXPECT_OK(ask_rung(c, vector));
		for (unsigned int other = 0; other < c->vectors_n; other++)
			EXPECT_OK(ask_not_rung(c, other));
	}
}

static void often(struct conform *c)
{
	EXPECT_OK(may_ring(c));
	EXPECT_RESULT(c, ring_by_handle(c, 0, TIMES), 0);
	EXPECT_OK(ask_rung(c, 0));
	c->noisy = true;
}

static void several_handles(struct conform *c)
{
	struct ivs_doorbell *doorbells[2];

	EXPECT_OK(may_ring(c));
	EXPECT_RESULT(c, new_doorbell(c, 0, &doorbells[0]), 0);
	EXPECT_RESULT(c, new_doorbell(c, 0, &doorbells[1]), 0);
	ivs_doorbell_free(doorbells[0]);
	EXPECT_RESULT(c, ivs_doorbell_ring(doorbells[1]), 0);
	ivs_doorbell_free(doorbells[1]);
	EXPECT_OK(ask_rung(c, 0));
}

static void own_vectors(struct conform *c)
{
	struct ivs_doorbell *doorbell;
	unsigned int id;

	EXPECT_OK(may_ring(c));
	id = (unsigned int)ivs_peer_id(c->peer);
	for (unsigned int vector = 0; vector < c->vectors_n; vector++) {
		EXPECT_RESULT(c, ivs_doorbell_new(c->peer, id, vector, &doorbell), 0);
		EXPECT_RESULT(c, ivs_doorbell_ring(doorbell), 0);
		ivs_doorbell_free(doorbell);
		if (can(c, IVS_CAP_WAIT))
			EXPECT_RESULT(c, ivs_peer_wait(c->peer, vector, LONG_MS), 0);
	}
}

/* With a server, looking up a missing peer fails. A device does not know which peers exist. */
static void absent_peer(struct conform *c)
{
	struct ivs_doorbell *doorbell = NULL;
	int wanted = c->device ? 0 : IVS_PEER_E_ABSENT;

	EXPECT_OK(may_ring(c));
	EXPECT_RESULT(c, ivs_doorbell_new(c->peer, NO_PEER, 0, &doorbell), wanted);
	ivs_doorbell_free(doorbell);
	EXPECT_RESULT(c, ivs_doorbell_new(c->peer, 65536, 0, &doorbell), IVS_PEER_E_ABSENT);
}

static void absent_vector(struct conform *c)
{
	struct ivs_doorbell *doorbell;
	int wanted = c->device ? 0 : IVS_PEER_E_VECTOR;

	EXPECT_OK(may_ring(c));
	EXPECT_RESULT(c, new_doorbell(c, c->vectors_n, &doorbell), wanted);
	ivs_doorbell_free(doorbell);
	EXPECT_RESULT(c, new_doorbell(c, 65536, &doorbell), IVS_PEER_E_VECTOR);
}

/*
 * Ringing the handle of a peer that has left fails and does not reach the next peer with that id.
 * A device knows only ids, so ringing succeeds there.
 */
static void peer_that_left(struct conform *c)
{
	struct ivs_doorbell *doorbell;
	int id;

	EXPECT_OK(may_ring(c));
	if (!can(c, IVS_CAP_ROSTER))
		return;
	id = ask_join(c, 1);
	if (id < 0)
		return;
	EXPECT_OK(conform_await(c, c->peer, IVS_EVENT_JOIN, (unsigned int)id, NULL));
	EXPECT_RESULT(c, ivs_doorbell_new(c->peer, (unsigned int)id, 0, &doorbell), 0);
	EXPECT_RESULT(c, ivs_doorbell_ring(doorbell), 0);
	EXPECT_OK(ASK(c, ASK_LEAVE, {1}));
	EXPECT_OK(conform_await(c, c->peer, IVS_EVENT_LEAVE, (unsigned int)id, NULL));
	EXPECT_RESULT(c, ivs_doorbell_ring(doorbell), c->device ? 0 : IVS_PEER_E_ABSENT);
	ivs_doorbell_free(doorbell);
}

static void no_fd_is_left(struct conform *c)
{
	unsigned int before = conform_fds();

	EXPECT_OK(may_ring(c));
	EXPECT_RESULT(c, ring_by_handle(c, 0, 1), 0);
	EXPECT_OK(ask_rung(c, 0));
	conform_expect_fds(c, c->address, before);
}

/* ivs_doorbell_new() reads pending joins itself, as ivs_peer_ring() does. */
static void newcomer(struct conform *c)
{
	struct ivs_doorbell *doorbell = NULL;
	int64_t until_ms = conform_now_ms() + LONG_MS;
	int id;
	int result;

	EXPECT_OK(may_ring(c));
	id = ask_join(c, 1);
	if (id < 0)
		return;
	do {
		result = ivs_doorbell_new(c->peer, (unsigned int)id, 0, &doorbell);
	} while (result == IVS_PEER_E_ABSENT && conform_now_ms() < until_ms);
	ivs_doorbell_free(doorbell);
	EXPECT(c, !result, "ringing the new peer, %d: %s", id, conform_result(result));
	EXPECT_OK(ASK(c, ASK_LEAVE, {1}));
}

const struct conform_case doorbell_cases[] = {
	{"doorbell: each vector of the partner, and no other", each_vector},
	{"doorbell: one handle is rung many times", often},
	{"doorbell: one of two handles is freed", several_handles},
	{"doorbell: the peer's own vectors", own_vectors},
	{"doorbell: a peer that does not exist", absent_peer},
	{"doorbell: a vector that the partner does not have", absent_vector},
	{"doorbell: a peer that has left", peer_that_left},
	{"doorbell: no file descriptor is left open", no_fd_is_left},
	{"doorbell: a peer that has just joined", newcomer},
	{0},
};
