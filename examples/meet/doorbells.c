/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "meet.h"

#define LOOK_MS 100

/*
 * A doorbell carries no data and does not identify its sender. So before a peer rings, it announces
 * the doorbell in its cell, and the peer that is rung acknowledges the doorbell in its own cell.
 */
static uint64_t pack_ring(unsigned int to, unsigned int vector, unsigned int number)
{
	return (uint64_t)to << 32 | vector << 16 | number;
}

static bool ring_one(struct meet *meet, unsigned int to, unsigned int vector, unsigned int number)
{
	uint64_t ring = pack_ring(to, vector, number);
	char what[96];
	int result;

	meet->cells[meet->id].ring = ring;
	result = ivs_peer_ring(meet->peer, to, vector);
	if (result)
		return meet_fail("cannot ring peer %u %s, vector %u: %s", to, meet->names[to],
				 vector, ivs_peer_strerror(result));
	snprintf(what, sizeof(what), "peer %u %s acknowledges vector %u", to, meet->names[to],
		 vector);
	return meet_await_value(meet, &meet->cells[to].heard[meet->id], ring, what);
}

/* This peer's vector @vector was rung: acknowledge the doorbell if @from has announced it. */
static void take_ring_of(struct meet *meet, unsigned int from, unsigned int vector)
{
	struct cell *mine = &meet->cells[meet->id];
	uint64_t ring = meet->cells[from].ring;

	if (ring >> 32 != meet->id || (ring >> 16 & 0xffff) != vector || ring <= mine->heard[from])
		return;
	for (unsigned int i = 0; i < meet->rings_n; i++) {
		if (meet->rings[i].from == from && meet->rings[i].vector == vector)
			meet->rings[i].arrived = true;
	}
	printf("meet: %u %s rings my vector %u: arrived\n", from, meet->names[from], vector);
	mine->heard[from] = ring;
}

/* Check the cells of all peers, because the next peer's turn may already have begun. */
static void take_ring(struct meet *meet, unsigned int vector)
{
	for (unsigned int from = 0; from < meet->peers_n; from++) {
		if (from != meet->id)
			take_ring_of(meet, from, vector);
	}
}

/* Handle one event. If none arrives, subtract the time spent waiting from @left_ms. */
static bool take_event(struct meet *meet, int *left_ms)
{
	struct ivs_event event;
	int result = ivs_peer_next(meet->peer, LOOK_MS, &event);

	if (!result && event.type == IVS_EVENT_DOORBELL)
		take_ring(meet, event.vector);
	if (result == IVS_PEER_E_TIMEOUT)
		*left_ms -= LOOK_MS;
	return !result || result == IVS_PEER_E_TIMEOUT || result == -EINTR ||
	       meet_fail("cannot wait for doorbells: %s", ivs_peer_strerror(result));
}

/*
 * Peers may meet in memory before the server has announced their vectors, so wait for the vectors
 * of @to. If the transport has no roster, vectors are never announced.
 */
static bool await_doorbells_of(struct meet *meet, unsigned int to)
{
	int left_ms = meet->timeout_ms;

	while (ivs_peer_caps(meet->peer) & IVS_CAP_ROSTER &&
	       ivs_peer_vectors_of(meet->peer, to) < meet->vectors_n) {
		if (!take_event(meet, &left_ms))
			return false;
		if (left_ms <= 0)
			return meet_fail("gave up waiting for the doorbells of peer %u %s", to,
					 meet->names[to]);
	}
	return true;
}

/* On this peer's turn, ring each vector of each other peer, one after another. */
static bool ring_all(struct meet *meet)
{
	unsigned int number = 0;
	bool all = true;

	for (unsigned int to = 0; to < meet->peers_n; to++) {
		if (to != meet->id && !await_doorbells_of(meet, to))
			return false;
		for (unsigned int vector = 0; to != meet->id && vector < meet->vectors_n; vector++)
			all &= ring_one(meet, to, vector, ++number);
	}
	return all;
}

/* When it is the turn of peer @from, acknowledge its doorbells until it has rung all peers. */
static bool listen_to(struct meet *meet, unsigned int from)
{
	int left_ms = meet->timeout_ms;

	while (meet->cells[from].stage < STAGE_RUNG) {
		if (!take_event(meet, &left_ms))
			return false;
		if (left_ms <= 0)
			return meet_fail("gave up listening to peer %u %s", from,
					 meet->names[from]);
	}
	return true;
}

