/* SPDX-License-Identifier: BSD-3-Clause */
#include "report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CPU_TARGET 1.15	    /* highest accepted ratio to the sendmmsg floor */
#define STALLED_TARGET 1.05 /* highest ratio to a storm without stalled clients; ideally 1 */
#define RSS_BASE_KIB 4096
#define RSS_PAIR_LEN 4 /* bytes of memory allowed for each pair of peers */

/* @low to @high: range of the middle half of the rounds, or of all rounds if there are fewer than
 * four */
struct spread {
	double min;
	double low;
	double median;
	double high;
	double max;
};

/* Return: a figure from one round, often the ratio between two storms of the round. */
typedef double measure_fn(const struct bench_result *result, enum bench_kind kind,
			  unsigned int round);

static int compare_doubles(const void *a, const void *b)
{
	double left = *(const double *)a;
	double right = *(const double *)b;

	return (left > right) - (left < right);
}

static struct spread spread_of(const struct bench_result *result, enum bench_kind kind,
			       measure_fn *measure)
{
	double values[BENCH_ROUNDS_MAX];
	unsigned int n = result->rounds_n;

	for (unsigned int i = 0; i < n; i++)
		values[i] = measure(result, kind, i);
	qsort(values, n, sizeof(values[0]), compare_doubles);
	return (struct spread){
		.min = values[0],
		.low = values[n / 4],
		.median = n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2,
		.high = values[n - 1 - n / 4],
		.max = values[n - 1],
	};
}

static double median_of(const struct bench_result *result, enum bench_kind kind,
			measure_fn *measure)
{
	return spread_of(result, kind, measure).median;
}

static double part_us(const struct bench_part *part)
{
	return part->messages_n ? (double)part->cpu_ns / 1e3 / (double)part->messages_n : 0;
}

static double part_rate(const struct bench_part *part)
{
	return part->wall_ns ? (double)part->messages_n * 1e9 / (double)part->wall_ns : 0;
}

#define STORM(result, kind, round) (&(result)->storms[kind][round])

static double join_us(const struct bench_result *result, enum bench_kind kind, unsigned int round)
{
	return part_us(&STORM(result, kind, round)->join);
}

static double leave_us(const struct bench_result *result, enum bench_kind kind, unsigned int round)
{
	return part_us(&STORM(result, kind, round)->leave);
}

static double join_rate(const struct bench_result *result, enum bench_kind kind, unsigned int round)
{
	return part_rate(&STORM(result, kind, round)->join);
}

static double leave_rate(const struct bench_result *result, enum bench_kind kind,
			 unsigned int round)
{
	return part_rate(&STORM(result, kind, round)->leave);
}

static double join_to_one(const struct bench_result *result, enum bench_kind kind,
			  unsigned int round)
{
	return join_us(result, kind, round) / join_us(result, BENCH_SENDMSG, round);
}

static double leave_to_one(const struct bench_result *result, enum bench_kind kind,
			   unsigned int round)
{
	return leave_us(result, kind, round) / leave_us(result, BENCH_SENDMSG, round);
}

static double join_to_batch(const struct bench_result *result, enum bench_kind kind,
			    unsigned int round)
{
	return join_us(result, kind, round) / join_us(result, BENCH_SENDMMSG, round);
}

static double leave_to_batch(const struct bench_result *result, enum bench_kind kind,
			     unsigned int round)
{
	return leave_us(result, kind, round) / leave_us(result, BENCH_SENDMMSG, round);
}

/*
 * Return: the server's time, divided by the sum of the floor's times for messages and for
 * accepting.
 */
static double join_to_whole(const struct bench_result *result, enum bench_kind kind,
			    unsigned int round)
{
	const struct bench_storm *storm = STORM(result, kind, round);
	const struct bench_storm *floor = STORM(result, BENCH_SENDMMSG, round);
	double floor_ns = join_us(result, BENCH_SENDMMSG, round) * 1e3;

	return (double)storm->join.cpu_ns /
	       (floor_ns * (double)storm->join.messages_n + (double)floor->accept_ns);
}

