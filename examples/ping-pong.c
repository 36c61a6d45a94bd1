/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Two peers measure the round-trip time of a doorbell. On the host, run this in two terminals; the
 * two peers find each other through the roster if no other peers are connected:
 *
 *   ping-pong unix:/tmp/ivshmem_socket
 *
 * In guests, specify the id of the other peer (not needed with ivshmem-server --roster):
 *
 *   ping-pong pci: 1 10000                       in the guest with id 0
 *   ping-pong /dev/ivshmem0 0 10000              in the guest with id 1
 *
 * The peer with the lower id measures; the other one answers. Any peer can ring, and doorbells
 * coalesce, so a doorbell is only a hint; numbers in the region identify pings and answers.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <ivshmem/peer.h>

#define MEETING_MS 30000 /* time limit for the peers to find each other */
#define AGAIN_MS 100	 /* ring at this interval: the other peer may not have joined yet */
#define ANSWER_MS 30000	 /* long, because an emulated guest on a loaded machine may stall */

/* A peer's message to the other peer, in one cache line of the region; the index is its id. */
struct cell {
	_Atomic uint64_t ping; /* number that the other peer is to answer; 0 ends the game */
	_Atomic uint64_t pong; /* last number that this peer has answered */
	char pad[48];
};

struct game {
	struct ivs_peer *peer;
	struct cell *mine;
	struct cell *other;
	unsigned int other_id;
	bool named; /* if false, the other peer was found in the roster and may be about to leave */
	unsigned int rounds;
};

enum outcome { DONE, FAILED, LEFT /* the other peer left before the first answer */ };

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static enum outcome fail(const char *what, int result)
{
	fprintf(stderr, "ping-pong: %s%s%s\n", what, result ? ": " : "",
		result ? ivs_peer_strerror(result) : "");
	return FAILED;
}

/*
 * Return: whether the other peer was found in the roster but has left. @result: the result of
 * ringing that peer.
 */
static bool has_left(const struct game *game, int result)
{
	return !game->named && result == IVS_PEER_E_ABSENT;
}

/*
 * Ring until the answer arrives. Ringing once may not be enough, because the other peer may not
 * have joined yet, and an untrusted peer may consume doorbells.
 */
static enum outcome ping(const struct game *game, uint64_t number, bool met)
{
	uint64_t deadline = now_ns() + (met ? ANSWER_MS : MEETING_MS) * 1000000ull;
	uint64_t again;
	int result;

	atomic_store(&game->mine->ping, number);
	while (atomic_load(&game->other->pong) != number) {
		result = ivs_peer_ring(game->peer, game->other_id, 0);
		if (!met && has_left(game, result))
			return LEFT;
		if (result < 0 || (result && met) || now_ns() > deadline)
			return fail("the other peer is not answering", result);
		again = now_ns() + AGAIN_MS * 1000000ull;
		do {
			result = ivs_peer_wait(game->peer, 0, AGAIN_MS);
		} while (!result && atomic_load(&game->other->pong) != number && now_ns() < again);
		if (result && result != IVS_PEER_E_TIMEOUT && result != -EINTR)
			return fail("cannot wait", result);
	}
	return DONE;
}

static int compare(const void *a, const void *b)
{
	return (*(const uint64_t *)a > *(const uint64_t *)b) -
	       (*(const uint64_t *)a < *(const uint64_t *)b);
}

static enum outcome measure(const struct game *game)
{
	unsigned int n = game->rounds;
	size_t p50 = n / 2, p99 = n * 99ull / 100;
	uint64_t *ns = calloc(n, sizeof(*ns));
	uint64_t number = now_ns(); /* no earlier game has used it */
	enum outcome outcome = ns ? ping(game, number, false) : fail("no memory", 0);
	int result;

	for (unsigned int i = 0; i < n && !outcome; i++) {
		uint64_t start = now_ns();

		outcome = ping(game, ++number, true);
		ns[i] = now_ns() - start;
	}
	atomic_store(&game->mine->ping, 0);
	if (!outcome) {
		qsort(ns, n, sizeof(*ns), compare);
		printf("ping-pong: %u round trips with peer %u: min %.1f us, p50 %.1f us, "
		       "p99 %.1f us\n",
		       n, game->other_id, (double)ns[0] / 1e3, (double)ns[p50] / 1e3,
		       (double)ns[p99] / 1e3);
		result = ivs_peer_ring(game->peer, game->other_id, 0);
		/* A surplus doorbell may already have made the other peer see the 0 and leave. */
		if (result && result != IVS_PEER_E_ABSENT)
			outcome = fail("cannot end the other peer's game", result);
	}
	free(ns);
	return outcome;
}

