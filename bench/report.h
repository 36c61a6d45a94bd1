/* SPDX-License-Identifier: BSD-3-Clause */
/* From many storms to a table for people, or to JSON. */
#ifndef BENCH_REPORT_H
#define BENCH_REPORT_H

#include "storm.h"

#define BENCH_ROUNDS_MAX 100

/* Of the server without and with stalled clients beside, of the floor by sendmsg and by sendmmsg. */
enum bench_kind {
	BENCH_ALONE,
	BENCH_STALLED,
	BENCH_SENDMSG,
	BENCH_SENDMMSG,
	BENCH_KINDS,
};

/**
 * struct bench_result - everything about storms of one shape
 * @shape:    its stalled_n is that of BENCH_STALLED
 * @rounds_n: how many are there of each kind
 * @why:      "", or why there are none
 */
struct bench_result {
	struct bench_shape shape;
	unsigned int rounds_n;
	char why[BENCH_WHY_LEN];
	struct bench_storm storms[BENCH_KINDS][BENCH_ROUNDS_MAX];
};

/** bench_report_table() - to standard output */
void bench_report_table(const struct bench_result *results, unsigned int results_n);

/** bench_report_json() - the same, to standard output */
void bench_report_json(const struct bench_result *results, unsigned int results_n,
		       const char *server);

/** bench_report_fine() - whether every client was told everything, and memory is within the target */
bool bench_report_fine(const struct bench_result *results, unsigned int results_n);

#endif