static double leave_to_whole(const struct bench_result *result, enum bench_kind kind,
			     unsigned int round)
{
	const struct bench_storm *storm = STORM(result, kind, round);
	const struct bench_storm *floor = STORM(result, BENCH_SENDMMSG, round);
	double floor_ns = leave_us(result, BENCH_SENDMMSG, round) * 1e3;

	return (double)storm->leave.cpu_ns /
	       (floor_ns * (double)storm->leave.messages_n + (double)floor->close_ns);
}

/* Return: the ratio to the server's time without stalled clients. */
static double join_to_alone(const struct bench_result *result, enum bench_kind kind,
			    unsigned int round)
{
	return join_us(result, kind, round) / join_us(result, BENCH_ALONE, round);
}

static double p50_ms(const struct bench_result *result, enum bench_kind kind, unsigned int round)
{
	return (double)STORM(result, kind, round)->latency.p50_ns / 1e6;
}

static double p99_ms(const struct bench_result *result, enum bench_kind kind, unsigned int round)
{
	return (double)STORM(result, kind, round)->latency.p99_ns / 1e6;
}

static double max_ms(const struct bench_result *result, enum bench_kind kind, unsigned int round)
{
	return (double)STORM(result, kind, round)->latency.max_ns / 1e6;
}

static double rss_kib(const struct bench_result *result, enum bench_kind kind, unsigned int round)
{
	return (double)STORM(result, kind, round)->rss_kib;
}

static double idle_kib(const struct bench_result *result, enum bench_kind kind, unsigned int round)
{
	return (double)STORM(result, kind, round)->idle_kib;
}

static unsigned int stalled_n(const struct bench_result *result, enum bench_kind kind)
{
	return kind == BENCH_STALLED ? result->shape.stalled_n : 0;
}

static double rss_limit_kib(const struct bench_result *result, enum bench_kind kind)
{
	double peers = result->shape.clients_n + stalled_n(result, kind);

	return RSS_BASE_KIB + RSS_PAIR_LEN * peers * peers / 1024;
}

/* Return: why the row for this kind of storm has no numbers, or NULL if it has some. */
static const char *why_not(const struct bench_result *result, enum bench_kind kind)
{
	static const enum bench_kind floors[] = {BENCH_SENDMSG, BENCH_SENDMMSG};

	if (result->why[0])
		return result->why;
	for (unsigned int i = 0; i < result->rounds_n; i++) {
		if (STORM(result, kind, i)->why[0])
			return STORM(result, kind, i)->why;
		for (unsigned int j = 0; j < 2; j++) {
			if (STORM(result, floors[j], i)->why[0])
				return STORM(result, floors[j], i)->why;
		}
	}
	return NULL;
}

static const char *verdict(bool met)
{
	return met ? "met" : "NOT met";
}

static const char *name_of(const struct bench_result *result, char out[32])
{
	snprintf(out, 32, "%ux%u", result->shape.clients_n, result->shape.vectors_n);
	return out;
}

/* Print the start of a row, and the reason if it has no numbers. Return: whether it has numbers. */
static bool print_head(const struct bench_result *result, enum bench_kind kind, const char *what)
{
	const char *why = why_not(result, kind);
	char name[32];

	printf("%-8s %7u %-6s", name_of(result, name), stalled_n(result, kind), what);
	if (why)
		printf("  %s\n", why);
	return !why;
}

