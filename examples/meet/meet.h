/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * meet: a fixed number of peers, on the host or in guests, meet in the region, write into it, read
 * what the others wrote, ring each other and measure.
 *
 * A guest cannot see who else is connected (the device does not tell), so the peers find each other
 * in memory. Every peer writes only to its own slot and its own area. What another wrote is read
 * once, checked and then used.
 */
#ifndef MEET_H
#define MEET_H

#include <stdbool.h>
#include <stdint.h>

#include "ivshmem/peer.h"

#define PEERS_MAX 8
#define VECTORS_MAX 64
#define NAME_LEN 32

/* How far a peer is. A stage is entered when all that belongs to those before it is done. */
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
 * struct slot - what one peer says to the others; in the region, at its id
 * @nonce:      a random number that is not 0; new in every run, so that what an earlier run left
 *              behind is not taken for somebody who is there
 * @saw:        by id: the nonce that this peer has seen there
 * @stage:      enum stage
 * @ring:       the doorbell that it rings just now: peer << 32 | vector << 16 | number
 * @heard:      by id: the last @ring of that peer which reached this one
 * @pairs_done: how many pairs it knows to have been measured
 * @ready:      the pair, from 1, for which it is ready to be rung
 */
struct slot {
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
_Static_assert(sizeof(struct slot) == 512, "the layout is the same for every peer");

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
 * struct meet - one peer's view
 * @peers_n:  how many are to meet, this one included; their ids are 0 to peers_n - 1
 * @area_len: bytes of each peer's area; area 0 holds the slots, area id + 1 is the peer's own
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
	struct slot *slots;
	uint64_t nonces[PEERS_MAX];
	char names[PEERS_MAX][NAME_LEN];

	struct ring_record rings[PEERS_MAX * VECTORS_MAX];
	unsigned int rings_n;
	bool correct[PEERS_MAX];
	struct round_trips trips[PEERS_MAX];
	unsigned int trips_n;
	struct speeds speeds;
};

/* table.c: finding each other, and waiting for each other. Return: whether it went well. */
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
