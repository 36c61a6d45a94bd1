/* SPDX-License-Identifier: BSD-3-Clause */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "meet.h"

static const char help_text[] =
	"usage: meet [OPTION]... ADDRESS\n"
	"\n"
	"Peers meet in shared memory, write, read, ring each other, and measure the speed.\n"
	"ADDRESS is unix:PATH on the host, pci: in a guest.\n"
	"\n"
	"  -n, --peers N      number of peers, 2 to 8 (2)\n"
	"  -a, --name NAME    name of this peer (peer)\n"
	"  -e, --vectors N    vectors of each peer, 1 to 64 (1)\n"
	"  -t, --timeout S    seconds to wait for another peer (30)\n"
	"  -r, --rounds N     round trips to measure, 1 to 100000 (200)\n"
	"  -h, --help         print this help and exit\n"
	"\n"
	"Example: two processes on the host\n"
	"  ivshmem-server -F -S /tmp/iv.sock & meet unix:/tmp/iv.sock & meet unix:/tmp/iv.sock\n";

/*
 * Print a line of JSON for scripts. The names need no escaping, because they were checked when they
 * were read.
 */
static void print_result(const struct meet *meet)
{
	const char *comma = "";

	printf("meet: result {\"name\":\"%s\",\"id\":%u,\"transport\":\"%s\",\"vectors\":%u,"
	       "\"memory\":%zu,\"roster\":[",
	       meet->names[meet->id], meet->id, ivs_peer_transport(meet->peer),
	       ivs_peer_vectors(meet->peer), meet->memory_len);
	for (unsigned int id = 0; id < meet->peers_n; id++, comma = ",")
		printf("%s{\"id\":%u,\"name\":\"%s\"}", comma, id, meet->names[id]);
	printf("],\"rings\":[");
	comma = "";
	for (unsigned int i = 0; i < meet->rings_n; i++, comma = ",")
		printf("%s{\"from\":%u,\"vector\":%u,\"arrived\":%s}", comma, meet->rings[i].from,
		       meet->rings[i].vector, meet->rings[i].arrived ? "true" : "false");
	printf("],\"read\":[");
	comma = "";
	for (unsigned int id = 0; id < meet->peers_n; id++) {
		if (id == meet->id)
			continue;
		printf("%s{\"id\":%u,\"correct\":%s}", comma, id,
		       meet->correct[id] ? "true" : "false");
		comma = ",";
	}
	printf("],\"round_trips\":[");
	comma = "";
	for (unsigned int i = 0; i < meet->trips_n; i++, comma = ",")
		printf("%s{\"with\":%u,\"n\":%u,\"p50_us\":%.1f,\"p99_us\":%.1f}", comma,
		       meet->trips[i].with, meet->trips[i].n, meet->trips[i].p50_us,
		       meet->trips[i].p99_us);
	printf("],\"write_mbs\":%.1f,\"read_mbs\":%.1f,\"floor_mbs\":%.1f}\n",
	       meet->speeds.write_mbs, meet->speeds.read_mbs, meet->speeds.floor_mbs);
}

/* Measure doorbells, then memory; peers measure memory one at a time, in the order of their ids. */
static bool measure(struct meet *meet)
{
	if (!meet_measure_doorbells(meet))
		return false;
	for (unsigned int id = 0; id < meet->id; id++) {
		if (!meet_await_value(meet, &meet->cells[id].stage, STAGE_MEASURED,
				      "the others have measured their memory"))
			return false;
	}
	meet_measure_memory(meet);
	meet_enter(meet, STAGE_MEASURED);
	return meet_await(meet, STAGE_MEASURED);
}

static bool meet_all(struct meet *meet, const char *address)
{
	if (!meet_open(meet, address))
		return false;
	meet_enter(meet, STAGE_OPENED);
	if (!meet_others(meet))
		return false;
	meet_enter(meet, STAGE_MET);
	if (!meet_await(meet, STAGE_MET))
		return false;
	meet_write(meet);
	meet_enter(meet, STAGE_WRITTEN);
	if (!meet_await(meet, STAGE_WRITTEN) || !meet_read(meet))
		return false;
	meet_enter(meet, STAGE_READ);
	if (!meet_await(meet, STAGE_READ) || !meet_ring(meet) || !meet_await(meet, STAGE_RUNG))
		return false;
	if (!measure(meet))
		return false;
	meet_enter(meet, STAGE_DONE);
	return meet_await(meet, STAGE_DONE); /* do not leave while another peer is still reading */
}

static bool parse_number(const char *text, long min, long max, long *out)
{
	char *end;

	*out = strtol(text, &end, 10);
	return *text && !*end && *out >= min && *out <= max;
}

static bool take_option(struct meet *meet, int option, const char *value)
{
	long n = 0;
	bool ok = false;

	switch (option) {
	case 'n':
		ok = parse_number(value, 2, PEERS_MAX, &n);
		meet->peers_n = (unsigned int)n;
		break;
	case 'e':
		ok = parse_number(value, 1, VECTORS_MAX, &n);
		meet->vectors_n = (unsigned int)n;
		break;
	case 't':
		ok = parse_number(value, 1, 3600, &n);
		meet->timeout_ms = (int)n * 1000;
		break;
	case 'r':
		ok = parse_number(value, 1, 100000, &n);
		meet->rounds = (unsigned int)n;
		break;
	case 'a':
		ok = strlen(value) < NAME_LEN &&
		     strspn(value, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
				   "-.") == strlen(value);
		meet->name = value;
		break;
	default:
		return false;
	}
	return ok ||
	       meet_fail("\"%s\" is not a valid value for option -%c: see --help", value, option);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"peers", required_argument, NULL, 'n'},
		{"name", required_argument, NULL, 'a'},
		{"vectors", required_argument, NULL, 'e'},
		{"timeout", required_argument, NULL, 't'},
		{"rounds", required_argument, NULL, 'r'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	static struct meet meet = {
		.name = "peer",
		.peers_n = 2,
		.vectors_n = 1,
		.rounds = 200,
		.timeout_ms = 30000,
	};
	int option;
	bool ok;

	setvbuf(stdout, NULL, _IOLBF, 0);
	while ((option = getopt_long(argc, argv, "n:a:e:t:r:h", options, NULL)) != -1) {
		if (option == 'h') {
			fputs(help_text, stdout);
			return 0;
		}
		if (!take_option(&meet, option, optarg))
			return 2;
	}
	if (optind != argc - 1) {
		meet_fail("exactly one ADDRESS is required: unix:PATH or pci: (see --help)");
		return 2;
	}
	ok = meet_all(&meet, argv[optind]);
	if (meet.cells)
		print_result(&meet);
	ivs_peer_close(meet.peer);
	return ok ? 0 : 1;
}
