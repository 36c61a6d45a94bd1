/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Simulated peers: coroutines, of which a random choice runs one at a time, and the peer API that
 * they use. Included by simulation.c.
 */
#ifndef TEST_SIMULATED_PEERS_H
#define TEST_SIMULATED_PEERS_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <ucontext.h>

#include "channel/channels.h"
#include "channel/shared.h"
#define TEST_PEER_WITHOUT_ROSTER
#include "support/c/peer_stub.h"

#define PEERS_N 3
#define SECTION_LEN 32768
#define REGION_LEN (4096 + PEERS_N * SECTION_LEN)
#define STACK_LEN (128 * 1024)
#define STEPS_MAX 400000 /* of one run; an honest run takes fewer than 50,000 */
#define BUSY_MAX 100000	 /* of a peer, without waiting */
#define MESSAGES_N 12
#define STREAMS_MAX 8
#define CONNECTIONS_N 2 /* of a client, one after another */
#define BYTES_N 300

struct ivs_peer {
	int id;
	unsigned int rung;
	bool blocked;	   /* sleeps until it is rung */
	bool ended;	   /* its function has returned */
	bool killed;	   /* it runs no more */
	bool left;	   /* the others have been told that it was killed */
	uint64_t left_for; /* bitmap of peers that have been told */
	ucontext_t context;
	void *stack;
	void (*run)(struct ivs_peer *peer);
	struct ivs_channels *channels;
	struct ivs_queue *queue;
	struct ivs_topic *topic;
	struct ivs_stream_listener *listener;
	struct ivs_stream *streams[STREAMS_MAX];
	uint32_t next_from[PEERS_N]; /* receiver: number of the next message of each sender */
	uint32_t sent;
	bool aborts;   /* a client closes its streams without shutting down */
	uint32_t busy; /* accesses since it waited last */
};

static struct {
	struct ivs_peer peers[PEERS_N];
	struct ivs_peer *running;
	ucontext_t scheduler;
	uint8_t *region;
	uint64_t random;
	unsigned long seed;
	uint32_t steps;
	uint32_t switch_in; /* switch to another peer once in so many steps */
	uint32_t kill_at;   /* kill peer 0 at this step; 0: never */
	bool hostile;
	enum { QUEUES, STREAMS, TOPICS, KINDS_N } kind;
	bool over; /* the run is ended although peers have not */
	const char *failure;
} sim;

static uint32_t random_below(uint32_t n)
{
	sim.random ^= sim.random << 13;
	sim.random ^= sim.random >> 7;
	sim.random ^= sim.random << 17;
	return (uint32_t)(sim.random >> 11) % n;
}

static void fail(const char *why)
{
	if (!sim.failure)
		sim.failure = why;
	sim.over = true;
}

/* Scheduling */

static void yield(void)
{
	struct ivs_peer *self = sim.running;

	swapcontext(&self->context, &sim.scheduler);
}

/* The hostile peer is the last one. It may write any word of the region, even in other sections. */
static void scribble(void)
{
	uint64_t *words = (uint64_t *)(void *)sim.region;
	uint32_t at = random_below(REGION_LEN / 8);
	static const uint64_t values[] = {0, 1, UINT64_MAX, INT64_MAX, UINT64_C(1) << 32};

	if (random_below(2)) /* most of the region is slots: prefer headers and endpoints */
		at = (4096 + random_below(PEERS_N) * SECTION_LEN) / 8 + random_below(512);
	switch (random_below(3)) {
	case 0:
		words[at] = values[random_below(sizeof(values) / sizeof(*values))];
		break;
	case 1:
		words[at] ^= UINT64_C(1) << random_below(64);
		break;
	default:
		words[at] += (uint64_t)random_below(5) - 2;
	}
}

