/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/ivshmem/bench_print.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/parse.h"
#include "tools/ivshmem/json_print.h"
#include "tools/shared/latency.h"
#include "tools/shared/table.h"
#include "tools/shared/usage.h"

#define SLOW_RATIO 10 /* of cached memory, whatever else the machine does */
#define CELL_LEN 32

static const char *const operation_names[BENCH_OPERATIONS_N] = {
	[BENCH_READ] = "read",
	[BENCH_COPY_OUT] = "copy out",
	[BENCH_WRITE] = "write",
	[BENCH_COPY_IN] = "copy in",
};

enum verdict { VERDICT_UNKNOWN, VERDICT_AS_PRIVATE, VERDICT_SLOW };

/* Every size has to be slow: a single one can be slow by chance. */
static enum verdict verdict_find(const struct bench_report *report, double *least, double *most)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < report->rows_n; i++) {
		double ratio = bench_ratio(&report->rows[i].result);

		if (report->rows[i].operation != BENCH_READ)
			continue;
		*least = !n || ratio < *least ? ratio : *least;
		*most = !n || ratio > *most ? ratio : *most;
		n++;
	}
	if (!n || (*least < SLOW_RATIO && *most >= SLOW_RATIO))
		return VERDICT_UNKNOWN;
	return *least >= SLOW_RATIO ? VERDICT_SLOW : VERDICT_AS_PRIVATE;
}

#define VERDICT_LEN 2048

/* Write to @out what the measured memory type means, and what to do; "" if there is nothing. */
static void verdict_text(const struct bench_report *report, char out[VERDICT_LEN])
{
	const char *uncached = ivs_peer_cap_reason(report->peer, IVS_CAP_CACHED);
	double least = 0;
	double most = 0;
	enum verdict verdict = verdict_find(report, &least, &most);

	*out = '\0';
	if (verdict == VERDICT_SLOW && uncached)
		snprintf(out, VERDICT_LEN,
			 "the region's memory is uncached here: reads take %.0f to %.0f times as "
			 "long as reads of private memory: %s",
			 least, most, uncached);
	else if (verdict == VERDICT_SLOW)
		snprintf(out, VERDICT_LEN,
			 "reads take %.0f to %.0f times as long as reads of private memory, "
			 "although this program has mapped the region cached: look for pages that "
			 "are swapped out or on a slow disk, and for a host that is overloaded",
			 least, most);
	else if (verdict == VERDICT_AS_PRIVATE && uncached)
		snprintf(out, VERDICT_LEN,
			 "the region is mapped uncached, but this host ignores that: its memory is "
			 "not slow here");
}

/* Return: why writes were not measured, and how to measure them; NULL: they were. */
static const char *writes_missing(const struct bench_report *report)
{
	if (report->overwritten)
		return NULL;
	if (report->overwrite)
		return "writes were not measured, because a signal has arrived: the region's "
		       "content has not changed";
	return "writes were not measured, because they would destroy the region's content: if no "
	       "program needs it, add --overwrite, with --offset and --length for a part of the "
	       "region";
}

static double gb_per_s(const struct bench_row *row)
{
	double ns = row->result.ns[BENCH_REGION];

	return ns > 0 ? (double)row->size / ns : 0;
}

static const char *time_text(char out[CELL_LEN], double ns)
{
	if (ns < 99.95)
		snprintf(out, CELL_LEN, "%.1f ns", ns);
	else
		latency_text(out, (uint64_t)(ns + 0.5));
	return out;
}

/* Return: 0 or -ENOMEM. */
static int result_add(struct table *table, const struct bench_result *result, const char *rate)
{
	char cell[CELL_LEN];
	int failed = table_add(table, time_text(cell, result->ns[BENCH_REGION]));

	if (!failed)
		failed = table_add(table, time_text(cell, result->ns[BENCH_FLOOR]));
	if (!failed)
		failed = table_add(table, rate);
	snprintf(cell, sizeof(cell), "%.1f", bench_ratio(result));
	return failed ? failed : table_add(table, cell);
}

static int row_add(struct table *table, const struct bench_row *row)
{
	char size[IVS_SIZE_TEXT_LEN];
	char rate[CELL_LEN];
	int failed = table_add(table, operation_names[row->operation]);

	if (!failed)
		failed = table_add(table, ivs_size_text(row->size, size));
	snprintf(rate, sizeof(rate), "%.2f", gb_per_s(row));
	return failed ? failed : result_add(table, &row->result, rate);
}

