/* SPDX-License-Identifier: BSD-3-Clause */
/* Copying long pieces of memory between processors. */
#ifndef IVS_BASE_COPY_H
#define IVS_BASE_COPY_H

#include <stddef.h>
#include <stdint.h>

/*
 * Whether a copy of this length or more is faster past the caches or with memcpy(3) depends on the
 * processor, on the size of its caches, and on where the next reader runs: each was three times as
 * fast as the other on some machine (bench/README.md, 1 MiB). So ivs_copy() tries both, and uses
 * the faster one. Shorter copies should stay in the caches.
 */
#define IVS_COPY_LONG (1u << 20)

#define IVS_COPY_CLASSES 6   /* of lengths: each is up to twice as long as the former */
#define IVS_COPY_TRIES 10    /* of both methods in turn, before one is chosen */
#define IVS_COPY_PERIOD 256u /* after so many copies, the other method is tried again */
#define IVS_COPY_COST_MAX (1u << 30)

/**
 * struct ivs_copy_choice - which method is faster for copies of about the same length
 * @turn: number of copies
 * @cost: of each method (0: memcpy(3), 1: past the caches), in ns for each MiB; 0: not known. A
 *        single slow copy raises it by an eighth, because the thread may have been interrupted
 */
struct ivs_copy_choice {
	uint32_t turn;
	uint32_t cost[2];
};

/** ivs_copy_choose() - the method for the next copy */
unsigned int ivs_copy_choose(struct ivs_copy_choice *choice);

/** ivs_copy_learn() - take note of what a copy cost */
void ivs_copy_learn(struct ivs_copy_choice *choice, unsigned int method, uint64_t cost);

/** ivs_copy_past_caches() - copy without leaving the copy in this processor's caches */
void ivs_copy_past_caches(void *to, const void *from, size_t len);

/**
 * ivs_copy() - memcpy(3), but faster for what another processor reads next
 *
 * Later stores of this thread are not visible before the copy.
 */
void ivs_copy(void *to, const void *from, size_t len);

#endif
