/* SPDX-License-Identifier: BSD-3-Clause */
/* Several threads or a child process use one peer, and the peer is stopped while threads wait. */
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "conform.h"

#define THREADS 4
#define TIMES 50

/**
 * struct worker - a thread, its call, and the result
 * @number: the vector to wait for or to ring; NEXT: wait for any event
 * @times:  how many times ask_it() makes its calls
 */
struct worker {
	pthread_t thread;
	struct ivs_peer *peer;
	unsigned int number;
	unsigned int target;
	unsigned int times;
	atomic_int tid; /* set when the thread is about to make its call */
	int result;
};

#define NEXT (~0U)

static void *wait_for_it(void *arg)
{
	struct worker *worker = arg;
	struct ivs_event event;

	worker->tid = gettid();
	if (worker->number != NEXT) {
		worker->result = ivs_peer_wait(worker->peer, worker->number, LONG_MS);
		return NULL;
	}
	do {
		worker->result = ivs_peer_next(worker->peer, LONG_MS, &event);
	} while (!worker->result && event.type != IVS_EVENT_DOORBELL);
	return NULL;
}

static void *ring_it(void *arg)
{
	struct worker *worker = arg;

	for (unsigned int i = 0; i < TIMES && !worker->result; i++)
		worker->result = ivs_peer_ring(worker->peer, worker->target, worker->number);
	return NULL;
}

static void *ask_it(void *arg)
{
	struct worker *worker = arg;

	for (unsigned int i = 0; i < worker->times; i++) {
		struct ivs_roster_info published;
		unsigned int ids[4];

		ivs_peer_caps(worker->peer);
		ivs_peer_id(worker->peer);
		ivs_peer_vectors(worker->peer);
		ivs_peer_fd(worker->peer);
		ivs_peer_vector_fd(worker->peer, 0);
		ivs_peer_cap_reason(worker->peer, IVS_CAP_WAIT);
		ivs_peer_roster(worker->peer, ids, 4);
		ivs_peer_vectors_of(worker->peer, worker->target);
		if (ivs_peer_read_roster(worker->peer, &published, NULL, 0) < 0)
			worker->result = -1;
	}
	return NULL;
}

/* Start @n threads. Return: how many were started; if fewer than @n, the case has failed. */
static unsigned int start(struct conform *c, struct worker *workers, unsigned int n,
			  void *(*run)(void *))
{
	for (unsigned int i = 0; i < n; i++) {
		workers[i].peer = c->peer;
		if (pthread_create(&workers[i].thread, NULL, run, &workers[i])) {
			conform_fail(c, "cannot create a thread");
			return i;
		}
	}
	return n;
}

static void join(struct conform *c, struct worker *workers, unsigned int n, int wanted)
{
	for (unsigned int i = 0; i < n; i++)
		pthread_join(workers[i].thread, NULL);
	for (unsigned int i = 0; i < n; i++)
		EXPECT(c, workers[i].result == wanted, "thread %u: expected %s, got %s", i,
		       conform_result(wanted), conform_result(workers[i].result));
}

/* Wait until each worker sleeps in its call. */
static bool await_waiting(struct conform *c, const struct worker *workers, unsigned int n)
{
	int64_t end = conform_now_ms() + LONG_MS;

	for (unsigned int i = 0; i < n; i++) {
		while (!workers[i].tid && conform_now_ms() < end)
			take_a_breath();
		if (!conform_await_sleep(c, workers[i].tid))
			return false;
	}
	return true;
}

/* Each thread waits for a different vector, and only that vector wakes it. */
static void wait_in_threads(struct conform *c)
{
	struct worker workers[THREADS] = {{0}};
	unsigned int n = c->vectors_n < THREADS ? c->vectors_n : THREADS;

	for (unsigned int i = 0; i < n; i++)
		workers[i].number = i;
	n = start(c, workers, n, wait_for_it);
	if (can(c, IVS_CAP_WAIT) && await_waiting(c, workers, n)) {
		for (unsigned int i = n; i--;)
			ask_ring(c, i, 1);
	}
	join(c, workers, n, can(c, IVS_CAP_WAIT) ? 0 : IVS_PEER_E_UNSUPPORTED);
}

