/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Compare ways to pass messages between two processes, each on its own CPU:
 *
 *   channel [--rounds N] [--json] [--save FILE] [--quick] [--only NAME] [--length BYTES]
 *
 * Ways run in turn, round after round, so a ratio compares runs of the same round; the tables show
 * medians. Only ratios within one run mean anything.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "measure.h"
#include "process.h"
#include "report.h"
#include "results.h"

#define USAGE                                                                                      \
	"usage: channel [--rounds 1-99] [--json] [--save FILE] [--quick] [--only NAME] "           \
	"[--length BYTES]\n"
#define QUICK_DIVISOR 2000

/** struct options - of the command line */
struct options {
	unsigned int rounds;
	bool json;
	const char *save;
	struct selection selection;
	struct amount amount;
};

static const char help[] = USAGE
	"\n"
	"  --rounds N      measure everything N times, and show medians (5)\n"
	"  --json          print JSON\n"
	"  --save FILE     also write JSON to a file\n"
	"  --quick         measure so little that the numbers mean nothing: a test\n"
	"  --only NAME     measure only the rows whose names begin with NAME, and the floors;\n"
	"                  \"forward\" means the bulk transfers\n"
	"  --length BYTES  measure only messages of 64, 4096, 65536, 1048576 or 8388608 bytes\n"
	"\n"
	"example: channel --only queue --length 64 --rounds 9\n";

/* Return: whether there are rows for the selection. */
static bool is_possible(const struct selection *selection)
{
	bool has_length = !selection->length;
	bool has_name = !selection->only || !strcmp(selection->only, FORWARD);

	for (size_t i = 0; i < LENS_N; i++)
		has_length = has_length || lens[i] == selection->length;
	for (size_t i = 0; i < WAYS_N && !has_name; i++)
		has_name = !strncmp(ways[i]->name, selection->only, strlen(selection->only));
	return has_length && has_name;
}

/* Return: the exit status, -1 to run. */
static int parse(int argc, char **argv, struct options *out)
{
	*out = (struct options){.rounds = 5, .amount = {.divisor = 1, .idle_ms = 1000}};
	for (int i = 1; i < argc; i++) {
		static char nothing[1];
		char *end = nothing;

		if (!strcmp(argv[i], "--json")) {
			out->json = true;
		} else if (!strcmp(argv[i], "--save") && i + 1 < argc) {
			out->save = argv[++i];
		} else if (!strcmp(argv[i], "--quick")) {
			out->amount = (struct amount){.divisor = QUICK_DIVISOR, .idle_ms = 20};
		} else if (!strcmp(argv[i], "--rounds") && i + 1 < argc) {
			out->rounds = (unsigned int)strtoul(argv[++i], &end, 10);
		} else if (!strcmp(argv[i], "--only") && i + 1 < argc) {
			out->selection.only = argv[++i];
		} else if (!strcmp(argv[i], "--length") && i + 1 < argc) {
			out->selection.length = strtoul(argv[++i], &end, 10);
		} else if (!strcmp(argv[i], "--help")) {
			fputs(help, stdout);
			return 0;
		} else {
			out->rounds = 0;
		}
		if (!out->rounds || out->rounds > ROUNDS_MAX || *end ||
		    !is_possible(&out->selection)) {
			fputs(USAGE, stderr);
			return 2;
		}
	}
	return -1;
}

/* Two lengths have all kinds of rows. */
static bool is_quick_len(size_t len)
{
	return len == 64 || len == 1 << 20;
}

static void measure_round(unsigned int round, const struct amount *amount)
{
	for (unsigned int len = 0; len < LENS_N; len++) {
		if ((amount->divisor > 1 && !is_quick_len(lens[len])) || !is_wanted_len(lens[len]))
			continue;
		for (unsigned int way = 0; way < WAYS_N; way++) {
			if (ways[way]->kind == WAY_FLOOR || is_wanted(ways[way]->name))
				measure_messages(way, len, round, amount);
		}
		if (is_wanted(topic_way.name))
			measure_topic(len, round, amount);
	}
	if (!are_others_wanted())
		return;
	for (unsigned int way = 0; way < WAYS_N; way++) {
		if (is_wanted(ways[way]->name))
			measure_idle(way, round, amount);
	}
	if (is_wanted(FORWARD))
		measure_chains(round, amount);
}

int main(int argc, char **argv)
{
	struct options opts;
	FILE *file = NULL;
	int status = parse(argc, argv, &opts);

	if (status >= 0)
		return status;
	if (opts.save) {
		file = fopen(opts.save, "we");
		if (!file)
			die(opts.save);
	}
	processes_init();
	results_init(opts.rounds, &opts.selection);
	if (opts.amount.divisor > 1)
		results.absent[way_index(&iceoryx_way)] =
			"left out by --quick: its daemon takes seconds to start";
	for (unsigned int round = 0; round < opts.rounds; round++)
		measure_round(round, &opts.amount);
	if (opts.json)
		json_print(stdout);
	else
		report_print();
	if (file)
		json_print(file);
	if (file && fclose(file))
		die(opts.save);
	return 0;
}
