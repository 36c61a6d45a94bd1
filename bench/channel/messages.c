/* SPDX-License-Identifier: BSD-3-Clause */
/* Two processes, each on its own CPU, that pass messages to each other. */
#include <inttypes.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "measure.h"
#include "process.h"
#include "results.h"

#define TRIPS_MAX 10000

/** struct report - what the processes tell their parent */
struct report {
	double values[METRICS_N];
	uint64_t doorbells[2]; /* by side */
};

/** struct job - what a pair of processes does */
struct job {
	const struct way *way;
	size_t len;
	unsigned int trips;
	unsigned int messages;
	uint8_t *buffer;
	struct report *report;
};

static unsigned int at_least_2(unsigned int n, const struct amount *amount)
{
	n /= amount->divisor;
	return n < 2 ? 2 : n;
}

static unsigned int trips_of(size_t len)
{
	return len <= 4096 ? TRIPS_MAX : len <= 65536 ? 2000 : len <= 1 << 20 ? 300 : 30;
}

static unsigned int messages_of(size_t len)
{
	return len <= 4096 ? 200000 : len <= 65536 ? 10000 : len <= 1 << 20 ? 500 : 200;
}

/* A doorbell of a host process is a write(2), and the library makes no others. */
static uint64_t count_doorbells(const struct way *way)
{
	FILE *file = way->rings ? fopen("/proc/self/io", "re") : NULL;
	uint64_t n = 0;
	char line[128];

	while (file && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "syscw: %" SCNu64, &n) == 1)
			break;
	}
	if (file)
		fclose(file);
	return n;
}

static bool is_known(void)
{
	return !access("/proc/self/io", R_OK);
}

/* Round trips that are not measured: they cause the page faults of all memory that is used. */
static unsigned int warm_up_n(const struct job *job)
{
	return (unsigned int)way_slots(job->len);
}

static void answer(const struct job *job)
{
	const struct way *way = job->way;
	uint64_t before;

	for (unsigned int i = 0; i < job->trips + warm_up_n(job); i++) {
		way->receive(job->buffer, job->len);
		way->send(job->buffer, job->len);
	}
	for (unsigned int i = 0; way->in_place && i < job->trips; i++) {
		way->receive(NULL, job->len);
		way->send(NULL, job->len);
	}
	if (way->trips_only)
		return;
	before = count_doorbells(way);
	for (unsigned int i = 0; i < job->messages; i++)
		way->receive(job->buffer, job->len);
	job->report->doorbells[SIDE_ANSWERS] = count_doorbells(way) - before;
	way->send(job->buffer, job->len);
}

static void warm_up(const struct job *job)
{
	for (unsigned int i = 0; i < warm_up_n(job); i++) {
		job->way->send(job->buffer, job->len);
		job->way->receive(job->buffer, job->len);
	}
}

static void measure_trips(const struct job *job, bool in_place, double *times)
{
	void *buffer = in_place ? NULL : job->buffer;

	for (unsigned int i = 0; i < job->trips; i++) {
		int64_t began_ns = now_ns();

		job->way->send(buffer, job->len);
		job->way->receive(buffer, job->len);
		times[i] = (double)(now_ns() - began_ns);
	}
}

static void ask(const struct job *job)
{
	static double times[TRIPS_MAX];
	double *values = job->report->values;
	const struct way *way = job->way;
	uint64_t before;
	int64_t began_ns;

	warm_up(job);
	measure_trips(job, false, times);
	values[TRIP_P50_NS] = quantile(times, job->trips, 0.5);
	values[TRIP_P99_NS] = quantile(times, job->trips, 0.99);
	values[TRIP_P999_NS] = quantile(times, job->trips, 0.999);
	if (way->in_place) {
		measure_trips(job, true, times);
		values[IN_PLACE_NS] = quantile(times, job->trips, 0.5);
	}
	if (way->trips_only)
		return;
	before = count_doorbells(way);
	began_ns = now_ns();
	for (unsigned int i = 0; i < job->messages; i++)
		way->send(job->buffer, job->len);
	way->receive(job->buffer, job->len);
	values[MESSAGE_NS] = (double)(now_ns() - began_ns) / job->messages;
	job->report->doorbells[SIDE_ASKS] = count_doorbells(way) - before;
}

static pid_t start_side(const struct job *job, enum side side)
{
	pid_t pid = process_fork();

	if (pid)
		return pid;
	pin(side);
	memset(job->buffer, 1, job->len);
	job->way->start(side);
	if (side == SIDE_ASKS)
		ask(job);
	else
		answer(job);
	if (job->way->finish)
		job->way->finish();
	_exit(0);
}

static void store(const struct job *job, unsigned int len, unsigned int round)
{
	size_t way = way_index(job->way);
	struct report *report = job->report;

	if (job->way->rings && is_known())
		report->values[DOORBELLS] = (double)(report->doorbells[SIDE_ASKS] +
						     report->doorbells[SIDE_ANSWERS]) /
					    job->messages;
	for (unsigned int i = 0; i < METRICS_N; i++)
		results.values[way][len][i][round] = report->values[i];
}

/* Other software that fails loses only its own numbers. */
static void fail(unsigned int way, const char *what)
{
	if (ways[way]->kind != WAY_OTHER)
		die_because(ways[way]->name, what);
	results.absent[way] = what;
}

void measure_messages(unsigned int way, unsigned int len, unsigned int round,
		      const struct amount *amount)
{
	struct job job = {
		.way = ways[way],
		.len = lens[len],
		.trips = at_least_2(trips_of(lens[len]), amount),
		.messages = at_least_2(messages_of(lens[len]), amount),
	};
	pid_t sides[2];

	if (results.absent[way] || job.len < job.way->len_min || job.len > job.way->len_max)
		return;
	results.absent[way] = job.way->prepare(job.len);
	if (results.absent[way])
		return;
	job.report = shared_memory(sizeof(*job.report));
	job.buffer = malloc(job.len);
	if (!job.buffer)
		die("malloc");
	for (unsigned int i = 0; i < METRICS_N; i++)
		job.report->values[i] = NAN;
	for (unsigned int i = 0; i < 2; i++)
		sides[i] = start_side(&job, i);
	if (processes_await(sides, 2))
		store(&job, len, round);
	else
		fail(way, "its processes failed");
	if (job.way->clean)
		job.way->clean();
	free(job.buffer);
	munmap(job.report, sizeof(*job.report));
}
