/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Peers that use queues, simulated: the real code of src/channel, with a peer API that this file
 * supplies. Each peer is a coroutine, and before each access to a shared word a random choice says
 * which peer runs next. So the schedules include those in which a peer is interrupted, or killed,
 * between any two accesses.
 *
 *   simulation [--runs N] [--seed N]
 *
 * Honest: the receiver gets every message of each sender once, in order and complete, until the
 * sender closes the queue or is killed. With streams, a server returns to each client the bytes
 * that it wrote, also after the client has shut the stream down. No peer sleeps forever while there
 * is work for it.
 * Hostile: one peer rewrites random words of the region between any two accesses of the others.
 * They must end without a crash, an access outside the region, or an endless loop.
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
	struct ivs_stream_listener *listener;
	struct ivs_stream *streams[STREAMS_MAX];
	uint32_t next_from[PEERS_N]; /* receiver: number of the next message of each sender */
	uint32_t sent;
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
	bool streams;
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

const char *ivs_peer_cap_reason(const struct ivs_peer *peer, enum ivs_peer_cap cap)
{
	return peer && cap ? "" : NULL;
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

/* What the peers do */

struct message {
	uint32_t sender;
	uint32_t number;
	uint64_t check[6];
};

static struct message make_message(unsigned int sender, uint32_t number)
{
	struct message message = {sender, number, {0}};

	for (unsigned int i = 0; i < 6; i++)
		message.check[i] = (number + 1) * UINT64_C(0x9e3779b97f4a7c15) + i;
	return message;
}

static void run_sender(struct ivs_peer *peer)
{
	const struct ivs_queue_options opts = {2u << random_below(3), sizeof(struct message)};
	int result = ivs_queue_open_sender(peer->channels, "queue", &opts, &peer->queue);

	for (uint32_t i = 0; !result && i < MESSAGES_N; i++) {
		struct message message = make_message((unsigned int)peer->id, i);

		result = ivs_queue_send(peer->queue, &message, sizeof(message), -1);
		peer->sent += !result;
	}
	if (!result)
		result = ivs_queue_flush(peer->queue, -1);
	if (result && !sim.hostile && !sim.over)
		fail("a sender failed");
	ivs_queue_close(peer->queue);
	peer->queue = NULL;
}

static void check_message(struct ivs_peer *peer, const struct message *got, size_t len)
{
	struct message expected;

	if (len != sizeof(*got) || got->sender >= PEERS_N) {
		fail("a message is not one that was sent");
		return;
	}
	expected = make_message(got->sender, peer->next_from[got->sender]++);
	if (memcmp(got, &expected, sizeof(expected)))
		fail("a message is torn, lost, doubled or out of order");
}

/* @dead: peer 0 is known to be dead, and what it has sent has been received */
static bool is_satisfied(const struct ivs_peer *peer, bool dead)
{
	return peer->next_from[1] == MESSAGES_N && (dead || peer->next_from[0] == MESSAGES_N);
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
		if (!dead || peer->next_from[1] < MESSAGES_N)
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
	ivs_queue_close(peer->queue);
	peer->queue = NULL;
}

static uint8_t byte_at(unsigned int client, unsigned int i)
{
	return (uint8_t)(i * 7 + i / 50 + client * 31);
}

/* Write everything, then the end; then read everything back. Return: 0, IVS_CHANNEL_E_*. */
static int ask_once(struct ivs_peer *peer, struct ivs_stream *stream)
{
	uint8_t bytes[BYTES_N];
	uint32_t sent = 0;
	uint32_t got = 0;
	int result = 0;
	size_t n;

	for (unsigned int i = 0; i < BYTES_N; i++)
		bytes[i] = byte_at((unsigned int)peer->id, i);
	while (!result && sent < BYTES_N) {
		uint32_t len = 1 + random_below(BYTES_N - sent);

		result = ivs_stream_write(stream, bytes + sent, len, &n, -1);
		sent += (uint32_t)n;
	}
	ivs_stream_shutdown(stream);
	while (!result) {
		result = ivs_stream_read(stream, bytes, 1 + random_below(BYTES_N), &n, -1);
		for (size_t i = 0; i < n && !sim.hostile; i++) {
			if (bytes[i] != byte_at((unsigned int)peer->id, got++))
				fail("a byte of a stream is wrong");
		}
	}
	if (got != BYTES_N && !sim.hostile && !sim.over)
		fail("bytes of a stream are missing");
	return result == IVS_CHANNEL_E_ENDED ? 0 : result;
}

static void run_client(struct ivs_peer *peer)
{
	const struct ivs_stream_options opts = {64u << random_below(4)};
	int result = 0;

	for (unsigned int i = 0; i < CONNECTIONS_N && !result; i++) {
		result = ivs_stream_connect(peer->channels, "stream", &opts, &peer->streams[0], -1);
		if (result)
			break;
		result = ask_once(peer, peer->streams[0]);
		ivs_stream_close(peer->streams[0]);
		peer->streams[0] = NULL;
		peer->sent += !result;
	}
	if (result && !sim.hostile && !sim.over)
		fail("a client failed");
}

/* Return what was read. Return: false at the end of the stream. */
static bool serve_stream(struct ivs_stream *stream)
{
	uint8_t bytes[64];
	size_t at = 0;
	size_t got;
	size_t n;
	int result = ivs_stream_read(stream, bytes, sizeof(bytes), &got, 0);

	while (!result && at < got) {
		result = ivs_stream_write(stream, bytes + at, got - at, &n, -1);
		at += n;
	}
	return !result || result == IVS_CHANNEL_E_TIMEOUT;
}

static void serve_all(struct ivs_peer *peer)
{
	for (unsigned int i = 0; i < STREAMS_MAX; i++) {
		struct ivs_stream **stream = &peer->streams[i];
		unsigned int client;

		if (!*stream && ivs_stream_accept(peer->listener, stream, 0))
			*stream = NULL;
		if (!*stream || serve_stream(*stream))
			continue;
		client = ivs_stream_section(*stream);
		peer->next_from[client < PEERS_N ? client : 0]++;
		ivs_stream_close(*stream);
		*stream = NULL;
	}
}

static bool has_served(const struct ivs_peer *peer, bool dead)
{
	bool idle = true;

	for (unsigned int i = 0; i < STREAMS_MAX; i++)
		idle = idle && !peer->streams[i];
	return idle && peer->next_from[1] >= CONNECTIONS_N &&
	       (dead || peer->next_from[0] >= CONNECTIONS_N);
}

static void run_server(struct ivs_peer *peer)
{
	const struct ivs_stream_options opts = {64u << random_below(4)};
	int result = ivs_stream_listen(peer->channels, "stream", &opts, &peer->listener);
	bool dead = false;

	while (!result && !sim.over && !has_served(peer, dead)) {
		dead = sim.peers[0].left;
		result = ivs_channels_wait(peer->channels, dead ? 1 : -1);
		if (result == IVS_CHANNEL_E_TIMEOUT)
			result = 0;
		serve_all(peer);
	}
	if (result && !sim.hostile && !sim.over)
		fail("the server failed");
	for (unsigned int i = 0; i < STREAMS_MAX; i++)
		ivs_stream_close(peer->streams[i]);
	ivs_stream_listener_close(peer->listener);
}

static void run_peer(unsigned int id)
{
	struct ivs_peer *peer = &sim.peers[id];
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

static void start_peer(unsigned int id)
{
	struct ivs_peer *peer = &sim.peers[id];
	void *stack = peer->stack;

	*peer = (struct ivs_peer){.id = (int)id, .stack = stack};
	if (sim.streams)
		peer->run = id == PEERS_N - 1 ? run_server : run_client;
	else
		peer->run = id == PEERS_N - 1 ? run_receiver : run_sender;
	getcontext(&peer->context);
	peer->context.uc_stack.ss_sp = stack;
	peer->context.uc_stack.ss_size = STACK_LEN;
	makecontext(&peer->context, (void (*)(void))(void *)run_peer, 1, id);
}

/* Let the peers that sleep, and those that were killed, free their memory. */
static void clean_up(void)
{
	sim.over = true;
	for (unsigned int i = 0; i < PEERS_N; i++) {
		sim.running = &sim.peers[i];
		while (!sim.running->ended)
			swapcontext(&sim.scheduler, &sim.running->context);
		sim.running = NULL;
	}
}

static void check_end(void)
{
	const struct ivs_peer *receiver = &sim.peers[PEERS_N - 1];

	for (unsigned int i = 0; i < PEERS_N && !sim.hostile; i++) {
		if (!sim.peers[i].ended && !sim.peers[i].killed)
			fail("a peer sleeps although there is something to do");
	}
	/* The queue of a sender that dies before the receiver finds it is lost. */
	if (!sim.hostile && !sim.streams && receiver->next_from[0] &&
	    receiver->next_from[0] < sim.peers[0].sent)
		fail("messages of a killed sender were lost");
}

static void run_once(unsigned long seed, bool hostile)
{
	sim.random = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
	sim.seed = seed;
	sim.hostile = hostile;
	sim.over = false;
	sim.steps = 0;
	sim.switch_in = 1u << (1 + random_below(9));
	sim.kill_at = !hostile && random_below(2) ? 1 + random_below(8000) : 0;
	sim.streams = random_below(2);
	memset(sim.region, 0, REGION_LEN);
	for (unsigned int i = 0; i < PEERS_N; i++)
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
		perror("simulation");
		exit(1);
	}
	return all + 4096;
}

int main(int argc, char **argv)
{
	unsigned long runs = 5000;
	unsigned long seed = 1;
	uint64_t steps = 0;

	for (int i = 1; i + 1 < argc; i += 2) {
		if (!strcmp(argv[i], "--runs"))
			runs = strtoul(argv[i + 1], NULL, 10);
		if (!strcmp(argv[i], "--seed"))
			seed = strtoul(argv[i + 1], NULL, 10);
	}
	sim.region = map_region();
	for (unsigned int i = 0; i < PEERS_N; i++)
		sim.peers[i].stack = malloc(STACK_LEN);
	for (unsigned long i = 0; i < 2 * runs && !sim.failure; i++) {
		run_once(seed + i / 2, i % 2);
		steps += sim.steps;
		if (sim.failure)
			fprintf(stderr, "simulation --runs 1 --seed %lu (%s): %s\n", seed + i / 2,
				i % 2 ? "hostile" : "honest", sim.failure);
	}
	printf("%lu honest and %lu hostile runs, %lu accesses to shared words\n", runs, runs,
	       steps);
	return sim.failure ? 1 : 0;
}
