/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Measure the CPU time that joins cost a server, as a ratio to the CPU time of a process that only
 * sends the same messages.
 *
 * In a storm, N clients connect as fast as one process can, and read all messages. When every
 * client knows all others, every second client disconnects, and the rest read the leaves. The CPU
 * time of the server process is read before the storm and when the server is idle again.
 *
 * The floor is a process of this program that takes the server's place. The comparison is fair:
 *
 *   - The clients run the same code. The cost of waking them is part of the CPU time of both server
 *     and floor; their own work is part of neither.
 *   - The floor sends the same messages in the same order: the greeting, the vectors of every other
 *     peer, the client's own vectors. The same messages carry an fd, and the floor has as many
 *     eventfds as the server, because the reference count of a single eventfd would stay in the
 *     cache of one CPU.
 *   - The floor's sockets have send buffers of the same size as the server's (8192 bytes, about 22
 *     messages), so server and floor find a socket full equally often, and both wait for room with
 *     edge-triggered epoll.
 *   - The floor fills the socket of one client, then that of the next, as a server must. As it
 *     knows the clients in advance, it accepts all of them first and then sends batches of maximum
 *     length. A server that sends to clients as soon as they join cannot do that.
 *   - The floor has no roster and no log. A message costs two stores in a prepared batch. If
 *     only a part of a batch is sent, the socket is full, so no call is needed to find that out.
 *   - The floor measures separately what it costs to accept connections, to create eventfds and to
 *     close both, because this cost depends on the number of connections. The server's time
 *     includes this cost, which is visible in small storms, so the table also has the ratio to the
 *     floor's total.
 *
 * Servers and floors run in turn, round after round, on the same CPU (the first one available; the
 * clients use the last one). A ratio compares two runs of one round, so that whatever slows the
 * machine affects both.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/parse.h"
#include "interrupt.h"
#include "report.h"

#define STORMS_MAX 16
#define STALLED_DEFAULT 100
#define PROGRESS_NS (2 * IVS_NS_PER_S)
#define SPARE_FDS 64
#define OUR_ARGS "-F -S {socket} -r memfd: -l 1M -n {vectors}"

/**
 * struct options - the command line
 * @rounds_n: number of rounds, or 0 to choose it by the size of the storm
 */
struct options {
	const char *server;
	const char *args;
	struct bench_shape shapes[STORMS_MAX];
	unsigned int shapes_n;
	unsigned int rounds_n;
	unsigned int stalled_n;
	bool json;
};

static void print_help(void)
{
	printf("usage: join [OPTION]... SERVER\n"
	       "\n"
	       "Start SERVER (ivshmem-server), let many clients join and then leave, and print\n"
	       "the server's cost as a ratio to what the kernel needs for the same messages.\n"
	       "\n"
	       "  -s, --storm NxV         N clients with V vectors; may be given several times\n"
	       "                          (default: 64x1 64x4 256x1 480x1 1000x4)\n"
	       "  -r, --rounds N          measure everything N times, up to %u (default: 25 for\n"
	       "                          small storms, 3 for the largest)\n"
	       "  -t, --stalled N         additional clients that never read (default: %u)\n"
	       "      --server PATH       another server instead of SERVER\n"
	       "      --server-args ARGS  its options; {socket}, {dir} and {vectors} are replaced\n"
	       "                          (default: %s)\n"
	       "      --no-pin            do not bind server and clients to one CPU each\n"
	       "  -j, --json              print JSON\n"
	       "  -h, --help\n"
	       "\n"
	       "Exit status: 0; 1 if a client missed a message or the server used too much "
	       "memory;\n"
	       "2 for invalid options. Times do not affect it.\n"
	       "\n"
	       "Example, and the same for QEMU's server, which handles small storms only:\n"
	       "  build/bench/join build/tools/ivshmem-server\n"
	       "  build/bench/join --storm 16x1 --stalled 0 --server ./ivshmem-server \\\n"
	       "      --server-args '-F -p {dir}/pid -S {socket} -m {dir} -l 1M -n {vectors}'\n",
	       BENCH_ROUNDS_MAX, STALLED_DEFAULT, OUR_ARGS);
}

