/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Words of the region, which other peers may change at any time: little-endian, 64 bits, aligned.
 *
 * Load each word once, check the copy, then use the copy. A word is written by one peer only.
 */
#ifndef IVS_CHANNEL_SHARED_H
#define IVS_CHANNEL_SHARED_H

#include <endian.h>
#include <stddef.h>
#include <stdint.h>

#include "base/copy.h"

#ifdef IVS_SHARED_TESTED
/** ivs_shared_step() - supplied by a test, which runs steps of other peers between two accesses */
void ivs_shared_step(void);
#else
static inline void ivs_shared_step(void)
{
}
#endif

/** ivs_shared_load() - load a word; later accesses of this peer are not executed before the load */
static inline uint64_t ivs_shared_load(const uint64_t *word)
{
	ivs_shared_step();
	return le64toh(__atomic_load_n(word, __ATOMIC_SEQ_CST));
}

/** ivs_shared_store() - store a word after all earlier accesses of this peer */
static inline void ivs_shared_store(uint64_t *word, uint64_t value)
{
	ivs_shared_step();
	__atomic_store_n(word, htole64(value), __ATOMIC_RELEASE);
}

/** ivs_shared_fence() - order all earlier stores of this peer before all its later loads */
static inline void ivs_shared_fence(void)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

/**
 * ivs_shared_publish() - store a word as ivs_shared_store() does, and order the store before all
 * later loads
 *
 * If two peers each publish a word and then load the other's word, at least one of them sees the
 * new value of the other. Suppose that a reader first publishes that it is about to sleep, and then
 * looks for data, and that a writer first publishes data, and then looks for sleeping readers. Then
 * either the reader finds the data, or the writer finds that the reader sleeps.
 *
 * A fence costs less than a store with __ATOMIC_SEQ_CST, for which x86 has xchg: while that waits
 * for earlier stores, a peer that polls the word takes its cache line.
 */
static inline void ivs_shared_publish(uint64_t *word, uint64_t value)
{
	ivs_shared_store(word, value);
	ivs_shared_fence();
}

/*
 * ivs_shared_begin_reuse() - order the stores that end one use of memory before those of its next
 * use, also if the latter are made without ivs_shared_store()
 */
static inline void ivs_shared_begin_reuse(void)
{
	__atomic_thread_fence(__ATOMIC_RELEASE);
}

/** ivs_shared_will_load() - start to move a cache line here, to be read */
static inline void ivs_shared_will_load(const void *line)
{
	__builtin_prefetch(line);
}

/**
 * ivs_shared_will_store() - start to move a cache line here, to be written
 *
 * GCC has an instruction that does so only for CPUs that are known to have it. Others ignore it.
 */
static inline void ivs_shared_will_store(const void *line)
{
#ifdef __x86_64__
	__asm__ volatile("prefetchw %0" : : "m"(*(const char *)line));
#else
	__builtin_prefetch(line, 1);
#endif
}

/*
 * ivs_shared_copy() - copy bytes that other peers may change meanwhile; words that are loaded later
 * show whether the memory was reused before the copy was complete
 */
static inline void ivs_shared_copy(void *to, const void *from, size_t len)
{
	ivs_shared_step();
	ivs_copy(to, from, len);
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
}

#endif
