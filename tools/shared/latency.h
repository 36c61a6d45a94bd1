/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A distribution of times, in memory of a fixed size however many there are. A time is kept with an
 * error of at most 1/64; minimum, maximum and number are exact. Pure, except latency_print().
 */
#ifndef TOOLS_SHARED_LATENCY_H
#define TOOLS_SHARED_LATENCY_H

#include <stdint.h>

#define LATENCY_STEPS 32 /* between a power of two and the next */

/**
 * struct latency - start from zeroes
 * @counts: number of times by power of two of nanoseconds, and by step
 */
struct latency {
	uint64_t counts[64 * LATENCY_STEPS];
	uint64_t n;
	uint64_t min_ns;
	uint64_t max_ns;
};

void latency_add(struct latency *latency, uint64_t ns);

/**
 * latency_percentile() - a time that the given part of all times does not exceed
 * @permille: 1 to 1000
 *
 * Return: nanoseconds; 0 if there are no times.
 */
uint64_t latency_percentile(const struct latency *latency, unsigned int permille);

/** latency_between() - number of times of at least @from_ns and less than @to_ns, powers of two */
uint64_t latency_between(const struct latency *latency, uint64_t from_ns, uint64_t to_ns);

#define LATENCY_TEXT_LEN 24

/** latency_text() - a time with its unit and three digits: "12.3 us" */
void latency_text(char text[LATENCY_TEXT_LEN], uint64_t ns);

/** latency_print() - print minimum, median, p99 and maximum, and a histogram */
void latency_print(const struct latency *latency);

#endif
