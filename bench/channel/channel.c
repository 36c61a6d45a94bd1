/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Compare ways to pass messages between two processes, each on its own CPU:
 *
 *   channel [--rounds N] [--json]
 *
 * For each length: the round trip (a message is answered with one of the same length), and the time
 * for each of many messages in one direction, with the payload written and read. Ways run in turn,
 * round after round, so a ratio compares runs of the same round; the table shows medians. Only
 * ratios to the first row, the floor, mean anything.
 */
#include <errno.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "ways.h"

#define ROUNDS_MAX 99

static const struct way *const ways[] = {&ring_way, &queue_way, &unix_way, &pipe_way, &mqueue_way};
static const size_t lens[] = {64, 4096, 65536, 1 << 20};

#define WAYS_N (sizeof(ways) / sizeof(*ways))
#define LENS_N (sizeof(lens) / sizeof(*lens))

/** struct figures - of one way, one length and one round, in ns; 0: not measured */
struct figures {
	double trip_p50;
	double trip_p99;
	double message;
	double in_place; /* round trip without touching the payload */
};

static struct figures figures[WAYS_N][LENS_N][ROUNDS_MAX];

void die(const char *what)
{
	fprintf(stderr, "bench/channel: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

static void pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		die("sched_setaffinity");
}

static int compare(const void *one, const void *other)
{
	double a = *(const double *)one;
	double b = *(const double *)other;

	return (a > b) - (a < b);
}

static double quantile(double *values, size_t n, double q)
{
	qsort(values, n, sizeof(*values), compare);
	return values[(size_t)(q * (double)(n - 1))];
}

/* Return: the number of round trips in a measurement. */
static unsigned int trips_of(size_t len)
{
	return len <= 4096 ? 3000 : len <= 65536 ? 1000 : 100;
}

static unsigned int messages_of(size_t len)
{
	return len <= 4096 ? 200000 : len <= 65536 ? 10000 : 500;
}

static bool can_be_in_place(const struct way *way)
{
	return way == &ring_way || way == &queue_way;
}

static void answer(const struct way *way, uint8_t *buffer, size_t len)
{
	for (unsigned int i = 0; i < trips_of(len); i++) {
		way->receive(buffer, len);
		way->send(buffer, len);
	}
	for (unsigned int i = 0; can_be_in_place(way) && i < trips_of(len); i++) {
		way->receive(NULL, len);
		way->send(NULL, len);
	}
	for (unsigned int i = 0; i < messages_of(len); i++)
		way->receive(buffer, len);
	way->send(buffer, len);
}

static double measure_trips(const struct way *way, uint8_t *buffer, size_t len, bool in_place,
			    double *p99)
{
	static double times[3000];
	unsigned int n = trips_of(len);

	for (unsigned int i = 0; i < n; i++) {
		int64_t began = now_ns();

		way->send(in_place ? NULL : buffer, len);
		way->receive(in_place ? NULL : buffer, len);
		times[i] = (double)(now_ns() - began);
	}
	*p99 = quantile(times, n, 0.99);
	return quantile(times, n, 0.5);
}

static void ask(const struct way *way, uint8_t *buffer, size_t len, struct figures *out)
{
	unsigned int n = messages_of(len);
	double ignored;
	int64_t began;

	out->trip_p50 = measure_trips(way, buffer, len, false, &out->trip_p99);
	if (can_be_in_place(way))
		out->in_place = measure_trips(way, buffer, len, true, &ignored);
	began = now_ns();
	for (unsigned int i = 0; i < n; i++)
		way->send(buffer, len);
	way->receive(buffer, len);
	out->message = (double)(now_ns() - began) / n;
}

static void run(const struct way *way, size_t len, struct figures *out)
{
	uint8_t *buffer = malloc(len);
	pid_t child;
	int status;

	if (!buffer)
		die("malloc");
	memset(buffer, 1, len);
	if (len > way->len_max || !way->prepare(len)) {
		free(buffer);
		return;
	}
	child = fork();
	if (child < 0)
		die("fork");
	pin(child ? 0 : 1);
	way->start(child ? SIDE_PARENT : SIDE_CHILD);
	if (!child) {
		answer(way, buffer, len);
		way->finish();
		_exit(0);
	}
	ask(way, buffer, len, out);
	if (waitpid(child, &status, 0) != child || status)
		die("the other process failed");
	way->finish();
	free(buffer);
}

/* Printing */

static double get(const struct figures *f, unsigned int which)
{
	const double values[] = {f->trip_p50, f->trip_p99, f->message, f->in_place};

	return values[which];
}

static double median_of(size_t way, size_t len, unsigned int which, unsigned int rounds, bool ratio)
{
	double values[ROUNDS_MAX];

	for (unsigned int i = 0; i < rounds; i++) {
		double floor = get(&figures[0][len][i], which);

		values[i] = get(&figures[way][len][i], which);
		if (ratio)
			values[i] /= floor;
	}
	return quantile(values, rounds, 0.5);
}

static void print_cell(size_t way, size_t len, unsigned int which, unsigned int rounds)
{
	double value = median_of(way, len, which, rounds, false);

	if (value > 0)
		printf(" %10.0f %6.2f", value, median_of(way, len, which, rounds, true));
	else
		printf(" %10s %6s", "-", "-");
}

static void print_table(unsigned int rounds)
{
	printf("ns, and the ratio to the first row; medians of %u rounds\n\n", rounds);
	for (size_t len = 0; len < LENS_N; len++) {
		printf("%-20s %17s %17s %17s %17s\n", "", "round trip p50", "round trip p99",
		       "each message", "in place p50");
		printf("%zu bytes\n", lens[len]);
		for (size_t way = 0; way < WAYS_N; way++) {
			printf("%-20s", ways[way]->name);
			for (unsigned int which = 0; which < 4; which++)
				print_cell(way, len, which, rounds);
			printf("\n");
		}
		printf("\n");
	}
}

static void print_json(unsigned int rounds)
{
	static const char *const names[] = {"trip_p50_ns", "trip_p99_ns", "message_ns",
					    "in_place_p50_ns"};
	const char *comma = "";

	printf("[");
	for (size_t len = 0; len < LENS_N; len++) {
		for (size_t way = 0; way < WAYS_N; way++) {
			printf("%s\n  {\"way\": \"%s\", \"bytes\": %zu", comma, ways[way]->name,
			       lens[len]);
			for (unsigned int which = 0; which < 4; which++)
				printf(", \"%s\": %.1f", names[which],
				       median_of(way, len, which, rounds, false));
			printf("}");
			comma = ",";
		}
	}
	printf("\n]\n");
}

int main(int argc, char **argv)
{
	unsigned long rounds = 5;
	bool json = false;

	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--json"))
			json = true;
		else if (!strcmp(argv[i], "--rounds") && i + 1 < argc)
			rounds = strtoul(argv[++i], NULL, 10);
		else
			rounds = 0;
	}
	if (!rounds || rounds > ROUNDS_MAX) {
		fprintf(stderr, "usage: channel [--rounds 1-%d] [--json]\n", ROUNDS_MAX);
		return 2;
	}
	if (sysconf(_SC_NPROCESSORS_ONLN) < 2) {
		fprintf(stderr, "bench/channel: needs two CPUs: the processes spin\n");
		return 1;
	}
	for (unsigned int round = 0; round < rounds; round++) {
		for (size_t len = 0; len < LENS_N; len++) {
			for (size_t way = 0; way < WAYS_N; way++)
				run(ways[way], lens[len], &figures[way][len][round]);
		}
	}
	if (json)
		print_json((unsigned int)rounds);
	else
		print_table((unsigned int)rounds);
	return 0;
}