static bool add_storm(struct options *opts, const char *text)
{
	struct bench_shape *shape = &opts->shapes[opts->shapes_n];
	char end;

	if (opts->shapes_n == STORMS_MAX ||
	    sscanf(text, "%5ux%4u%c", &shape->clients_n, &shape->vectors_n, &end) != 2 ||
	    shape->clients_n < 2 || !shape->vectors_n || shape->vectors_n > 2048 ||
	    shape->clients_n > 60000) {
		fprintf(stderr,
			"join: --storm %s: give clients and vectors, such as 64x4; 2 to 60000 "
			"clients, 1 to 2048 vectors, at most %u storms\n",
			text, STORMS_MAX);
		return false;
	}
	opts->shapes_n++;
	return true;
}

static bool parse_number(const char *name, const char *text, unsigned int max, unsigned int *out)
{
	uint64_t n;

	if (!ivs_parse_uint(text, 0, max, &n)) {
		fprintf(stderr, "join: %s %s: give a number up to %u\n", name, text, max);
		return false;
	}
	*out = (unsigned int)n;
	return true;
}

/* Return: whether to continue; if false, exit with *@status. */
static bool parse_options(int argc, char **argv, struct options *opts, int *status)
{
	static const struct option names[] = {
		{"storm", required_argument, NULL, 's'},
		{"rounds", required_argument, NULL, 'r'},
		{"stalled", required_argument, NULL, 't'},
		{"server", required_argument, NULL, 'S'},
		{"server-args", required_argument, NULL, 'A'},
		{"no-pin", no_argument, NULL, 'P'},
		{"json", no_argument, NULL, 'j'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	bool fine = true;
	int option;

	*status = 2;
	while (fine && (option = getopt_long(argc, argv, "s:r:t:jh", names, NULL)) != -1) {
		switch (option) {
		case 's':
			fine = add_storm(opts, optarg);
			break;
		case 'r':
			fine = parse_number("--rounds", optarg, BENCH_ROUNDS_MAX, &opts->rounds_n);
			break;
		case 't':
			fine = parse_number("--stalled", optarg, 10000, &opts->stalled_n);
			break;
		case 'S':
			opts->server = optarg;
			break;
		case 'A':
			opts->args = optarg;
			break;
		case 'P':
			bench_pin_disable();
			break;
		case 'j':
			opts->json = true;
			break;
		case 'h':
			print_help();
			*status = 0;
			return false;
		default:
			return false;
		}
	}
	if (fine && !opts->server && optind < argc)
		opts->server = argv[optind];
	if (fine && !opts->server)
		fprintf(stderr, "join: the server is missing: give its path, such as "
				"build/tools/ivshmem-server (see --help)\n");
	return fine && opts->server;
}

static void add_default_storms(struct options *opts)
{
	static const char *const storms[] = {"64x1", "64x4", "256x1", "480x1", "1000x4"};

	for (unsigned int i = 0; i < sizeof(storms) / sizeof(storms[0]); i++)
		if (!add_storm(opts, storms[i]))
			return;
}

/* Return: the number of rounds for a storm; the shorter the storm, the more rounds are needed. */
static unsigned int default_rounds(const struct bench_shape *shape)
{
	uint64_t messages = (uint64_t)shape->clients_n * shape->clients_n * shape->vectors_n;

	if (messages < 50000)
		return 25;
	return messages < 1000000 ? 11 : 3;
}

/* Return: whether the limit on fds is high enough for the server and for the clients' process. */
static bool has_fds(struct bench_result *result)
{
	const struct bench_shape *shape = &result->shape;
	unsigned long long need = (unsigned long long)(shape->clients_n + shape->stalled_n) *
					  (1 + shape->vectors_n) +
				  SPARE_FDS;
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_max >= need)
		return true;
	snprintf(result->why, sizeof(result->why),
		 "skipped: the server needs %llu file descriptors, and the limit is %llu "
		 "(ulimit -Hn)",
		 need, (unsigned long long)limit.rlim_max);
	return false;
}

static void measure_round(const struct bench_server *server, struct bench_result *result,
			  unsigned int round)
{
	/* Each floor runs immediately before or after BENCH_ALONE. Odd rounds run in reverse
	 * order. */
	static const enum bench_kind order[BENCH_KINDS] = {BENCH_SENDMSG, BENCH_ALONE,
							   BENCH_SENDMMSG, BENCH_STALLED};

	for (unsigned int i = 0; i < BENCH_KINDS; i++) {
		enum bench_kind kind = order[round % 2 ? BENCH_KINDS - 1 - i : i];
		struct bench_storm *storm = &result->storms[kind][round];
		struct bench_shape shape = result->shape;

		if (kind == BENCH_ALONE)
			shape.stalled_n = 0;
		if (kind == BENCH_ALONE || kind == BENCH_STALLED)
			bench_storm_server(server, &shape, storm);
		else
			bench_storm_floor(server->dir, &shape, kind == BENCH_SENDMSG ? 1 : 32,
					  storm);
		if (bench_interrupted())
			return;
	}
}

static void measure_all(const struct options *opts, const struct bench_server *server,
			struct bench_result *results)
{
	int64_t said = ivs_clock_ns();

	for (unsigned int i = 0; i < opts->shapes_n; i++) {
		struct bench_result *result = &results[i];
		unsigned int rounds_n;

		result->shape = opts->shapes[i];
		result->shape.stalled_n = opts->stalled_n;
		rounds_n = opts->rounds_n ? opts->rounds_n : default_rounds(&result->shape);
		if (!has_fds(result))
			continue;
		for (unsigned int round = 0; round < rounds_n && !bench_interrupted(); round++) {
			if (ivs_clock_ns() - said > PROGRESS_NS) {
				fprintf(stderr, "join: %ux%u, round %u of %u\n",
					result->shape.clients_n, result->shape.vectors_n, round + 1,
					rounds_n);
				said = ivs_clock_ns();
			}
			measure_round(server, result, round);
			result->rounds_n = round + 1;
		}
	}
}

static void raise_fd_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

int main(int argc, char **argv)
{
	struct options opts = {.args = OUR_ARGS, .stalled_n = STALLED_DEFAULT};
	char dir[] = "/tmp/ivshmem-bench-XXXXXX";
	struct bench_result *results;
	struct bench_server server;
	int status;

	if (!parse_options(argc, argv, &opts, &status))
		return status;
	if (access(opts.server, X_OK)) {
		fprintf(stderr, "join: %s: %s\n", opts.server, strerrordesc_np(errno));
		return 2;
	}
	if (!opts.shapes_n)
		add_default_storms(&opts);
	results = calloc(opts.shapes_n, sizeof(*results));
	if (!results || !mkdtemp(dir)) {
		fprintf(stderr, "join: cannot create a directory in /tmp: %s\n",
			strerrordesc_np(errno));
		return 1;
	}
	bench_watch_signals();
	raise_fd_limit();
	bench_pin(false);
	server = (struct bench_server){.path = opts.server, .args = opts.args, .dir = dir};
	measure_all(&opts, &server, results);
	bench_remove_files(dir);
	rmdir(dir);
	if (bench_interrupted())
		return 130;
	if (opts.json)
		bench_report_json(results, opts.shapes_n, opts.server);
	else
		bench_report_table(results, opts.shapes_n);
	status = bench_report_fine(results, opts.shapes_n) ? 0 : 1;
	free(results);
	return status;
}
