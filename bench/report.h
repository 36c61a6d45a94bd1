/* SPDX-License-Identifier: BSD-3-Clause */
/* Print the results as a table or as JSON. */
#ifndef BENCH_REPORT_H
#define BENCH_REPORT_H

#include "storm.h"

#define BENCH_ROUNDS_MAX 100

/*
 * Kinds of storms: the server without stalled clients, the server with stalled clients, and two
 * minimal senders as lower bounds, which use sendmsg(2) and sendmmsg(2).
 */
enum bench_kind {
	BENCH_ALONE,
	BENCH_STALLED,
	BENCH_SENDMSG,
	BENCH_SENDMMSG,
	BENCH_KINDS,
};

/**
 * struct bench_result - results of all storms of one shape
 * @shape:    the shape; stalled_n applies to storms of kind BENCH_STALLED only
 * @rounds_n: number of storms of each kind
 * @why:      "", or the reason why no storms were run
 */
struct bench_result {
	struct bench_shape shape;
	unsigned int rounds_n;
	char why[BENCH_WHY_LEN];
	struct bench_storm storms[BENCH_KINDS][BENCH_ROUNDS_MAX];
};

/** bench_report_table() - print a table to standard output */
void bench_report_table(const struct bench_result *results, unsigned int results_n);

/** bench_report_json() - print the results as JSON to standard output */
void bench_report_json(const struct bench_result *results, unsigned int results_n,
		       const char *server);

/** bench_report_fine() - whether all clients received everything and memory is within the target */
bool bench_report_fine(const struct bench_result *results, unsigned int results_n);

#endif