void ivs_shared_step(void)
{
	if (!sim.running)
		return;
	sim.steps++;
	if (sim.hostile && random_below(16) == 0)
		scribble();
	if (sim.steps > STEPS_MAX && !sim.hostile)
		fail("a run does not end");
	if (sim.steps > STEPS_MAX) /* in a hostile run, peers may wait for those that are gone */
		sim.over = true;
	if (++sim.running->busy > BUSY_MAX) {
		fprintf(stderr, "simulation: seed %lu: a call does not return\n", sim.seed);
		exit(1);
	}
	if (sim.over)
		return;
	if (sim.running->id == 0 && sim.kill_at && sim.steps >= sim.kill_at)
		sim.running->killed = true;
	if (sim.running->killed || random_below(sim.switch_in) == 0)
		yield();
}

static bool can_run(const struct ivs_peer *peer)
{
	return !peer->ended && !peer->killed && (!peer->blocked || peer->rung);
}

/* Choose the next peer; NULL: all have ended or sleep. */
static struct ivs_peer *choose(void)
{
	unsigned int first = random_below(PEERS_N);

	for (unsigned int i = 0; i < PEERS_N; i++) {
		struct ivs_peer *peer = &sim.peers[(first + i) % PEERS_N];

		if (can_run(peer))
			return peer;
	}
	return NULL;
}

/* The server tells the others of a killed peer after a while. */
static bool announce_death(void)
{
	struct ivs_peer *dead = &sim.peers[0];

	if (!dead->killed || dead->left)
		return false;
	dead->left = true;
	for (unsigned int i = 1; i < PEERS_N; i++)
		sim.peers[i].rung++;
	return true;
}

static void schedule(void)
{
	while (!sim.over) {
		struct ivs_peer *peer;

		if (random_below(200) == 0)
			(void)announce_death();
		peer = choose();
		if (!peer && !announce_death())
			break;
		if (!peer)
			continue;
		sim.running = peer;
		swapcontext(&sim.scheduler, &peer->context);
		sim.running = NULL;
	}
}

/* The peer API */

void *ivs_peer_memory(const struct ivs_peer *peer, size_t *len)
{
	(void)peer;
	if (len)
		*len = REGION_LEN;
	return sim.region;
}

size_t ivs_peer_usable_len(const struct ivs_peer *peer)
{
	(void)peer;
	return REGION_LEN;
}

unsigned int ivs_peer_caps(const struct ivs_peer *peer)
{
	(void)peer;
	return IVS_CAP_ID | IVS_CAP_RING | IVS_CAP_WAIT | IVS_CAP_WRITE;
}

int ivs_peer_id(const struct ivs_peer *peer)
{
	return peer->id;
}

unsigned int ivs_peer_vectors(const struct ivs_peer *peer)
{
	(void)peer;
	return 1;
}

int ivs_peer_ring(struct ivs_peer *peer, unsigned int id, unsigned int vector)
{
	(void)peer;
	if (id >= PEERS_N)
		return IVS_PEER_E_ABSENT;
	if (vector)
		return IVS_PEER_E_VECTOR;
	sim.peers[id].rung++;
	return 0;
}

/* A wait of SLEEP_MAX_MS has no limit here, so that a missing doorbell is noticed. */
int ivs_peer_next(struct ivs_peer *peer, int timeout_ms, struct ivs_event *event)
{
	struct ivs_peer *dead = &sim.peers[0];

	peer->busy = 0;
	if (sim.over)
		return IVS_PEER_E_STOPPED;
	if (timeout_ms >= 1000) {
		peer->blocked = true;
		yield();
		peer->blocked = false;
	} else if (timeout_ms) {
		yield();
	}
	if (sim.over)
		return IVS_PEER_E_STOPPED;
	if (dead->left && !(dead->left_for >> peer->id & 1)) {
		dead->left_for |= UINT64_C(1) << peer->id;
		*event = (struct ivs_event){.type = IVS_EVENT_LEAVE, .id = 0};
		return 0;
	}
	if (!peer->rung)
		return IVS_PEER_E_TIMEOUT;
	peer->rung = 0;
	*event = (struct ivs_event){.type = IVS_EVENT_DOORBELL};
	return 0;
}

/* Pauses, too: the others run meanwhile. */
int nanosleep(const struct timespec *time, struct timespec *left)
{
	(void)time;
	(void)left;
	if (!sim.running)
		return 0;
	sim.running->busy = 0;
	if (!sim.over)
		yield();
	return 0;
}

#endif
