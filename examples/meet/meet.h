/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * meet: a fixed number of peers, on the host or in guests, find each other in the region, write to
 * it, read each other's data, ring each other, and measure the speed of doorbells and memory.
 *
 * The peers find each other in memory, because the device does not report peers to a guest. Each
 * peer writes only to its own cell and its own area. It copies other peers' data once and checks
 * the copy before use.
 */
#ifndef MEET_H
#define MEET_H

#include <stdbool.h>
#include <stdint.h>

#include "ivshmem/peer.h"

#define PEERS_MAX 8
#define VECTORS_MAX 64
#define NAME_LEN 32

/* A peer's progress. A peer enters a stage once it has done what the stage's name says. */
enum stage {
	STAGE_NONE,
	STAGE_OPENED,
	STAGE_MET,
	STAGE_WRITTEN,
	STAGE_READ,
	STAGE_RUNG,
	STAGE_MEASURED,
	STAGE_DONE,
};

/**
 * struct cell - what a peer tells the other peers; the region has an array of cells, indexed by id
 * @nonce:      random number, not 0, that distinguishes cells of this run from cells of earlier
 *              runs
 * @saw:        for each peer id, the nonce that the owner of this cell has read in that peer's cell
 * @stage:      enum stage that the owner has entered
 * @ring:       doorbell that the owner is about to ring: peer << 32 | vector << 16 | number
 * @heard:      for each peer id, the last @ring of that peer for which the owner received the
 *              doorbell
 * @pairs_done: number of the last pair that the owner has measured
 * @ready:      number of the pair, from 1, for which the owner is ready to be rung
 */
struct cell {
	_Atomic uint64_t nonce;
	_Atomic uint64_t saw[PEERS_MAX];
	_Atomic uint64_t stage;
	_Atomic uint64_t ring;
	_Atomic uint64_t heard[PEERS_MAX];
	_Atomic uint64_t pairs_done;
	_Atomic uint64_t ready;
	char name[NAME_LEN];
	char pad[512 - 8 * (5 + 2 * PEERS_MAX) - NAME_LEN];
};
_Static_assert(sizeof(struct cell) == 512, "the layout is the same for every peer");

struct ring_record {
	unsigned int from;
	unsigned int vector;
	bool arrived;
};

struct round_trips {
	unsigned int with;
	unsigned int n;
	double p50_us;
	double p99_us;
};

struct speeds {
	double write_mbs;
	double read_mbs;
	double floor_mbs;
};

/**
 * struct meet - the state of this peer
 * @peers_n:  number of peers, including this one; their ids are 0 to peers_n - 1
 * @area_len: length of each area in bytes; area 0 has the cells, area N + 1 belongs to peer N
 */
struct meet {
	const char *name;
	unsigned int peers_n;
	unsigned int vectors_n;
	unsigned int rounds;
	int timeout_ms;
	struct ivs_peer *peer;
	unsigned int id;
	char *memory;
	size_t memory_len;
	size_t area_len;
	struct cell *cells;
	uint64_t nonces[PEERS_MAX];
	char names[PEERS_MAX][NAME_LEN];

	struct ring_record rings[PEERS_MAX * VECTORS_MAX];
	unsigned int rings_n;
	bool correct[PEERS_MAX];
	struct round_trips trips[PEERS_MAX];
	unsigned int trips_n;
	struct speeds speeds;
};

/* table.c: find the other peers, and wait for them. Each function returns whether it succeeded. */
bool meet_open(struct meet *meet, const char *address);
bool meet_others(struct meet *meet);
void meet_enter(struct meet *meet, enum stage stage);
bool meet_await(struct meet *meet, enum stage stage);
bool meet_await_value(struct meet *meet, const _Atomic uint64_t *value, uint64_t at_least,
		      const char *what);
bool meet_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* memory.c: write and read the region, and measure its speed */
void meet_write(struct meet *meet);
bool meet_read(struct meet *meet);
void meet_measure_memory(struct meet *meet);

/* doorbells.c */
bool meet_ring(struct meet *meet);
bool meet_measure_doorbells(struct meet *meet);

#endif
