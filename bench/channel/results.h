/* SPDX-License-Identifier: BSD-3-Clause */
/* What was measured, in each round, and medians of it. */
#ifndef BENCH_CHANNEL_RESULTS_H
#define BENCH_CHANNEL_RESULTS_H

#include <stdbool.h>
#include <stddef.h>

#include "ways.h"

#define ROUNDS_MAX 99
#define FORWARD "forward" /* name of the rows about bulk transfers */

/** enum metric - of one way and one length; NAN: not measured */
enum metric {
	TRIP_P50_NS,
	TRIP_P99_NS,
	TRIP_P999_NS,
	MESSAGE_NS,  /* of many messages in one direction */
	IN_PLACE_NS, /* a round trip without touching the payload */
	DOORBELLS,   /* of both sides, for each of many messages in one direction */
	METRICS_N,
};

enum { LENS_N = 5, WAYS_N = 17, READERS_MAX = 8 };

extern const size_t lens[LENS_N];
extern const struct way *const ways[WAYS_N];

/** enum topic_kind - whether subscribers spin in a plain region, or wait for doorbells */
enum topic_kind { TOPIC_SPINS, TOPIC_SLEEPS, TOPIC_KINDS_N };

/** enum chain - bytes from a socket to another, through two processes or one */
enum chain { CHAIN_FORWARD, CHAIN_SOCAT, CHAIN_SOCAT_TCP, CHAIN_SOCATS, CHAINS_N };

/** struct idle - of a process that waits for a message */
struct idle {
	double wakeups; /* per second */
	double cpu;	/* percent of a CPU */
};

/**
 * struct selection - what to measure
 * @only:   the beginning of the names of rows; NULL: all
 * @length: of messages; 0: all, and the tables that are not about messages
 */
struct selection {
	const char *only;
	size_t length;
};

/** struct results - of all rounds, and NULL or the reason why something has no numbers */
struct results {
	unsigned int rounds;
	struct selection selection;
	double values[WAYS_N][LENS_N][METRICS_N][ROUNDS_MAX];
	struct idle idle[WAYS_N][ROUNDS_MAX];
	const char *absent[WAYS_N];
	double topic_ns[TOPIC_KINDS_N][LENS_N][READERS_MAX + 1][ROUNDS_MAX]; /* by readers */
	const char *topic_absent[TOPIC_KINDS_N];
	double chain_mb[CHAINS_N][ROUNDS_MAX]; /* MB/s */
	const char *chain_absent[CHAINS_N];
};

extern struct results results;

/** results_init() - nothing is measured yet */
void results_init(unsigned int rounds, const struct selection *selection);

/** is_wanted() - whether a row with this name is to be measured */
bool is_wanted(const char *name);
/** is_wanted_len() - whether messages of this length are to be measured */
bool is_wanted_len(size_t len);
/** are_others_wanted() - whether tables that are not about messages of one length are wanted */
bool are_others_wanted(void);

/** quantile() - Return: a quantile of @values, which are sorted by the call; NAN if one is NAN */
double quantile(double *values, size_t n, double q);

/** median() - Return: the median of all rounds, NAN if not measured */
double median(const double *rounds);
/** median_ratio() - Return: the median of the ratios within a round, NAN if not measured */
double median_ratio(const double *rounds, const double *base);

/** way_index() - Return: the way's place in ways[] */
size_t way_index(const struct way *way);
/** series() - Return: values of all rounds */
const double *series(const struct way *way, size_t len, enum metric metric);

#endif