static void print_cpu(const struct bench_result *result, enum bench_kind kind, bool join)
{
	measure_fn *us = join ? join_us : leave_us;
	const struct bench_storm *first = STORM(result, kind, 0);
	struct spread to_batch;
	double alone;

	if (!print_head(result, kind, join ? "join" : "leave"))
		return;
	to_batch = spread_of(result, kind, join ? join_to_batch : leave_to_batch);
	printf(" %9llu %10.0f %7.2f %8.2f %9.2f %8.2f %9.2f (%.2f-%.2f) %8.2f   %s",
	       (unsigned long long)(join ? first->join.messages_n : first->leave.messages_n),
	       median_of(result, kind, join ? join_rate : leave_rate), median_of(result, kind, us),
	       median_of(result, BENCH_SENDMSG, us), median_of(result, BENCH_SENDMMSG, us),
	       median_of(result, kind, join ? join_to_one : leave_to_one), to_batch.median,
	       to_batch.low, to_batch.high,
	       median_of(result, kind, join ? join_to_whole : leave_to_whole),
	       verdict(to_batch.median <= CPU_TARGET));
	if (join && kind == BENCH_STALLED && !why_not(result, BENCH_ALONE)) {
		alone = median_of(result, kind, join_to_alone);
		printf("; %.2f x without stalled: %s", alone, verdict(alone <= STALLED_TARGET));
	}
	printf("\n");
}

static void print_rest(const struct bench_result *result, enum bench_kind kind)
{
	struct spread rss;
	double limit = rss_limit_kib(result, kind);

	if (!print_head(result, kind, "join"))
		return;
	rss = spread_of(result, kind, rss_kib);
	printf(" %8.1f %8.1f %8.1f %9.0f %9.0f %9.0f   %s\n", median_of(result, kind, p50_ms),
	       median_of(result, kind, p99_ms), median_of(result, kind, max_ms),
	       median_of(result, kind, idle_kib), rss.max, limit, verdict(rss.max <= limit));
}

void bench_report_table(const struct bench_result *results, unsigned int results_n)
{
	printf("Median CPU time per message in us, for the server and for the two floors. "
	       "Target: at most %.2f x sendmmsg.\n"
	       "The spread is the range of the middle half of the rounds; \"x+conn\" is the ratio "
	       "to sendmmsg including accepting or closing connections.\n\n",
	       CPU_TARGET);
	printf("%-8s %7s %-6s %9s %10s %7s %8s %9s %8s %9s %-11s %8s   %s\n", "storm", "stalled",
	       "part", "messages", "messages/s", "server", "sendmsg", "sendmmsg", "xsendmsg",
	       "xsendmmsg", "(spread)", "x+conn", "target");
	for (unsigned int i = 0; i < results_n; i++) {
		print_cpu(&results[i], BENCH_ALONE, true);
		print_cpu(&results[i], BENCH_STALLED, true);
		print_cpu(&results[i], BENCH_ALONE, false);
		print_cpu(&results[i], BENCH_STALLED, false);
	}
	printf("\nLatency in ms from connect() to the last own vector, medians of the rounds; "
	       "memory (VmHWM) in KiB, maximum of the rounds.\n"
	       "Target: at most %u KiB + %u bytes x peers^2. In rows with numbers, "
	       "every client received everything.\n\n",
	       RSS_BASE_KIB, RSS_PAIR_LEN);
	printf("%-8s %7s %-6s %8s %8s %8s %9s %9s %9s   %s\n", "storm", "stalled", "part", "p50",
	       "p99", "max", "idle KiB", "peak KiB", "limit", "target");
	for (unsigned int i = 0; i < results_n; i++) {
		print_rest(&results[i], BENCH_ALONE);
		print_rest(&results[i], BENCH_STALLED);
	}
}

static void print_spread_json(const char *name, struct spread spread)
{
	printf(", \"%s\": {\"min\": %.4f, \"low\": %.4f, \"median\": %.4f, \"high\": %.4f, "
	       "\"max\": %.4f}",
	       name, spread.min, spread.low, spread.median, spread.high, spread.max);
}

static void print_text_json(const char *text)
{
	putchar('"');
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			putchar('\\');
		putchar((unsigned char)*text < ' ' ? ' ' : *text);
	}
	putchar('"');
}

