/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Senders that are killed, and others that begin with the same id, simulated as in simulation.c.
 *
 *   restarts [--runs N] [--seed N]
 *
 * A sender opens several queues one after the other, and closes some at once. It may be killed
 * between any two accesses to shared words, and another may begin with its id, also if no server
 * says so. The receiver gets every message of each queue once, in order and complete, until the
 * sender closes the queue or is killed. No peer sleeps forever while there is work for it. In half
 * of the runs a hostile peer rewrites words: then the others must end.
 */
#include <errno.h>
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
#define LIVES_N 4  /* the last one is that of a peer that gets the id of peer 0 after its death */
#define QUEUES_N 3 /* that a sender opens one after the other */
#define SECTION_LEN 32768
#define REGION_LEN (4096 + PEERS_N * SECTION_LEN)
#define STACK_LEN (128 * 1024)
#define STEPS_MAX 400000 /* of one run; an honest run takes fewer than 50,000 */
#define NAPS_MAX 200
#define MESSAGES_N 5 /* of each queue */

struct ivs_peer {
	int id;
	unsigned int rung;
	bool blocked;	   /* sleeps until it is rung */
	bool ended;	   /* its function has returned */
	bool killed;	   /* it runs no more */
	bool left;	   /* the others have been told that it was killed */
	uint64_t left_for; /* bitmap of the lives that have been reported */
	bool joined;	   /* it has begun */
	uint64_t joined_for;
	ucontext_t context;
	void *stack;
	void (*run)(struct ivs_peer *peer);
	struct ivs_channels *channels;
	struct ivs_queue *queue;
	/* Receiver: number of the next message of each queue, and how many there were. */
	uint32_t next_from[LIVES_N][QUEUES_N];
	uint32_t got_from[LIVES_N];
	uint32_t sent[QUEUES_N];
};

