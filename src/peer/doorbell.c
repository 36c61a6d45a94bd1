/* SPDX-License-Identifier: BSD-3-Clause */
/* Ringing, either through a doorbell handle or by id and vector. */
#include <errno.h>
#include <stdlib.h>

#include "peer/private.h"

/* Receive the joins and leaves that the server has sent. Return: 0 or -errno. */
static int peer_receive(struct ivs_peer *peer)
{
	int result;

	if (!peer->transport->receive)
		return 0;
	pthread_mutex_lock(&peer->lock);
	result = peer->transport->receive(peer);
	pthread_mutex_unlock(&peer->lock);
	return result;
}

/* Return: 0, IVS_PEER_E_ABSENT, _VECTOR, _UNSUPPORTED, _DEVICE_GONE; -errno. */
static int doorbell_init(struct ivs_doorbell *doorbell, struct ivs_peer *peer, unsigned int id,
			 unsigned int vector)
{
	int result = 0;

	if (!(ivs_peer_caps(peer) & IVS_CAP_RING))
		return IVS_PEER_E_UNSUPPORTED;
	if (ivs_peer_is_gone(peer))
		return IVS_PEER_E_DEVICE_GONE;
	if (id > IVS_ID_MAX)
		return IVS_PEER_E_ABSENT;
	if (vector > IVS_VECTOR_MAX)
		return IVS_PEER_E_VECTOR;
	/* The server may have assigned or reassigned the id since the last call. */
	if ((int)id != peer->id)
		result = peer_receive(peer);
	if (result)
		return result;
	*doorbell = (struct ivs_doorbell){.peer = peer, .id = id, .vector = vector, .fd = -1};
	return peer->transport->doorbell(peer, doorbell);
}

static void doorbell_deinit(struct ivs_doorbell *doorbell)
{
	if (doorbell->peer->transport->release)
		doorbell->peer->transport->release(doorbell->peer, doorbell);
}

/* Stores to the region must be visible to the other peer before it receives the doorbell. */
static int doorbell_ring(const struct ivs_doorbell *doorbell)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return doorbell->ring(doorbell);
}

int ivs_doorbell_new(struct ivs_peer *peer, unsigned int id, unsigned int vector,
		     struct ivs_doorbell **out)
{
	struct ivs_doorbell *doorbell = malloc(sizeof(*doorbell));
	int result = doorbell ? doorbell_init(doorbell, peer, id, vector) : -ENOMEM;

	if (result) {
		free(doorbell);
		return result;
	}
	*out = doorbell;
	return 0;
}

void ivs_doorbell_free(struct ivs_doorbell *doorbell)
{
	if (!doorbell)
		return;
	doorbell_deinit(doorbell);
	free(doorbell);
}

int ivs_doorbell_ring(const struct ivs_doorbell *doorbell)
{
	if (ivs_peer_is_gone(doorbell->peer))
		return IVS_PEER_E_DEVICE_GONE;
	return doorbell_ring(doorbell);
}

/*
 * A guest's device silently ignores ids and vectors that do not exist. The roster page lists those
 * that exist, but the page may be wrong, so the doorbell is rung in any case (P-9).
 */
int ivs_peer_ring(struct ivs_peer *peer, unsigned int id, unsigned int vector)
{
	struct ivs_doorbell doorbell;
	int result = doorbell_init(&doorbell, peer, id, vector);
	int expected;

	if (result)
		return result;
	expected = ivs_peer_roster_check(peer, id, vector);
	result = doorbell_ring(&doorbell);
	doorbell_deinit(&doorbell);
	return result ? result : expected;
}
