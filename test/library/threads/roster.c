/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Several threads of a peer read the roster page while a server writes it, and then while an
 * untrusted peer overwrites it as well (P-4, P-9). The thread sanitizer checks that the page is
 * read with atomic loads. This is a plain program because Criterion does not run under that
 * sanitizer.
 */
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ivshmem/peer.h"
#include "ivshmem/region.h"
#include "roster_page/writer.h"

#define LEN (1 << 20)
#define WORDS_N (IVS_ROSTER_PAGE_LEN / 8)
#define PAIRS 30
#define PAIR_OFFSET 100 /* ids i and i + PAIR_OFFSET join and leave together */
#define CHANGES_MAX 100000
#define PAUSE_NS 100000
#define ENOUGH 100

static struct ivs_roster_page_writer *page;
static struct ivs_peer *peer;
static uint64_t *last_page;
static _Atomic bool done;
static _Atomic bool scribbling;
static _Atomic unsigned int failures;
static _Atomic unsigned int snapshots;
static _Atomic unsigned int joins;
static _Atomic unsigned int leaves;

static void fail(const char *what, long value)
{
	fprintf(stderr, "roster-threads: %s: %ld\n", what, value);
	failures++;
}

/* xorshift64 */
static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static void change(uint64_t *state)
{
	unsigned int id = (unsigned int)(next_random(state) % PAIRS);

	for (unsigned int i = id; i <= id + PAIR_OFFSET; i += PAIR_OFFSET) {
		if (ivs_roster_page_writer_since(page, i))
			ivs_roster_page_writer_leave(page, i);
		else
			ivs_roster_page_writer_join(page, i, i % 7, 0);
	}
	if (ivs_roster_page_writer_flush(page))
		fail("flush", 0);
}

static void *serve(void *arg)
{
	const struct timespec pause = {.tv_nsec = PAUSE_NS};
	uint64_t state = 88172645463325252u;

	/* Pause after each change: a page that is written continuously cannot be read. */
	for (unsigned int i = 0; i < CHANGES_MAX; i++) {
		change(&state);
		nanosleep(&pause, NULL);
		if (snapshots >= ENOUGH && joins >= ENOUGH && leaves >= ENOUGH)
			break;
	}
	done = true;
	return arg;
}

static void *scribble(void *arg)
{
	uint64_t state = 362436069362436069u;

	while (!done) {
		uint64_t where = next_random(&state) % (next_random(&state) % 2 ? 8 : WORDS_N);
		uint64_t what = next_random(&state) >> next_random(&state) % 64;

		if (scribbling)
			__atomic_store_n(&last_page[where], what, __ATOMIC_RELAXED);
	}
	return arg;
}

static bool has(const struct ivs_roster_entry *peers, unsigned int n, unsigned int id)
{
	for (unsigned int i = 0; i < n; i++) {
		if (peers[i].id == id)
			return true;
	}
	return false;
}

/* Check a consistent copy of the page, taken while only the server writes the page. */
static void check_moment(const struct ivs_roster_info *seen, const struct ivs_roster_entry *peers)
{
	if (!seen->maintained || seen->peers_n != seen->listed_n || seen->listed_n > 2 * PAIRS)
		fail("not maintained, or wrong number of peers listed", seen->listed_n);
	for (unsigned int i = 0; i < seen->listed_n && i < 2 * PAIRS; i++) {
		unsigned int id = peers[i].id;

		if (peers[i].vectors_n != id % 7 || peers[i].since > seen->generation)
			fail("wrong vectors or generation of peer", id);
		if (!has(peers, seen->listed_n,
			 id < PAIR_OFFSET ? id + PAIR_OFFSET : id - PAIR_OFFSET))
			fail("only one peer of a pair is listed", id);
	}
}

static void *read_all(void *arg)
{
	struct ivs_roster_entry peers[2 * PAIRS];

	while (!done) {
		struct ivs_roster_info seen;
		int result = ivs_peer_read_roster(peer, &seen, peers, 2 * PAIRS);

		if (!result) {
			snapshots++;
			if (!scribbling)
				check_moment(&seen, peers);
			else if (seen.listed_n > (IVS_ID_MAX + 1) || seen.peers_n > 65536)
				fail("more peers than ids", seen.listed_n);
		} else if (result != IVS_PEER_E_BUSY &&
			   (result != IVS_PEER_E_ABSENT || !scribbling)) {
			fail("cannot read the page", result);
		}
		for (unsigned int id = 0; id < PAIR_OFFSET + PAIRS; id++)
			if (ivs_peer_vectors_of(peer, id) > (IVS_VECTOR_MAX + 1))
				fail("too many vectors of peer", id);
	}
	return arg;
}

static void *take_events(void *arg)
{
	static bool there[IVS_ID_MAX + 1];
	struct ivs_event event;

	while (!done) {
		int result = ivs_peer_next(peer, 10, &event);

		if (result && result != IVS_PEER_E_TIMEOUT)
			fail("next", result);
		if (result)
			continue;
		joins += event.type == IVS_EVENT_JOIN;
		leaves += event.type == IVS_EVENT_LEAVE;
		if (event.type == IVS_EVENT_LEAVE && !there[event.id])
			fail("a leave without a join", event.id);
		if (event.type == IVS_EVENT_JOIN || event.type == IVS_EVENT_LEAVE)
			there[event.id] = event.type == IVS_EVENT_JOIN;
	}
	return arg;
}

static void run(bool with_scribbler)
{
	void *(*const runs[])(void *) = {serve, scribble, take_events, read_all, read_all};
	pthread_t threads[sizeof(runs) / sizeof(*runs)];

	done = false;
	scribbling = with_scribbler;
	snapshots = joins = leaves = 0;
	for (size_t i = 0; i < sizeof(runs) / sizeof(*runs); i++)
		pthread_create(&threads[i], NULL, runs[i], NULL);
	for (size_t i = 0; i < sizeof(runs) / sizeof(*runs); i++)
		pthread_join(threads[i], NULL);
	printf("roster-threads: %s: %u snapshots, %u joins, %u leaves\n",
	       with_scribbler ? "with a scribbler" : "the server alone", snapshots, joins, leaves);
	if (snapshots < ENOUGH || joins < ENOUGH || leaves < ENOUGH)
		fail("too few snapshots or events", snapshots);
}

int main(void)
{
	struct ivs_region_options opts = IVS_REGION_OPTIONS_INIT;
	struct ivs_region *region;
	struct ivs_error err;
	char address[64];
	uint8_t *memory;

	opts.size = LEN;
	snprintf(address, sizeof(address), "shm:ivs-test-threads-%d", (int)getpid());
	if (ivs_region_open(address, &opts, &region, &err)) {
		fprintf(stderr, "%s\n", err.text);
		return 1;
	}
	if (ivs_roster_page_writer_new(region, IVS_ROSTER_PAGE_ENTRIES_DEFAULT, &page, &err) ||
	    ivs_roster_page_writer_flush(page) || ivs_peer_open(address, NULL, &peer, &err)) {
		fprintf(stderr, "cannot start\n");
		return ivs_region_remove(region) ? 2 : 1;
	}
	/*
	 * Write through the peer's own mapping, because the sanitizer sees conflicts only within
	 * one mapping.
	 */
	memory = ivs_peer_memory(peer, NULL);
	last_page = (uint64_t *)(memory + LEN - IVS_ROSTER_PAGE_LEN);
	run(false);
	run(true);
	ivs_peer_close(peer);
	ivs_roster_page_writer_free(page);
	if (ivs_region_remove(region))
		fail("remove", 0);
	ivs_region_close(region);
	return failures ? 1 : 0;
}