static enum outcome answer(const struct game *game)
{
	uint64_t deadline = now_ns() + MEETING_MS * 1000000ull;
	unsigned long answers_n = 0;
	uint64_t number;
	int result;

	for (;;) {
		result = ivs_peer_wait(game->peer, 0, answers_n ? ANSWER_MS : AGAIN_MS);
		if (result == IVS_PEER_E_TIMEOUT && !answers_n && now_ns() < deadline) {
			if (has_left(game, ivs_peer_ring(game->peer, game->other_id, 0)))
				return LEFT;
			continue;
		}
		if (result == -EINTR)
			continue;
		if (result)
			return fail("the other peer is not ringing", result);
		number = atomic_load(&game->other->ping);
		if (!number && answers_n)
			break;
		atomic_store(&game->mine->pong, number);
		result = ivs_peer_ring(game->peer, game->other_id, 0);
		if (!answers_n && has_left(game, result))
			return LEFT;
		/* The other peer may have ended the game without waiting for this answer. */
		if (result == IVS_PEER_E_ABSENT && answers_n && !atomic_load(&game->other->ping))
			break;
		if (result)
			return fail("cannot ring the other peer", result);
		answers_n += number != 0;
	}
	printf("ping-pong: answered peer %u %lu times\n", game->other_id, answers_n);
	return DONE;
}

/* Return: the id of the next peer that is connected or that joins; -1 on failure. */
static int find_other(struct ivs_peer *peer)
{
	struct ivs_event event;
	int result;

	do {
		result = ivs_peer_next(peer, MEETING_MS, &event);
		if (!result && event.type == IVS_EVENT_JOIN && event.vectors_n)
			return (int)event.id;
	} while (!result || result == -EINTR);
	fail("no other peer joined", result);
	return -1;
}

/* Play a game with @other_id or, if it is -1, with a peer found in the roster. */
static enum outcome play(struct ivs_peer *peer, int other_id, unsigned int rounds)
{
	struct cell *cells = ivs_peer_memory(peer, NULL);
	long cells_n = (long)(ivs_peer_usable_len(peer) / sizeof(*cells));
	int id = ivs_peer_id(peer);
	struct game game = {.peer = peer, .named = other_id >= 0, .rounds = rounds};
	enum outcome outcome;

	if (ivs_peer_cap_reason(peer, IVS_CAP_WAIT))
		return fail(ivs_peer_cap_reason(peer, IVS_CAP_WAIT), 0);
	printf("ping-pong: I am peer %d (%s)\n", id, ivs_peer_transport(peer));
	if (!game.named && ivs_peer_cap_reason(peer, IVS_CAP_ROSTER))
		return fail("name the other PEER: without a roster it is unknown", 0);
	do {
		if (!game.named && (other_id = find_other(peer)) < 0)
			return FAILED;
		if (other_id == id || id >= cells_n || other_id >= cells_n)
			return fail("PEER is this peer's own id, or the region is too small for "
				    "the ids",
				    0);
		game.mine = &cells[id];
		game.other = &cells[other_id];
		game.other_id = (unsigned int)other_id;
		outcome = id < other_id ? measure(&game) : answer(&game);
	} while (outcome == LEFT);
	return outcome;
}

/* Return: the number; -1 if @text is not a number from 0 to @max. */
static long parse(const char *text, long max)
{
	char *end;
	long n = strtol(text, &end, 10);

	return *text && !*end && n <= max ? n : -1;
}

int main(int argc, char **argv)
{
	bool help = argc == 2 && !strcmp(argv[1], "--help");
	long other_id = argc > 2 ? parse(argv[2], 65535) : -1;
	long rounds = argc > 3 ? parse(argv[3], 10000000) : 1000;
	struct ivs_peer *peer;
	struct ivs_error err;
	int status;

	if (help || argc < 2 || argc > 4 || (argc > 2 && other_id < 0) || rounds < 1) {
		fputs("usage: ping-pong ADDRESS [PEER [ROUNDS]]\n", help ? stdout : stderr);
		return help ? 0 : 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (ivs_peer_open(argv[1], NULL, &peer, &err))
		return fail(err.text, 0);
	status = play(peer, (int)other_id, (unsigned int)rounds);
	ivs_peer_close(peer);
	return status;
}
