/* SPDX-License-Identifier: BSD-3-Clause */
/* The results as JSON: medians, and null for what was not measured. Strings need no escapes. */
#include <math.h>
#include <stdbool.h>
#include <stdio.h>

#include "goals.h"
#include "report.h"
#include "results.h"

static FILE *out;
static const char *comma; /* before the next row */

static void begin_list(const char *name)
{
	fprintf(out, ",\n  \"%s\": [", name);
	comma = "";
}

static void begin_row(void)
{
	fprintf(out, "%s\n    {", comma);
	comma = ",";
}

static void end_list(void)
{
	fprintf(out, "\n  ]");
}

static void print_string(const char *name, const char *value, bool first)
{
	fprintf(out, "%s\"%s\": ", first ? "" : ", ", name);
	if (value)
		fprintf(out, "\"%s\"", value);
	else
		fprintf(out, "null");
}

static void print_value(const char *name, double value)
{
	fprintf(out, ", \"%s\": ", name);
	if (isfinite(value))
		fprintf(out, "%.6g", value);
	else
		fprintf(out, "null");
}

static void print_bytes(size_t len)
{
	fprintf(out, ", \"bytes\": %zu", lens[len]);
}

static void print_messages(void)
{
	static const char *const names[METRICS_N] = {"trip_p50_ns",	"trip_p99_ns",
						     "trip_p999_ns",	"message_ns",
						     "in_place_p50_ns", "doorbells"};
	static const char *const kinds[] = {"floor", "own", "other"};

	begin_list("messages");
	for (size_t len = 0; len < LENS_N; len++) {
		for (size_t way = 0; way < WAYS_N; way++) {
			begin_row();
			print_string("way", ways[way]->name, true);
			print_string("kind", kinds[ways[way]->kind], false);
			print_bytes(len);
			for (unsigned int i = 0; i < METRICS_N; i++)
				print_value(names[i], median(results.values[way][len][i]));
			print_string("absent", results.absent[way], false);
			fprintf(out, "}");
		}
	}
	end_list();
}

static void print_idle(void)
{
	begin_list("idle");
	for (size_t way = 0; way < WAYS_N; way++) {
		double wakeups[ROUNDS_MAX], cpu[ROUNDS_MAX];

		for (unsigned int i = 0; i < results.rounds; i++) {
			wakeups[i] = results.idle[way][i].wakeups;
			cpu[i] = results.idle[way][i].cpu;
		}
		if (isnan(median(wakeups)))
			continue;
		begin_row();
		print_string("way", ways[way]->name, true);
		print_value("wakeups_per_s", median(wakeups));
		print_value("cpu_percent", median(cpu));
		fprintf(out, "}");
	}
	end_list();
}

static void print_topics(void)
{
	static const char *const kinds[TOPIC_KINDS_N] = {"topic", "topic, with doorbells"};

	begin_list("topics");
	for (size_t kind = 0; kind < TOPIC_KINDS_N; kind++) {
		for (size_t len = 0; len < LENS_N; len++) {
			begin_row();
			print_string("way", kinds[kind], true);
			print_bytes(len);
			print_value("readers_1_ns", median(results.topic_ns[kind][len][1]));
			print_value("readers_8_ns",
				    median(results.topic_ns[kind][len][READERS_MAX]));
			print_string("absent", results.topic_absent[kind], false);
			fprintf(out, "}");
		}
	}
	end_list();
}

static void print_chains(void)
{
	begin_list("bulk");
	for (size_t chain = 0; chain < CHAINS_N; chain++) {
		begin_row();
		print_string("way", chain_name(chain), true);
		print_value("mb_per_s", median(results.chain_mb[chain]));
		print_string("absent", results.chain_absent[chain], false);
		fprintf(out, "}");
	}
	end_list();
}

static void print_goals(void)
{
	struct goal goals[GOALS_MAX];
	unsigned int n = goals_find(goals);

	begin_list("goals");
	for (unsigned int i = 0; i < n; i++) {
		begin_row();
		print_string("goal", goals[i].name, true);
		print_value("measured", goals[i].value);
		print_string("is",
			     goals[i].at_least ? "at least"
			     : goals[i].less   ? "below"
					       : "at most",
			     false);
		print_value("limit", goals[i].limit);
		print_string("verdict", goal_verdict(&goals[i]), false);
		fprintf(out, "}");
	}
	end_list();
}

void json_print(FILE *to)
{
	out = to;
	fprintf(out, "{\n  \"rounds\": %u", results.rounds);
	print_messages();
	print_idle();
	print_topics();
	print_chains();
	print_goals();
	fprintf(out, "\n}\n");
}
