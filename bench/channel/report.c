/* SPDX-License-Identifier: BSD-3-Clause */
#include "report.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>

#include "goals.h"
#include "process.h"
#include "results.h"

const char *length_name(size_t len)
{
	static const char *const names[LENS_N] = {"64 B", "4 KiB", "64 KiB", "1 MiB", "8 MiB"};

	for (size_t i = 0; i < LENS_N; i++) {
		if (lens[i] == len)
			return names[i];
	}
	die_because("length", "not in the list");
}

static void print_number(double value, int width, int digits)
{
	if (isnan(value))
		printf(" %*s", width, "-");
	else
		printf(" %*.*f", width, digits, value);
}

static bool is_measured(size_t way, size_t len)
{
	return !isnan(median(results.values[way][len][TRIP_P50_NS]));
}

static void print_way(size_t way, size_t len)
{
	const double *message = results.values[way][len][MESSAGE_NS];
	const double *trip = results.values[way][len][TRIP_P50_NS];

	printf("  %-23s", ways[way]->name);
	print_number(median(trip), 9, 0);
	print_number(median_ratio(trip, results.values[0][len][TRIP_P50_NS]), 7, 2);
	print_number(median(results.values[way][len][TRIP_P99_NS]), 9, 0);
	print_number(median(results.values[way][len][TRIP_P999_NS]), 9, 0);
	print_number(median(results.values[way][len][IN_PLACE_NS]), 8, 0);
	print_number(1e9 / median(message), 10, 0);
	print_number(median_ratio(results.values[0][len][MESSAGE_NS], message), 5, 2);
	print_number((double)lens[len] * 1e3 / median(message), 7, 0);
	print_number(median(results.values[way][len][DOORBELLS]), 9, 4);
	printf("\n");
}

static void print_messages(void)
{
	printf("Medians of %u rounds. Round trips (p50, p99, p99.9, in place) in ns; doorbells for "
	       "each message.\n\"x\" is the ratio to the first row.\n\n",
	       results.rounds);
	for (size_t len = 0; len < LENS_N; len++) {
		if (!is_measured(0, len))
			continue;
		printf("%-25s %9s %7s %9s %9s %8s %10s %5s %7s %9s\n", length_name(lens[len]),
		       "trip p50", "x", "p99", "p99.9", "in place", "messages/s", "x", "MB/s",
		       "doorbells");
		for (size_t way = 0; way < WAYS_N; way++) {
			if (is_measured(way, len))
				print_way(way, len);
		}
		printf("\n");
	}
	for (size_t way = 0; way < WAYS_N; way++) {
		if (results.absent[way])
			printf("%s: no numbers: %s\n", ways[way]->name, results.absent[way]);
	}
}

static void print_idle(void)
{
	printf("\nA process that waits for a message\n%-25s %10s %8s\n", "", "wake-ups/s", "CPU %");
	for (size_t way = 0; way < WAYS_N; way++) {
		double wakeups[ROUNDS_MAX], cpu[ROUNDS_MAX];

		for (unsigned int i = 0; i < results.rounds; i++) {
			wakeups[i] = results.idle[way][i].wakeups;
			cpu[i] = results.idle[way][i].cpu;
		}
		if (ways[way]->kind == WAY_FLOOR || !is_wanted(ways[way]->name))
			continue;
		printf("  %-23s", ways[way]->name);
		print_number(median(wakeups), 10, 1);
		if (ways[way]->spins && !results.absent[way])
			printf(" %8s\n", "spins");
		else {
			print_number(median(cpu), 8, 3);
			printf("\n");
		}
	}
}

static void print_topics(void)
{
	static const char *const kinds[TOPIC_KINDS_N] = {"topic", "topic, with doorbells"};

	printf("\nWhat a message costs the publisher of a topic, in ns\n%-33s %9s %9s %6s\n", "",
	       "1 reader", "8 readers", "x");
	for (size_t kind = 0; kind < TOPIC_KINDS_N; kind++) {
		for (size_t len = 0; len < LENS_N; len++) {
			const double *one = results.topic_ns[kind][len][1];
			const double *many = results.topic_ns[kind][len][READERS_MAX];
			char name[64];

			if (isnan(median(one)))
				continue;
			snprintf(name, sizeof(name), "%s, %s", kinds[kind], length_name(lens[len]));
			printf("  %-31s", name);
			print_number(median(one), 9, 0);
			print_number(median(many), 9, 0);
			print_number(median_ratio(many, one), 6, 2);
			printf("\n");
		}
		if (results.topic_absent[kind])
			printf("  %s: no numbers: %s\n", kinds[kind], results.topic_absent[kind]);
	}
}

const char *chain_name(size_t chain)
{
	static const char *const names[CHAINS_N] = {
		"ivshmem forward, TCP to TCP",
		"socat, AF_UNIX to AF_UNIX",
		"socat, TCP to TCP",
		"two socats, TCP to TCP, AF_UNIX between",
	};

	return names[chain];
}

static void print_chains(void)
{
	printf("\nBulk transfers between sockets%20s\n", "MB/s");
	for (size_t chain = 0; chain < CHAINS_N; chain++) {
		printf("  %-40s", chain_name(chain));
		if (results.chain_absent[chain])
			printf(" no numbers: %s", results.chain_absent[chain]);
		else
			print_number(median(results.chain_mb[chain]), 6, 0);
		printf("\n");
	}
}

static void print_goals(void)
{
	struct goal goals[GOALS_MAX];
	unsigned int n = goals_find(goals);
	bool is_selection = results.selection.only || results.selection.length;

	printf("\n%-76s %9s %7s\n", "Goals", "measured", "goal");
	for (unsigned int i = 0; i < n; i++) {
		const char *sign = goals[i].at_least ? ">=" : goals[i].less ? "<" : "<=";

		if (is_selection && isnan(goals[i].value))
			continue;
		printf("  %-74s", goals[i].name);
		print_number(goals[i].value, 9, goals[i].value < 0.1 ? 4 : 2);
		printf(" %2s %4.2f  %s\n", sign, goals[i].limit, goal_verdict(&goals[i]));
	}
}

void report_print(void)
{
	print_messages();
	if (are_others_wanted())
		print_idle();
	if (is_wanted(topic_way.name))
		print_topics();
	if (are_others_wanted() && is_wanted(FORWARD))
		print_chains();
	print_goals();
}
