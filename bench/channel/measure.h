/* SPDX-License-Identifier: BSD-3-Clause */
/* Measurements. Each stores its numbers, or the reason why there are none, in the results. */
#ifndef BENCH_CHANNEL_MEASURE_H
#define BENCH_CHANNEL_MEASURE_H

#include <stdbool.h>

/**
 * struct amount - how much to measure
 * @divisor: 1; more: measure so much less, to test the benchmark
 */
struct amount {
	unsigned int divisor;
	unsigned int idle_ms;
};

/** measure_messages() - round trips and messages of a way, with one length */
void measure_messages(unsigned int way, unsigned int len, unsigned int round,
		      const struct amount *amount);
/** measure_idle() - what a process that waits for a message costs */
void measure_idle(unsigned int way, unsigned int round, const struct amount *amount);
/** measure_topic() - what a message costs a publisher, with one subscriber and with many */
void measure_topic(unsigned int len, unsigned int round, const struct amount *amount);
/** measure_chains() - bulk transfers through "ivshmem forward", and through socat */
void measure_chains(unsigned int round, const struct amount *amount);

#endif