static void print_part_json(const struct bench_result *result, enum bench_kind kind, bool join)
{
	const struct bench_storm *first = STORM(result, kind, 0);
	measure_fn *us = join ? join_us : leave_us;
	struct spread to_batch = spread_of(result, kind, join ? join_to_batch : leave_to_batch);

	printf(", \"%s\": {\"messages\": %llu", join ? "join" : "leave",
	       (unsigned long long)(join ? first->join.messages_n : first->leave.messages_n));
	print_spread_json("messages_per_s", spread_of(result, kind, join ? join_rate : leave_rate));
	print_spread_json("server_us", spread_of(result, kind, us));
	print_spread_json("sendmsg_us", spread_of(result, BENCH_SENDMSG, us));
	print_spread_json("sendmmsg_us", spread_of(result, BENCH_SENDMMSG, us));
	print_spread_json("to_sendmsg", spread_of(result, kind, join ? join_to_one : leave_to_one));
	print_spread_json("to_sendmmsg", to_batch);
	print_spread_json("to_sendmmsg_and_connections",
			  spread_of(result, kind, join ? join_to_whole : leave_to_whole));
	printf(", \"met\": %s}", to_batch.median <= CPU_TARGET ? "true" : "false");
}

static void print_row_json(const struct bench_result *result, enum bench_kind kind)
{
	const char *why = why_not(result, kind);
	struct spread rss;

	printf("    {\"clients\": %u, \"vectors\": %u, \"stalled\": %u, \"rounds\": %u, "
	       "\"complete\": %s",
	       result->shape.clients_n, result->shape.vectors_n, stalled_n(result, kind),
	       result->rounds_n, why ? "false" : "true");
	if (why) {
		printf(", \"why\": ");
		print_text_json(why);
		printf("}");
		return;
	}
	print_part_json(result, kind, true);
	print_part_json(result, kind, false);
	if (kind == BENCH_STALLED && !why_not(result, BENCH_ALONE))
		print_spread_json("to_without_stalled", spread_of(result, kind, join_to_alone));
	print_spread_json("latency_p50_ms", spread_of(result, kind, p50_ms));
	print_spread_json("latency_p99_ms", spread_of(result, kind, p99_ms));
	print_spread_json("latency_max_ms", spread_of(result, kind, max_ms));
	rss = spread_of(result, kind, rss_kib);
	print_spread_json("idle_kib", spread_of(result, kind, idle_kib));
	print_spread_json("peak_kib", rss);
	printf(", \"peak_limit_kib\": %.0f, \"peak_met\": %s}", rss_limit_kib(result, kind),
	       rss.max <= rss_limit_kib(result, kind) ? "true" : "false");
}

void bench_report_json(const struct bench_result *results, unsigned int results_n,
		       const char *server)
{
	printf("{\n  \"server\": ");
	print_text_json(server);
	printf(",\n  \"cpu_target\": %.2f,\n  \"stalled_target\": %.2f,\n  \"rows\": [\n",
	       CPU_TARGET, STALLED_TARGET);
	for (unsigned int i = 0; i < results_n; i++) {
		print_row_json(&results[i], BENCH_ALONE);
		printf(",\n");
		print_row_json(&results[i], BENCH_STALLED);
		printf(i + 1 < results_n ? ",\n" : "\n");
	}
	printf("  ]\n}\n");
}

bool bench_report_fine(const struct bench_result *results, unsigned int results_n)
{
	static const enum bench_kind served[] = {BENCH_ALONE, BENCH_STALLED};
	bool fine = true;

	for (unsigned int i = 0; i < results_n; i++) {
		for (unsigned int j = 0; j < 2 && !results[i].why[0]; j++) {
			double limit = rss_limit_kib(&results[i], served[j]);

			fine = fine && !why_not(&results[i], served[j]) &&
			       spread_of(&results[i], served[j], rss_kib).max <= limit;
		}
	}
	return fine;
}
