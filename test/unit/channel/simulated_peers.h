/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Simulated peers: coroutines, of which a random choice runs one at a time, the peer API that they
 * use, and the runs of a test with them. A test defines PROGRAM, its name; PEERS_N, the number
 * of peers; LIVES_N, one more, because another peer can get the id of peer 0 after its death; and
 * struct peer_work, what each peer works with. Then it includes this file.
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

#define SECTION_LEN 32768
#define REGION_LEN (4096 + PEERS_N * SECTION_LEN)
#define STACK_LEN (128 * 1024)
#define STEPS_MAX 400000 /* of one run; an honest run takes fewer than 50,000 */
#define BUSY_MAX 100000	 /* of a peer, without waiting */

struct ivs_peer {
	int id;
	unsigned int rung;
	bool blocked;	   /* sleeps until it is rung */
	bool ended;	   /* its function has returned */
	bool killed;	   /* it runs no more */
	bool left;	   /* the others have been told that it was killed */
	uint64_t left_for; /* bitmap of the peers to which that was reported */
	bool joined;	   /* it has begun after the death of peer 0 */
	uint64_t joined_for;
	ucontext_t context;
	void *stack;
	void (*run)(struct ivs_peer *peer);
	struct ivs_channels *channels;
	uint32_t busy; /* accesses since it waited last */
	struct peer_work work;
};

static struct {
	struct ivs_peer peers[LIVES_N];
	struct ivs_peer *running;
	ucontext_t scheduler;
	uint8_t *region;
	uint64_t random;
	unsigned long seed;
	uint32_t steps;
	uint32_t switch_in; /* switch to another peer once in so many steps */
	uint32_t kill_at;   /* kill peer 0 at this step; 0: never */
	bool hostile;
	uint32_t naps;	   /* short sleeps in a hostile run */
	uint32_t naps_max; /* how many end the run; 0: any number */
	bool restarts;	   /* another peer begins after peer 0 was killed */
	bool rings_at_end; /* a peer that ends rings the others, as the server would */
	bool silent;	   /* there is no server that reports joins and leaves */
	bool over;	   /* the run is ended although peers have not */
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
		fprintf(stderr, PROGRAM ": seed %lu: a call does not return\n", sim.seed);
		exit(1);
	}
	if (sim.over)
		return;
	if (sim.running == sim.peers && sim.kill_at && sim.steps >= sim.kill_at)
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
	unsigned int first = random_below(LIVES_N);

	for (unsigned int i = 0; i < LIVES_N; i++) {
		struct ivs_peer *peer = &sim.peers[(first + i) % LIVES_N];

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
	for (unsigned int i = 1; i < PEERS_N && !sim.silent; i++)
		sim.peers[i].rung++;
	return true;
}

/* Then it can give the id to another peer. */
static bool start_next(void)
{
	struct ivs_peer *next = &sim.peers[LIVES_N - 1];

	if (!sim.restarts || !sim.peers[0].left)
		return false;
	sim.restarts = false;
	next->joined = true;
	next->ended = false;
	for (unsigned int i = 1; i < PEERS_N && !sim.silent; i++)
		sim.peers[i].rung++;
	return true;
}

