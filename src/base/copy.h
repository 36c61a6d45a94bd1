/* SPDX-License-Identifier: BSD-3-Clause */
/* Copying long pieces of memory between processors. */
#ifndef IVS_BASE_COPY_H
#define IVS_BASE_COPY_H

#include <stddef.h>
#include <stdint.h>

/*
 * Whether a copy of this length or more is faster past the caches or with memcpy(3) depends on the
 * processor, on the size of its caches, and on where the next reader runs: each was three times as
 * fast as the other on some machine (bench/README.md, 1 MiB). So both are tried, and the faster one
 * is used. Shorter copies should stay in the caches.
 */
#define IVS_COPY_LONG (1u << 20)

#define IVS_COPY_CLASSES 6    /* of lengths: each is up to twice as long as the former */
#define IVS_COPY_RUN 16u      /* copies with one method; only the last ones of them count */
#define IVS_COPY_TRIES 32u    /* with both methods in turn, before one is chosen */
#define IVS_COPY_PERIOD 2048u /* of so many copies, one run tries the other method again */
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
 * ivs_copy() - copy as memcpy(3) does, in the way that has taken less time
 *
 * Later stores of this thread are not visible before the copy.
 */
void ivs_copy(void *to, const void *from, size_t len);

/**
 * ivs_copy_for_others() - ivs_copy() to memory that another processor reads next
 *
 * A copy past the caches can take less time here, and cost the reader more than that. If the reader
 * is the slower side, this thread waits for it. So it is the time from one copy to the
 * next that counts, unless that is much longer than a copy.
 */
void ivs_copy_for_others(void *to, const void *from, size_t len);

#endif