static void ring_in_threads(struct conform *c)
{
	struct worker workers[THREADS] = {{0}};
	unsigned int n = c->vectors_n < THREADS ? c->vectors_n : THREADS;

	for (unsigned int i = 0; i < n; i++) {
		workers[i].number = i;
		workers[i].target = c->partner >= 0 ? (unsigned int)c->partner : 0;
	}
	n = start(c, workers, n, ring_it);
	join(c, workers, n, can(c, IVS_CAP_RING) ? 0 : IVS_PEER_E_UNSUPPORTED);
	for (unsigned int i = 0; i < n && can(c, IVS_CAP_RING); i++) {
		EXPECT_OK(ask_rung(c, i));
		/* Each vector was rung TIMES times: consume the doorbells that did not coalesce. */
		do {
			EXPECT_OK(ASK(c, ASK_TAKE, {0, i, 0, WORDS_AT}));
		} while (!ask_result(c, 0));
	}
}

/* One thread rings a vector of its own peer while another thread waits for that vector. */
static void ring_and_wait(struct conform *c)
{
	struct worker waiter;
	int rung;

	if (!can(c, IVS_CAP_WAIT | IVS_CAP_RING)) {
		EXPECT_RESULT(c, ivs_peer_wait(c->peer, 0, -1), IVS_PEER_E_UNSUPPORTED);
		return;
	}
	for (unsigned int i = 0; i < TIMES / 5; i++) {
		waiter = (struct worker){0};
		EXPECT(c, start(c, &waiter, 1, wait_for_it) == 1, "cannot create a thread");
		rung = ivs_peer_ring(c->peer, (unsigned int)ivs_peer_id(c->peer), 0);
		join(c, &waiter, 1, 0);
		EXPECT(c, !rung, "ringing: expected 0, got %s", conform_result(rung));
		if (c->failed)
			return;
	}
}

/* One thread waits for vector 0, another for any event: each receives a doorbell. */
static void wait_and_next(struct conform *c)
{
	struct worker workers[2] = {{.number = 0}, {.number = NEXT}};
	unsigned int n = 2;

	if (!can(c, IVS_CAP_WAIT)) {
		EXPECT_RESULT(c, ivs_peer_wait(c->peer, 0, -1), IVS_PEER_E_UNSUPPORTED);
		return;
	}
	EXPECT(c, c->vectors_n > 1, "needs two vectors");
	n = start(c, workers, n, wait_for_it);
	if (await_waiting(c, workers, n)) {
		/* Only the second thread can receive vector 1; the first is still waiting for 0. */
		ask_ring(c, 1, 1);
		pthread_join(workers[1].thread, NULL);
		ask_ring(c, 0, 1);
		join(c, workers, 1, 0);
	}
	EXPECT(c, !workers[1].result, "ivs_peer_next(): %s", conform_result(workers[1].result));
}

static void ask_in_threads(struct conform *c)
{
	struct worker workers[THREADS] = {{0}};
	unsigned int n;

	/*
	 * An emulated guest is slow, so the search for races runs on the host, where sanitizers are
	 * also used.
	 */
	for (unsigned int i = 0; i < THREADS; i++)
		workers[i].times = c->device ? TIMES : TIMES * 10;
	n = start(c, workers, THREADS, ask_it);
	EXPECT_OK(conform_drain(c, c->peer, 0));
	join(c, workers, n, 0);
}

/* Stop the peer while @workers wait: all of them are woken, and the peer can be closed. */
static void stop_with(struct conform *c, struct worker *workers, unsigned int n)
{
	n = start(c, workers, n, wait_for_it);
	if (await_waiting(c, workers, n))
		ivs_peer_stop(c->peer);
	join(c, workers, n, IVS_PEER_E_STOPPED);
	conform_close(c);
}

static void stop_in_wait(struct conform *c)
{
	struct worker worker = {.number = 0};

	if (!can(c, IVS_CAP_WAIT)) {
		EXPECT_RESULT(c, ivs_peer_wait(c->peer, 0, -1), IVS_PEER_E_UNSUPPORTED);
		return;
	}
	stop_with(c, &worker, 1);
}

