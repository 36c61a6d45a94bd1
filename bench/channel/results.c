/* SPDX-License-Identifier: BSD-3-Clause */
#include "results.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "process.h"

const size_t lens[LENS_N] = {64, 4096, 65536, 1 << 20, 8 << 20};

const struct way *const ways[WAYS_N] = {
	&ring_way,   &ring_nt_way,     &ring_rep_way,	 &line_way,   &eventfd_way,
	&queue_way,  &queue_copy_way,  &queue_sleep_way, &stream_way, &stream_sleep_way,
	&topic_way,  &topic_sleep_way, &unix_way,	 &pipe_way,   &mqueue_way,
	&zeromq_way, &iceoryx_way,
};

struct results results;

static void fill(void *values, size_t size)
{
	double *value = values;

	for (size_t i = 0; i < size / sizeof(*value); i++)
		value[i] = NAN;
}

void results_init(unsigned int rounds, const struct selection *selection)
{
	results.rounds = rounds;
	results.selection = *selection;
	fill(results.values, sizeof(results.values));
	fill(results.idle, sizeof(results.idle));
	fill(results.topic_ns, sizeof(results.topic_ns));
	fill(results.chain_mb, sizeof(results.chain_mb));
}

bool is_wanted(const char *name)
{
	const char *only = results.selection.only;

	return !only || !strncmp(name, only, strlen(only));
}

bool is_wanted_len(size_t len)
{
	return !results.selection.length || results.selection.length == len;
}

bool are_others_wanted(void)
{
	return !results.selection.length;
}

static int compare(const void *one, const void *other)
{
	double a = *(const double *)one;
	double b = *(const double *)other;

	return (a > b) - (a < b);
}

double quantile(double *values, size_t n, double q)
{
	for (size_t i = 0; i < n; i++) {
		if (isnan(values[i]))
			return NAN;
	}
	qsort(values, n, sizeof(*values), compare);
	return values[(size_t)(q * (double)(n - 1))];
}

double median(const double *rounds)
{
	double values[ROUNDS_MAX];

	for (unsigned int i = 0; i < results.rounds; i++)
		values[i] = rounds[i];
	return quantile(values, results.rounds, 0.5);
}

double median_ratio(const double *rounds, const double *base)
{
	double values[ROUNDS_MAX];

	for (unsigned int i = 0; i < results.rounds; i++)
		values[i] = rounds[i] / base[i];
	return quantile(values, results.rounds, 0.5);
}

size_t way_index(const struct way *way)
{
	for (size_t i = 0; i < WAYS_N; i++) {
		if (ways[i] == way)
			return i;
	}
	die_because(way->name, "not in the list of ways");
}

const double *series(const struct way *way, size_t len, enum metric metric)
{
	for (size_t i = 0; i < LENS_N; i++) {
		if (lens[i] == len)
			return results.values[way_index(way)][i][metric];
	}
	die_because(way->name, "not measured with this length");
}
