/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * meet: a fixed number of peers, on the host or in guests, find each other in the region, write
 * into it, read each other's data, ring each other and measure.
 *
 * The device does not report other peers to a guest, so the peers find each other in memory. Each
 * peer writes only to its own cell and its own area. Data of other peers is read once, checked,
 * and then used.
 */
#ifndef MEET_H
#define MEET_H

#include <stdbool.h>
#include <stdint.h>

#include "ivshmem/peer.h"

#define PEERS_MAX 8
#define VECTORS_MAX 64
#define NAME_LEN 32

/* The progress of a peer. A stage is entered when everything before it is done. */
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
 * struct cell - the messages of a peer to the others; in the region, at its id
 * @nonce:      a random number that is not 0, new in each run: tells cells of earlier runs apart
 * @saw:        by id: the nonce that this peer has read there
 * @stage:      enum stage
 * @ring:       the doorbell that it is about to ring: peer << 32 | vector << 16 | number
 * @heard:      by id: the last @ring of that peer that has arrived
 * @pairs_done: number of pairs that have been measured
 * @ready:      the pair, from 1, for which it is ready to be rung
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
 * @peers_n:  number of peers, with this one; their ids are 0 to peers_n - 1
 * @area_len: bytes of an area; area 0 holds the cells, area id + 1 belongs to peer id
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

/* table.c: finding each other, and waiting for each other. Return: whether it succeeded. */
bool meet_open(struct meet *meet, const char *address);
bool meet_others(struct meet *meet);
void meet_enter(struct meet *meet, enum stage stage);
bool meet_await(struct meet *meet, enum stage stage);
bool meet_await_value(struct meet *meet, const _Atomic uint64_t *value, uint64_t at_least,
		      const char *what);
bool meet_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* memory.c: writing and reading the region */
void meet_write(struct meet *meet);
bool meet_read(struct meet *meet);
void meet_measure_memory(struct meet *meet);

/* doorbells.c */
bool meet_ring(struct meet *meet);
bool meet_measure_doorbells(struct meet *meet);

#endif