static int table_fill(struct table *table, const struct bench_report *report)
{
	int failed = 0;

	for (unsigned int i = 0; i < report->rows_n && !failed; i++)
		failed = row_add(table, &report->rows[i]);
	if (failed || report->why_no_doorbell)
		return failed;
	failed = table_add(table, "doorbell");
	if (!failed)
		failed = table_add(table, "-");
	return failed ? failed : result_add(table, &report->doorbell, "-");
}

static void print_notes(const struct bench_report *report)
{
	const char *writes = writes_missing(report);
	char verdict[VERDICT_LEN];

	verdict_text(report, verdict);
	if (!report->complete)
		printf("\ninterrupted: not everything was measured\n");
	if (*verdict)
		printf("\n%s\n", verdict);
	if (writes)
		printf("\n%s\n", writes);
	if (report->why_no_doorbell)
		printf("\ndoorbells were not measured: %s\n", report->why_no_doorbell);
}

int bench_print(const struct bench_report *report)
{
	static const struct table_column columns[] = {
		{"OPERATION", false}, {"SIZE", true}, {"TIME", true},
		{"PRIVATE", true},    {"GB/S", true}, {"RATIO", true},
	};
	struct table table = {.columns = columns, .columns_n = sizeof(columns) / sizeof(*columns)};
	char len[IVS_SIZE_TEXT_LEN];
	int failed = table_fill(&table, report);

	printf("%s\n%s from offset %zu, compared with private memory\n\n",
	       ivs_peer_describe(report->peer), ivs_size_text(report->len, len), report->offset);
	if (!failed)
		failed = table_print(&table);
	table_deinit(&table);
	if (failed)
		return usage_failed("%s", strerror(-failed));
	print_notes(report);
	return fflush(stdout) ? usage_failed("cannot print: %s", strerror(errno)) : 0;
}

static json_t *rows_json(const struct bench_report *report)
{
	json_t *rows = json_array();

	for (unsigned int i = 0; i < report->rows_n; i++) {
		const struct bench_row *row = &report->rows[i];
		const double *ns = row->result.ns;

		(void)json_array_append_new(
			rows,
			json_pack("{s:s, s:I, s:f, s:f, s:f, s:f, s:i}", "operation",
				  operation_names[row->operation], "size", (json_int_t)row->size,
				  "ns", ns[BENCH_REGION], "private_ns", ns[BENCH_FLOOR], "gb_per_s",
				  gb_per_s(row), "ratio", bench_ratio(&row->result), "rounds",
				  (int)row->result.rounds_n));
	}
	return rows;
}

static json_t *doorbell_json(const struct bench_report *report)
{
	const struct bench_result *result = &report->doorbell;

	if (report->why_no_doorbell)
		return json_null();
	return json_pack("{s:i, s:f, s:f, s:f, s:i}", "vector", (int)report->vector, "ns",
			 result->ns[BENCH_REGION], "eventfd_ns", result->ns[BENCH_FLOOR], "ratio",
			 bench_ratio(result), "rounds", (int)result->rounds_n);
}

int bench_print_json(const struct bench_report *report)
{
	bool cached = ivs_peer_caps(report->peer) & IVS_CAP_CACHED;
	char verdict[VERDICT_LEN];
	double least = 0;
	double most = 0;

	verdict_text(report, verdict);
	return json_print(json_pack(
		"{s:s, s:s, s:b, s:I, s:I, s:b, s:b, s:b, s:o, s:o, s:s?, s:s?, s:s?}", "address",
		report->address, "transport", ivs_peer_transport(report->peer), "cached",
		(int)cached, "offset", (json_int_t)report->offset, "length",
		(json_int_t)report->len, "overwritten", (int)report->overwritten, "complete",
		(int)report->complete, "slow", verdict_find(report, &least, &most) == VERDICT_SLOW,
		"memory", rows_json(report), "doorbell", doorbell_json(report), "verdict",
		*verdict ? verdict : NULL, "no_writes", writes_missing(report), "no_doorbell",
		report->why_no_doorbell));
}
