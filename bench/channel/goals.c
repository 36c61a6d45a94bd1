/* SPDX-License-Identifier: BSD-3-Clause */
#include "goals.h"

#include <math.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "report.h"
#include "results.h"

#define COPY_MIN (1 << 20)

/** struct list - of goals */
struct list {
	struct goal *goals;
	unsigned int n;
};

/* All goals are ratios or numbers that should be at most @limit, unless changed afterwards. */
static struct goal *add(struct list *list, double value, double limit, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

static struct goal *add(struct list *list, double value, double limit, const char *format, ...)
{
	struct goal *goal = &list->goals[list->n++];
	va_list args;

	*goal = (struct goal){.value = value, .limit = limit};
	va_start(args, format);
	vsnprintf(goal->name, sizeof(goal->name), format, args);
	va_end(args);
	return goal;
}

static double ratio(const struct way *way, const struct way *base, size_t len, enum metric metric)
{
	return median_ratio(series(way, len, metric), series(base, len, metric));
}

/* The best of several ratios, each to another base: the largest, if these should be small. */
static double worst(double one, double other)
{
	return isnan(one) || other > one ? other : one;
}

static void add_spinning(struct list *list)
{
	const double *short_ns = series(&queue_way, 64, IN_PLACE_NS);

	add(list, ratio(&queue_way, &ring_way, 64, TRIP_P50_NS), 1.3,
	    "queue, 64 B: round trip, x unchecked ring");
	add(list, ratio(&ring_way, &queue_way, 64, MESSAGE_NS), 0.6,
	    "queue, 64 B: messages/s, x unchecked ring")
		->at_least = true;
	add(list, median_ratio(series(&queue_way, 1 << 20, IN_PLACE_NS), short_ns), 1.1,
	    "queue, 1 MiB in place: round trip, x that of 64 B");
}

/* One process copies in while the other copies out, so the slower of the two copies counts. */
static void add_copies(struct list *list)
{
	static const struct way *const rings[] = {&ring_way, &ring_nt_way, &ring_rep_way};

	for (size_t i = 0; i < LENS_N; i++) {
		double value = NAN;

		if (lens[i] < COPY_MIN)
			continue;
		for (size_t ring = 0; ring < sizeof(rings) / sizeof(*rings); ring++) {
			double found = ratio(&queue_copy_way, rings[ring], lens[i], MESSAGE_NS);

			value = worst(value, found);
		}
		add(list, 1 / value, 0.9, "queue, %s copied: bytes/s, x best copy of the CPU",
		    length_name(lens[i]))
			->at_least = true;
	}
	for (size_t i = 0; i < LENS_N; i++) {
		if (lens[i] < 65536)
			continue;
		add(list, ratio(&ring_way, &stream_way, lens[i], MESSAGE_NS), 0.9,
		    "stream, %s: bytes/s, x memcpy pair", length_name(lens[i]))
			->at_least = true;
	}
}

static void add_topics(struct list *list)
{
	static const char *const kinds[] = {"topic", "topic, with doorbells"};

	for (enum topic_kind kind = 0; kind < TOPIC_KINDS_N; kind++) {
		for (size_t i = 0; i < LENS_N && lens[i] <= 4096; i++)
			add(list,
			    median_ratio(results.topic_ns[kind][i][READERS_MAX],
					 results.topic_ns[kind][i][1]),
			    1.2, "%s, %s: cost of a message to 8 readers, x one", kinds[kind],
			    length_name(lens[i]));
	}
}

static void add_doorbells(struct list *list)
{
	static const struct way *const all[] = {&queue_sleep_way, &stream_sleep_way,
						&topic_sleep_way};

	for (size_t i = 0; i < LENS_N && lens[i] <= 65536; i++)
		add(list, median(series(&queue_sleep_way, lens[i], DOORBELLS)), 0.01,
		    "queue, %s: doorbells for each message under load", length_name(lens[i]))
			->less = true;
	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) {
		double wakeups[ROUNDS_MAX];

		for (unsigned int round = 0; round < results.rounds; round++)
			wakeups[round] = results.idle[way_index(all[i])][round].wakeups;
		add(list, median(wakeups), 0, "%s: wake-ups/s when idle", all[i]->name);
	}
	add(list, ratio(&queue_sleep_way, &eventfd_way, 64, TRIP_P50_NS), 1.1,
	    "queue, with doorbells, 64 B: round trip, x eventfds");
}

static void add_chains(struct list *list)
{
	const double *forward = results.chain_mb[CHAIN_FORWARD];

	add(list, median_ratio(forward, results.chain_mb[CHAIN_SOCAT]), 0.8,
	    "forward, bulk TCP: bytes/s, x socat AF_UNIX to AF_UNIX")
		->at_least = true;
	add(list, median_ratio(forward, results.chain_mb[CHAIN_SOCAT_TCP]), 0.8,
	    "forward, bulk TCP: bytes/s, x socat TCP to TCP")
		->at_least = true;
	add(list, median_ratio(forward, results.chain_mb[CHAIN_SOCATS]), 0.8,
	    "forward, bulk TCP: bytes/s, x two socats, AF_UNIX between")
		->at_least = true;
}

/*
 * The worst ratio to any alternative, in round trips and messages/s of one length. A way that
 * sleeps is compared with ways that sleep.
 */
static void add_ahead(struct list *list, const struct way *way, size_t len)
{
	static const enum metric compared[] = {TRIP_P50_NS, TRIP_P99_NS, TRIP_P999_NS, MESSAGE_NS};
	const char *against = "none";
	double value = NAN;

	for (size_t i = 0; i < WAYS_N; i++) {
		if (ways[i]->kind != WAY_OTHER || (ways[i]->spins && !way->spins))
			continue;
		for (size_t m = 0; m < sizeof(compared) / sizeof(*compared); m++) {
			double found = ratio(way, ways[i], len, compared[m]);

			if (isnan(found) || found <= value)
				continue;
			value = found;
			against = ways[i]->name;
		}
	}
	add(list, value, 1, "%s, %s: ahead in all columns; worst: x %s", way->name,
	    length_name(len), against)
		->less = true;
}

unsigned int goals_find(struct goal out[GOALS_MAX])
{
	static const struct way *const own[] = {&queue_copy_way, &queue_sleep_way, &stream_way,
						&stream_sleep_way};
	struct list list = {.goals = out};

	add_spinning(&list);
	add_copies(&list);
	add_topics(&list);
	add_doorbells(&list);
	add_chains(&list);
	for (size_t way = 0; way < sizeof(own) / sizeof(*own); way++) {
		for (size_t i = 0; i < LENS_N; i++)
			add_ahead(&list, own[way], lens[i]);
	}
	return list.n;
}

const char *goal_verdict(const struct goal *goal)
{
	bool met = goal->at_least ? goal->value >= goal->limit : goal->value <= goal->limit;

	if (!isfinite(goal->value))
		return "not measured";
	if (goal->less && !(goal->value < goal->limit))
		met = false;
	return met ? "met" : "NOT met";
}