static void expect_rings(struct meet *meet)
{
	for (unsigned int from = 0; from < meet->peers_n; from++) {
		for (unsigned int vector = 0; from != meet->id && vector < meet->vectors_n;
		     vector++)
			meet->rings[meet->rings_n++] = (struct ring_record){from, vector, false};
	}
}

bool meet_ring(struct meet *meet)
{
	bool all = true;

	expect_rings(meet);
	for (unsigned int turn = 0; turn < meet->peers_n && all; turn++) {
		if (turn != meet->id) {
			all = listen_to(meet, turn);
			continue;
		}
		all = ring_all(meet);
		if (all)
			meet_enter(meet, STAGE_RUNG);
	}
	return all;
}

static double now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static int compare_times(const void *a, const void *b)
{
	double left = *(const double *)a;
	double right = *(const double *)b;

	return (left > right) - (left < right);
}

/* Wait for vector 0 to be rung, even if the process is stopped and continued while it waits. */
static int wait_for_ring(struct meet *meet)
{
	int result;

	do {
		result = ivs_peer_wait(meet->peer, 0, meet->timeout_ms);
	} while (result == -EINTR);
	return result;
}

static bool ping(struct meet *meet, unsigned int with, double *times)
{
	for (unsigned int i = 0; i < meet->rounds; i++) {
		double start = now_us();

		int result = ivs_peer_ring(meet->peer, with, 0);

		if (!result)
			result = wait_for_ring(meet);
		if (result)
			return meet_fail("round trip %u with peer %u %s was not answered: %s", i,
					 with, meet->names[with], ivs_peer_strerror(result));
		times[i] = now_us() - start;
	}
	return true;
}

static bool pong(struct meet *meet, unsigned int with)
{
	for (unsigned int i = 0; i < meet->rounds; i++) {
		int result = wait_for_ring(meet);

		if (!result)
			result = ivs_peer_ring(meet->peer, with, 0);
		if (result)
			return meet_fail(
				"the doorbell of round trip %u from peer %u %s did not arrive: %s",
				i, with, meet->names[with], ivs_peer_strerror(result));
	}
	return true;
}

static bool measure_with(struct meet *meet, unsigned int with)
{
	double *times = calloc(meet->rounds, sizeof(*times));
	struct round_trips *trips = &meet->trips[meet->trips_n];
	bool ok = times && ping(meet, with, times);

	if (ok) {
		qsort(times, meet->rounds, sizeof(*times), compare_times);
		*trips = (struct round_trips){
			.with = with,
			.n = meet->rounds,
			.p50_us = times[meet->rounds / 2],
			.p99_us = times[meet->rounds * 99 / 100],
		};
		meet->trips_n++;
		printf("meet: doorbell to %u %s and back: %.0f us, 99%% within %.0f us\n", with,
		       meet->names[with], trips->p50_us, trips->p99_us);
	}
	free(times);
	return ok;
}

/*
 * Measure the round trips of pair number @pair, counting from 1: @from rings, @to answers, and the
 * other peers wait.
 */
static bool measure_pair(struct meet *meet, unsigned int from, unsigned int to, uint64_t pair)
{
	struct cell *mine = &meet->cells[meet->id];
	bool ok = true;

	if (meet->id == from) {
		ok = meet_await_value(meet, &meet->cells[to].ready, pair,
				      "the other peer is ready for round trips") &&
		     measure_with(meet, to);
	} else if (meet->id == to) {
		mine->ready = pair;
		ok = pong(meet, from);
	}
	if (ok && meet->id == from)
		mine->pairs_done = pair;
	return ok && meet_await_value(meet, &meet->cells[from].pairs_done, pair,
				      "the others have measured their round trips");
}

bool meet_measure_doorbells(struct meet *meet)
{
	uint64_t pair = 0;
	bool ok = true;

	for (unsigned int from = 0; from < meet->peers_n; from++) {
		for (unsigned int to = 0; to < meet->peers_n && ok; to++) {
			if (to != from)
				ok = measure_pair(meet, from, to, ++pair);
		}
	}
	return ok;
}