static struct {
	struct ivs_peer peers[LIVES_N];
	struct ivs_peer *running;
	ucontext_t scheduler;
	uint8_t *region;
	uint64_t random;
	unsigned long seed;
	uint32_t steps;
	uint32_t naps;	    /* short sleeps */
	uint32_t switch_in; /* switch to another peer once in so many steps */
	uint32_t kill_at;   /* kill peer 0 at this step; 0: never */
	bool hostile;
	bool restarts; /* another peer begins after peer 0 was killed */
	bool silent;   /* there is no server that reports joins and leaves */
	bool lazy;     /* the receiver does not use its queue after the last message */
	bool over;     /* the run is ended although peers have not */
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
	if (sim.steps > STEPS_MAX)
		fail("a peer runs endlessly");
	if (sim.steps > 2 * STEPS_MAX) {
		fprintf(stderr, "restarts: seed %lu: %s\n", sim.seed, sim.failure);
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
	if (sim.over)
		return IVS_PEER_E_STOPPED;
	if (timeout_ms >= 1000) {
		peer->blocked = true;
		yield();
		peer->blocked = false;
	} else if (timeout_ms) {
		/* A sender without a receiver waits like that for as long as it wants. */
		if (sim.hostile && ++sim.naps > NAPS_MAX)
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
	if (sim.running && !sim.over)
		yield();
	return 0;
}

/* What the peers do */

struct message {
	uint16_t life;
	uint16_t queue;
	uint32_t number;
	uint64_t check[6];
};

static struct message make_message(unsigned int life, unsigned int queue, uint32_t number)
{
	struct message message = {(uint16_t)life, (uint16_t)queue, number, {0}};

	for (unsigned int i = 0; i < 6; i++)
		message.check[i] = (number + 1) * UINT64_C(0x9e3779b97f4a7c15) + i;
	return message;
}

/* In half of the runs, without a blocking call. */
static int send_message(struct ivs_peer *peer, const struct message *message)
{
	int result;

	if (sim.seed % 2)
		return ivs_queue_send(peer->queue, message, sizeof(*message), -1);
	while ((result = ivs_queue_send(peer->queue, message, sizeof(*message), 0)) ==
		       IVS_CHANNEL_E_TIMEOUT &&
	       !sim.over) {
		result = ivs_channels_wait(peer->channels, -1);
		if (result)
			break;
	}
	return result;
}

/* What was sent arrives even if the queue is closed at once, once it has a receiver. */
static int run_queue(struct ivs_peer *peer, unsigned int queue)
{
	const struct ivs_queue_options opts = {2u << random_below(4), sizeof(struct message)};
	int result = ivs_queue_open_sender(peer->channels, "queue", &opts, &peer->queue);

	for (uint32_t i = 0; !result && i < MESSAGES_N; i++) {
		struct message message = make_message((unsigned int)(peer - sim.peers), queue, i);

		result = send_message(peer, &message);
		peer->sent[queue] += !result;
	}
	if (!result && (random_below(2) || !ivs_queue_peers(peer->queue)))
		result = ivs_queue_flush(peer->queue, -1);
	ivs_queue_close(peer->queue);
	peer->queue = NULL;
	return result;
}

static void run_sender(struct ivs_peer *peer)
{
	int result = 0;

	for (unsigned int queue = 0; queue < QUEUES_N && !result; queue++)
		result = run_queue(peer, queue);
	if (result && !sim.hostile && !sim.over)
		fail("a sender failed");
}

static void check_message(struct ivs_peer *peer, const struct message *got, size_t len)
{
	struct message expected;

	if (len != sizeof(*got) || got->life >= LIVES_N || got->queue >= QUEUES_N) {
		fail("a message is not one that was sent");
		return;
	}
	expected = make_message(got->life, got->queue, peer->next_from[got->life][got->queue]++);
	peer->got_from[got->life]++;
	if (memcmp(got, &expected, sizeof(expected)))
		fail("a message is torn, lost, doubled or out of order");
}

static bool has_all(const struct ivs_peer *peer, unsigned int life)
{
	return peer->got_from[life] == QUEUES_N * MESSAGES_N;
}

/* @dead: peer 0 is known to be dead, and what it has sent has been received */
static bool is_satisfied(const struct ivs_peer *peer, bool dead)
{
	return has_all(peer, 1) && (dead || has_all(peer, 0)) &&
	       (has_all(peer, LIVES_N - 1) || (!sim.restarts && !sim.peers[LIVES_N - 1].joined));
}

/* The senders must not need the receiver any more. */
static void be_lazy(void)
{
	for (unsigned int i = 0; i < 100000 && !sim.over; i++) {
		bool all = true;

		for (unsigned int life = 0; life < LIVES_N; life++)
			all = all && (life == PEERS_N - 1 || sim.peers[life].ended ||
				      sim.peers[life].killed);
		if (all)
			return;
		yield();
	}
	if (!sim.over)
		fail("a sender sleeps although everything was received");
}

static void run_receiver(struct ivs_peer *peer)
{
	int result = ivs_queue_open_receiver(peer->channels, "queue", &peer->queue);
	unsigned int failures = 0;
	bool dead = false;

	while (!result && !sim.over && !is_satisfied(peer, dead)) {
		struct message message;
		size_t len;

		/* Wait for anything, also for the death of a sender that has no queue yet. */
		dead = sim.peers[0].left;
		if (!dead || !has_all(peer, 1) || sim.restarts || sim.peers[LIVES_N - 1].joined)
			result = ivs_channels_wait(peer->channels, -1);
		while (!result && !sim.over) {
			result = ivs_queue_receive(peer->queue, &message, sizeof(message), &len, 0);
			if (!result && !sim.hostile)
				check_message(peer, &message, len);
		}
		if (result == IVS_CHANNEL_E_ENDED || result == IVS_CHANNEL_E_TIMEOUT ||
		    (sim.hostile && result == IVS_CHANNEL_E_BROKEN && ++failures < 8))
			result = 0;
	}
	if (result && !sim.hostile && !sim.over)
		fail("the receiver failed");
	if (sim.lazy && !sim.over && !sim.hostile)
		be_lazy();
	ivs_queue_close(peer->queue);
	peer->queue = NULL;
}

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
	yield();
}

/* Runs */

static void start_peer(unsigned int life)
{
	struct ivs_peer *peer = &sim.peers[life];
	void *stack = peer->stack;

	*peer = (struct ivs_peer){.id = (int)(life % PEERS_N), .stack = stack};
	peer->ended = life == LIVES_N - 1; /* it begins later */
	peer->run = life == PEERS_N - 1 ? run_receiver : run_sender;
	getcontext(&peer->context);
	peer->context.uc_stack.ss_sp = stack;
	peer->context.uc_stack.ss_size = STACK_LEN;
	makecontext(&peer->context, (void (*)(void))(void *)run_peer, 1, life);
}

/* Let the peers that sleep, and those that were killed, free their memory. */
static void clean_up(void)
{
	sim.over = true;
	for (unsigned int i = 0; i < LIVES_N; i++) {
		sim.running = &sim.peers[i];
		while (!sim.running->ended)
			swapcontext(&sim.scheduler, &sim.running->context);
		sim.running = NULL;
	}
}

static void check_end(void)
{
	const struct ivs_peer *receiver = &sim.peers[PEERS_N - 1];

	if (sim.hostile)
		return;
	for (unsigned int i = 0; i < LIVES_N; i++) {
		if (!sim.peers[i].ended && !sim.peers[i].killed)
			fail("a peer sleeps although there is something to do");
	}
	/*
	 * The queue of a sender that dies before the receiver finds it is lost, and what is left in
	 * it when another peer takes the section.
	 */
	for (unsigned int i = 0; i < QUEUES_N && !sim.peers[LIVES_N - 1].joined; i++) {
		if (receiver->next_from[0][i] && receiver->next_from[0][i] < sim.peers[0].sent[i])
			fail("messages of a killed sender were lost");
	}
}

static void run_once(unsigned long seed, bool hostile)
{
	sim.random = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
	sim.seed = seed;
	sim.hostile = hostile;
	sim.over = false;
	sim.steps = sim.naps = 0;
	sim.switch_in = 1u << (1 + random_below(9));
	sim.kill_at = random_below(2) ? 1 + random_below(8000) : 0;
	/* A hostile peer can make the receiver end before another sender begins. */
	sim.restarts = sim.kill_at && !hostile && random_below(2);
	sim.silent = sim.restarts && random_below(2);
	sim.lazy = random_below(2);
	memset(sim.region, 0, REGION_LEN);
	for (unsigned int i = 0; i < LIVES_N; i++)
		start_peer(i);
	schedule();
	check_end();
	clean_up();
}

/* Return: memory with an inaccessible page on both sides. */
static uint8_t *map_region(void)
{
	uint8_t *all = mmap(NULL, REGION_LEN + 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (all == MAP_FAILED || mprotect(all + 4096, REGION_LEN, PROT_READ | PROT_WRITE)) {
		perror("restarts");
		exit(1);
	}
	return all + 4096;
}

int main(int argc, char **argv)
{
	unsigned long runs = 1000;
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
			fprintf(stderr, "restarts --runs 1 --seed %lu (%s): %s\n", seed + i / 2,
				i % 2 ? "hostile" : "honest", sim.failure);
	}
	printf("%lu honest and %lu hostile runs, %lu accesses to shared words\n", runs, runs,
	       steps);
	return sim.failure ? 1 : 0;
}
