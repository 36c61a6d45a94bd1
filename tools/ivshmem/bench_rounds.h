/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Comparing the cost of an operation with that of another one, the floor. Both are measured in
 * turns, so that whatever else the machine does slows down both.
 */
#ifndef TOOLS_IVSHMEM_BENCH_ROUNDS_H
#define TOOLS_IVSHMEM_BENCH_ROUNDS_H

#include <stdint.h>

#include "ivshmem/api.h"

enum bench_error {
	BENCH_E_LOST = 1, /* the region has lost the pages */
	BENCH_E_STOPPED,  /* a signal has arrived */
	BENCH_E_RING,	  /* the peer cannot be rung any more */
};

enum bench_side { BENCH_REGION, BENCH_FLOOR, BENCH_SIDES_N };

/**
 * struct bench_work - what is measured
 * @run: repeats the operation of one side @times times. Return: 0, or enum bench_error.
 */
struct bench_work {
	int (*run)(const void *context, enum bench_side side, unsigned int times);
	const void *context;
};

/**
 * struct bench_result - medians over all rounds
 * @ns:       how long one operation takes, by side
 * @rounds_n: number of rounds
 */
struct bench_result {
	double ns[BENCH_SIDES_N];
	unsigned int rounds_n;
};

/**
 * bench_rounds_run() - measure both sides in turns
 * @budget_ns: end with the round in which this time has passed; there is at least one round
 *
 * Return: 0, or enum bench_error.
 */
IVS_MUST_USE int bench_rounds_run(const struct bench_work *work, int64_t budget_ns,
				  struct bench_result *out);

/** bench_ratio() - how many times as long as the floor an operation takes */
double bench_ratio(const struct bench_result *result);

#endif
