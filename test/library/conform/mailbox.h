/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How the suite and its partner communicate: a page in the region, which every transport has. One
 * side requests, the other answers; all fields are written before the counter.
 */
#ifndef CONFORM_MAILBOX_H
#define CONFORM_MAILBOX_H

#include <stdatomic.h>
#include <stdint.h>

#define PAGE 4096UL
#define MIB (1UL << 20)

/* Layout of the region. The first page and the last usable page belong to the cases about them. */
#define MAILBOX_AT (64UL << 10)
#define SCRATCH_AT (128UL << 10) /* one page and more */
#define WORDS_AT (256UL << 10)	 /* counters, never patterns */
#define LARGE_AT MIB		 /* 1 MiB */
#define REGION_MIN (4 * MIB)

#define MAILBOX_READY 0x70617274 /* "part" */
#define ARGS_N 5
#define RESULTS_N 3

/* More vectors than any test uses. */
#define VECTORS_MAX 16

/**
 * enum request - requests to the partner
 * @ASK_HELLO: results: its id (-1: it has none), its vectors, bytes of the region
 * @ASK_WRITE: a pattern. args: offset, bytes, seed
 * @ASK_CHECK: the same; results: how many bytes are wrong, the first of them
 * @ASK_ADD:   add 1 to a counter. args: offset, number of times
 * @ASK_RING:  args: slot, id, vector, times, delay in ms; result: of ivs_peer_ring()
 * @ASK_TAKE:  args: slot, vector, timeout in ms, offset; results: of ivs_peer_wait(), the counter
 * @ASK_JOIN:  args: slot; results: of ivs_peer_open(), id, vectors
 * @ASK_LEAVE: args: slot
 * @ASK_KNOWS: wait until it knows a peer. args: id, vectors; result: vectors that it knows
 * @ASK_QUIT:  the end
 *
 * A slot is a peer of the partner; number 0 always exists.
 */
enum request {
	ASK_HELLO = 1,
	ASK_WRITE,
	ASK_CHECK,
	ASK_ADD,
	ASK_RING,
	ASK_TAKE,
	ASK_JOIN,
	ASK_LEAVE,
	ASK_KNOWS,
	ASK_QUIT,
};

/**
 * struct mailbox
 * @ready:    MAILBOX_READY: the partner serves requests
 * @taken:    not 0: the caller has removed the device, server or name
 * @asked:    counts requests
 * @answered: the last request that was served
 */
struct mailbox {
	_Atomic uint32_t ready;
	_Atomic uint32_t taken;
	_Atomic uint32_t asked;
	_Atomic uint32_t answered;
	_Atomic uint32_t request;
	_Atomic uint32_t unused;
	_Atomic uint64_t args[ARGS_N];
	_Atomic int64_t results[RESULTS_N];
};

/* Byte @i of a pattern: not the same at any two offsets nearby, nor for two seeds. */
static inline uint8_t pattern_byte(uint64_t seed, uint64_t i)
{
	return (uint8_t)((i ^ (i >> 8) ^ (i >> 16)) * 31 + seed * 101 + 7);
}

void pattern_write(volatile uint8_t *at, uint64_t len, uint64_t seed);

/* Return: the number of wrong bytes; *first is set to the first of them. */
uint64_t pattern_check(const volatile uint8_t *at, uint64_t len, uint64_t seed, uint64_t *first);

/* For polling, where no event is available. */
void take_a_breath(void);

int partner_run(const char *address);

#endif