static void stop_in_next(struct conform *c)
{
	struct worker worker = {.number = NEXT};
	struct ivs_event event;

	if (!has_events(c)) {
		EXPECT_RESULT(c, ivs_peer_next(c->peer, -1, &event), IVS_PEER_E_UNSUPPORTED);
		return;
	}
	EXPECT_OK(conform_drain(c, c->peer, 0));
	stop_with(c, &worker, 1);
}

static void stop_in_many(struct conform *c)
{
	struct worker workers[THREADS] = {
		{.number = 0}, {.number = 1}, {.number = NEXT}, {.number = NEXT}};

	if (!can(c, IVS_CAP_WAIT)) {
		EXPECT_RESULT(c, ivs_peer_wait(c->peer, 0, -1), IVS_PEER_E_UNSUPPORTED);
		return;
	}
	EXPECT(c, c->vectors_n > 1, "needs two vectors");
	EXPECT_OK(conform_drain(c, c->peer, 0));
	stop_with(c, workers, THREADS);
}

static void memory_of_child(struct conform *c)
{
	uint64_t first;

	EXPECT_OK(ASK(c, ASK_WRITE, {SCRATCH_AT, PAGE, 60}));
	EXPECT(c, !pattern_check(c->memory + SCRATCH_AT, PAGE, 60, &first),
	       "the child does not see what was written");
	pattern_write(c->memory + SCRATCH_AT, PAGE, 61);
}

static void fork_memory(struct conform *c)
{
	uint64_t first;
	int number = conform_in_child(c, memory_of_child);

	EXPECT(c, !number, "the child was killed by %s", strsignal(number));
	EXPECT(c, !pattern_check(c->memory + SCRATCH_AT, PAGE, 61, &first),
	       "the parent does not see what the child wrote");
}

static void doorbells_of_child(struct conform *c)
{
	unsigned int id = c->partner >= 0 ? (unsigned int)c->partner : 0;

	EXPECT_RESULT(c, ivs_peer_ring(c->peer, id, 0),
		      can(c, IVS_CAP_RING) ? 0 : IVS_PEER_E_UNSUPPORTED);
	if (can(c, IVS_CAP_RING))
		EXPECT_OK(ask_rung(c, 0));
	if (can(c, IVS_CAP_WAIT))
		EXPECT_OK(ask_ring(c, 0, 1));
	EXPECT_RESULT(c, ivs_peer_wait(c->peer, 0, LONG_MS),
		      can(c, IVS_CAP_WAIT) ? 0 : IVS_PEER_E_UNSUPPORTED);
}

/* Only the child uses the peer; the parent then closes its own copy. */
static void fork_doorbells(struct conform *c)
{
	int number = conform_in_child(c, doorbells_of_child);

	conform_close(c);
	EXPECT(c, !number, "the child was killed by %s", strsignal(number));
}

static void close_of_child(struct conform *c)
{
	conform_close(c);
}

/* Closing the child's copy of the peer leaves the parent's copy open. */
static void fork_close(struct conform *c)
{
	int number = conform_in_child(c, close_of_child);

	EXPECT(c, !number, "the child was killed by %s", strsignal(number));
	EXPECT_OK(ASK(c, ASK_WRITE, {SCRATCH_AT, PAGE, 62}));
	conform_close(c);
}

const struct conform_case process_cases[] = {
	{"thread: each waits for a different vector", wait_in_threads},
	{"thread: all ring at once", ring_in_threads},
	{"thread: one rings, one waits", ring_and_wait},
	{"thread: one waits for a vector, one for any event", wait_and_next},
	{"thread: getters are called at any time", ask_in_threads},
	{"thread: stopped while one waits for a vector", stop_in_wait},
	{"thread: stopped while one waits for any event", stop_in_next},
	{"thread: stopped while several wait", stop_in_many},
	{"fork: the child has the memory", fork_memory},
	{"fork: the child rings and is rung", fork_doorbells},
	{"fork: the child closes its copy of the peer", fork_close},
	{0},
};