static void schedule(void)
{
	while (!sim.over) {
		struct ivs_peer *peer;

		if (random_below(200) == 0)
			(void)(announce_death() || start_next());
		peer = choose();
		if (!peer && !announce_death() && !start_next())
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
	if (!id)
		sim.peers[LIVES_N - 1].rung++;
	return 0;
}

/* The server reports the death of peer 0, and that another peer has its id. */
static bool report(struct ivs_peer *peer, struct ivs_event *event)
{
	struct ivs_peer *dead = &sim.peers[0];
	struct ivs_peer *next = &sim.peers[LIVES_N - 1];
	uint64_t bit = UINT64_C(1) << peer->id;

	if (sim.silent || !peer->id)
		return false;
	if (dead->left && !(dead->left_for & bit)) {
		dead->left_for |= bit;
		*event = (struct ivs_event){.type = IVS_EVENT_LEAVE, .id = 0};
		return true;
	}
	if (!next->joined || next->joined_for & bit)
		return false;
	next->joined_for |= bit;
	*event = (struct ivs_event){.type = IVS_EVENT_JOIN, .id = 0, .vectors_n = 1};
	return true;
}

/* A wait of SLEEP_MAX_MS has no limit here, so that a missing doorbell is noticed. */
int ivs_peer_next(struct ivs_peer *peer, int timeout_ms, struct ivs_event *event)
{
	peer->busy = 0;
	if (sim.over)
		return IVS_PEER_E_STOPPED;
	if (timeout_ms >= 1000) {
		peer->blocked = true;
		yield();
		peer->blocked = false;
	} else if (timeout_ms) {
		if (sim.hostile && sim.naps_max && ++sim.naps > sim.naps_max)
			sim.over = true;
		yield();
	}
	if (sim.over)
		return IVS_PEER_E_STOPPED;
	if (report(peer, event))
		return 0;
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

/* Runs */

static void run_peer(unsigned int life)
{
	struct ivs_peer *peer = &sim.peers[life];
	const struct ivs_channels_options opts = {IVS_CHANNEL_SECTION_OF_ID, PEERS_N, 0};

	if (!ivs_channels_open(peer, &opts, &peer->channels, NULL))
		peer->run(peer);
	else if (!sim.hostile && !sim.over)
		fail("a peer cannot open its channels");
	ivs_channels_close(peer->channels);
	peer->channels = NULL;
	peer->ended = true;
	for (unsigned int i = 0; i < PEERS_N; i++)
		sim.peers[i].rung += i != life && sim.rings_at_end;
	yield();
}

static void start_peer(unsigned int life, void (*run)(struct ivs_peer *peer))
{
	struct ivs_peer *peer = &sim.peers[life];
	void *stack = peer->stack;

	*peer = (struct ivs_peer){.id = (int)(life % PEERS_N), .stack = stack, .run = run};
	peer->ended = life == LIVES_N - 1; /* it begins later, if at all */
	getcontext(&peer->context);
	peer->context.uc_stack.ss_sp = stack;
	peer->context.uc_stack.ss_size = STACK_LEN;
	makecontext(&peer->context, (void (*)(void))(void *)run_peer, 1, life);
}

static void begin_run(unsigned long seed, bool hostile)
{
	sim.random = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
	sim.seed = seed;
	sim.hostile = hostile;
	sim.over = sim.restarts = sim.silent = sim.rings_at_end = false;
	sim.steps = sim.naps = 0;
	sim.switch_in = 1u << (1 + random_below(9));
	memset(sim.region, 0, REGION_LEN);
}

/* Let the peers that sleep, and those that were killed, free their memory. */
static void end_run(void)
{
	sim.over = true;
	for (unsigned int i = 0; i < LIVES_N; i++) {
		sim.running = &sim.peers[i];
		while (!sim.running->ended)
			swapcontext(&sim.scheduler, &sim.running->context);
		sim.running = NULL;
	}
}

static void check_that_all_ended(void)
{
	for (unsigned int i = 0; i < LIVES_N; i++) {
		if (!sim.peers[i].ended && !sim.peers[i].killed)
			fail("a peer sleeps although there is something to do");
	}
}

/* Return: memory with an inaccessible page on both sides. */
static uint8_t *map_region(void)
{
	uint8_t *all = mmap(NULL, REGION_LEN + 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (all == MAP_FAILED || mprotect(all + 4096, REGION_LEN, PROT_READ | PROT_WRITE)) {
		perror(PROGRAM);
		exit(1);
	}
	return all + 4096;
}

/* Make honest and hostile runs, by default @runs of each. Return: an exit status. */
static int simulate(int argc, char **argv, unsigned long runs,
		    void (*run_once)(unsigned long seed, bool hostile))
{
	unsigned long seed = 1;
	uint64_t steps = 0;

	for (int i = 1; i + 1 < argc; i += 2) {
		if (!strcmp(argv[i], "--runs"))
			runs = strtoul(argv[i + 1], NULL, 10);
		if (!strcmp(argv[i], "--seed"))
			seed = strtoul(argv[i + 1], NULL, 10);
	}
	sim.region = map_region();
	for (unsigned int i = 0; i < LIVES_N; i++)
		sim.peers[i].stack = malloc(STACK_LEN);
	for (unsigned long i = 0; i < 2 * runs && !sim.failure; i++) {
		run_once(seed + i / 2, i % 2);
		steps += sim.steps;
		if (sim.failure)
			fprintf(stderr, PROGRAM " --runs 1 --seed %lu (%s): %s\n", seed + i / 2,
				i % 2 ? "hostile" : "honest", sim.failure);
	}
	printf("%lu honest and %lu hostile runs, %lu accesses to shared words\n", runs, runs,
	       steps);
	return sim.failure ? 1 : 0;
}

#endif
