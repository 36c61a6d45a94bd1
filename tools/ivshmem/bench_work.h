/* SPDX-License-Identifier: BSD-3-Clause */
/* The operations that "ivshmem bench" measures: memory and doorbells. */
#ifndef TOOLS_IVSHMEM_BENCH_WORK_H
#define TOOLS_IVSHMEM_BENCH_WORK_H

#include <stddef.h>
#include <stdint.h>

#include "ivshmem/peer.h"
#include "tools/ivshmem/bench_rounds.h"

/**
 * enum bench_operation - operations on memory
 * @BENCH_READ:     load each word
 * @BENCH_COPY_OUT: copy from the region to private memory
 * @BENCH_WRITE:    fill with a byte
 * @BENCH_COPY_IN:  copy from private memory to the region
 */
enum bench_operation {
	BENCH_READ,
	BENCH_COPY_OUT,
	BENCH_WRITE,
	BENCH_COPY_IN,
	BENCH_OPERATIONS_N,
};

/**
 * struct bench_memory - the memory of both sides
 * @sides: a part of the region, and private memory in its place
 * @other: private memory: the other end of copies
 * @len:   length of each
 * @written_len: length of the beginning of the region's part that writes may have changed
 */
struct bench_memory {
	uint8_t *sides[BENCH_SIDES_N];
	uint8_t *other;
	size_t len;
	size_t written_len;
};

/** bench_memory_init() - allocate private memory for a part of the region. Return: 0 or -ENOMEM. */
IVS_MUST_USE int bench_memory_init(struct bench_memory *memory, void *part, size_t len);

void bench_memory_deinit(struct bench_memory *memory);

/**
 * bench_memory_run() - measure an operation on the first @size bytes; call guard_start() first
 * @size: at most @memory->len, and a multiple of 64
 *
 * BENCH_WRITE and BENCH_COPY_IN overwrite the region.
 *
 * Return: 0, or enum bench_error.
 */
IVS_MUST_USE int bench_memory_run(struct bench_memory *memory, enum bench_operation operation,
				  size_t size, int64_t budget_ns, struct bench_result *out);

/**
 * bench_memory_clear() - fill what was overwritten with zeroes, and nothing else
 *
 * Return: 0, BENCH_E_LOST.
 */
IVS_MUST_USE int bench_memory_clear(const struct bench_memory *memory);

/**
 * bench_doorbell_run() - measure what ringing costs, in comparison with writing to an eventfd
 *
 * Return: 0, enum bench_error, -errno.
 */
IVS_MUST_USE int bench_doorbell_run(const struct ivs_doorbell *doorbell, int64_t budget_ns,
				    struct bench_result *out);

#endif
