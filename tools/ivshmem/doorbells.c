/* SPDX-License-Identifier: BSD-3-Clause */
/* The commands ring and wait, which send doorbells and wait for them. */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/parse.h"
#include "ivshmem/registers.h"
#include "tools/ivshmem/commands.h"
#include "tools/ivshmem/target.h"
#include "tools/shared/ring.h"

#define ANY_VECTOR (-1)
#define SECONDS_MAX (INT_MAX / 1000)

struct ring {
	struct target target;
	const char *who;
	const char *which;
	bool verbose;
};

/**
 * struct wait - the command line of wait
 * @vector:     vector whose doorbells are counted; ANY_VECTOR: those on any vector are counted
 * @timeout_ms: how long to wait; -1: without limit
 * @left_n:     number of doorbells that are still to come
 */
struct wait {
	struct target target;
	int vector;
	int timeout_ms;
	uint64_t left_n;
	bool quiet;
};

static int ring_option(void *context, int option, const char *value)
{
	struct ring *ring = context;

	(void)value;
	if (option != 'v')
		return target_option(&ring->target, option);
	ring->verbose = true;
	return 0;
}

static int ring_operand(void *context, char *value)
{
	struct ring *ring = context;

	if (!target_operand(&ring->target, value))
		return 0;
	if (!ring->who)
		ring->who = value;
	else if (!ring->which && strcmp(ring->who, "all") != 0)
		ring->which = value;
	else
		return USAGE_SURPLUS;
	return 0;
}

static int ring_parse(struct ring *ring, int argc, char **argv)
{
	static const char help[] =
		"usage: ivshmem ring ADDRESS PEER VECTOR|all\n"
		"       ivshmem ring ADDRESS all\n"
		"\n"
		"Rings a vector of a peer, all its vectors, or all vectors of all other peers.\n"
		"\n"
		"  -v, --verbose          print each doorbell that was sent\n" TARGET_HELP
		"\n" TARGET_ADDRESSES "\n"
		"Example: ring vector 1 of peer 0\n"
		"  ivshmem ring unix:/run/ivshmem/my-vms.sock 0 1\n";
	static const struct option options[] = {
		{"verbose", no_argument, NULL, 'v'},
		TARGET_OPTIONS,
		{0},
	};
	static const struct usage usage = {help,	"v" TARGET_LETTERS, options,
					   ring_option, "see --help",	    ring_operand};
	int status = usage_parse(&usage, ring, argc, argv);

	if (status || !ring->target.text || ring->which || (ring->who && !strcmp(ring->who, "all")))
		return status;
	fprintf(stderr, "%s: no %s: see --help\n", usage_name(), ring->who ? "VECTOR" : "PEER");
	return STATUS_USAGE;
}

static int run_ring(int argc, char **argv)
{
	static struct ring ring;
	struct ivs_peer *peer;
	enum outcome outcome;
	int status = ring_parse(&ring, argc, argv);

	if (!status)
		status = target_open(&ring.target, true, &peer);
	if (status)
		return status < 0 ? 0 : status;
	target_take_joins(peer);
	outcome = ring_by_text(peer, ring.who, ring.which, ring.verbose);
	ivs_peer_close(peer);
	return outcome == OUTCOME_OK ? 0 : STATUS_FAILED;
}

static int wait_option(void *context, int option, const char *value)
{
	struct wait *wait = context;
	uint64_t number;

	switch (option) {
	case 't':
		if (!ivs_parse_uint(value, 0, SECONDS_MAX, &number))
			return usage_error("invalid time limit", value,
					   "use a number of seconds, such as 10");
		wait->timeout_ms = (int)number * 1000;
		return 0;
	case 'n':
		if (!ivs_parse_uint(value, 1, UINT64_MAX, &wait->left_n))
			return usage_error("invalid count", value, "use a number of at least 1");
		return 0;
	case 'q':
		wait->quiet = true;
		return 0;
	default:
		return target_option(&wait->target, option);
	}
}

static int wait_operand(void *context, char *value)
{
	struct wait *wait = context;
	uint64_t vector;

	if (!target_operand(&wait->target, value))
		return 0;
	if (wait->vector != ANY_VECTOR)
		return USAGE_SURPLUS;
	if (!ivs_parse_uint(value, 0, IVS_VECTOR_MAX, &vector))
		return usage_error("invalid vector", value, "use 0 to 65535");
	wait->vector = (int)vector;
	return 0;
}

static int wait_parse(struct wait *wait, int argc, char **argv)
{
	static const char help[] =
		"usage: ivshmem wait ADDRESS [VECTOR] [OPTION]...\n"
		"\n"
		"Waits until another peer rings VECTOR, or any vector, and prints the doorbell.\n"
		"The exit status is 1 if the time limit expires.\n"
		"\n"
		"  -t, --timeout SECONDS  time limit; by default, wait indefinitely\n"
		"  -n, --count N          wait for N doorbells (1); several that are sent quickly\n"
		"                         can arrive as one\n"
		"  -q, --quiet            do not print the id of this peer\n" TARGET_HELP
		"\n" TARGET_ADDRESSES "\n"
		"Example: run a command each time another peer rings vector 0\n"
		"  while ivshmem wait -q pci: 0; do echo rung; done\n";
	static const struct option options[] = {
		{"timeout", required_argument, NULL, 't'},
		{"count", required_argument, NULL, 'n'},
		{"quiet", no_argument, NULL, 'q'},
		TARGET_OPTIONS,
		{0},
	};
	static const struct usage usage = {help,	"t:n:q" TARGET_LETTERS, options,
					   wait_option, "see --help",		wait_operand};

	return usage_parse(&usage, wait, argc, argv);
}

/* Check that this peer has the vector to wait for, and print the peer's id. */
static int check_vectors(const struct wait *wait, struct ivs_peer *peer)
{
	const char *why = ivs_peer_cap_reason(peer, IVS_CAP_WAIT);
	unsigned int n = ivs_peer_vectors(peer);

	if (why)
		return usage_failed("%s: %s", wait->target.address, why);
	if (wait->vector >= (int)n)
		return usage_failed("%s: this peer has no vector %d: use 0 to %u",
				    wait->target.address, wait->vector, n - 1);
	if (!wait->quiet)
		fprintf(stderr, "%s: waiting as peer %d, which has %u vectors\n", usage_name(),
			ivs_peer_id(peer), n);
	return 0;
}

/* Return: 0 when a doorbell has arrived, or an exit status. */
static int await_event(struct wait *wait, struct ivs_peer *peer, int64_t until_ns)
{
	int ms = wait->timeout_ms < 0 ? -1 : ivs_clock_left_ms(until_ns);
	struct ivs_event event;
	int result = ivs_peer_next(peer, ms, &event);

	if (result == IVS_PEER_E_TIMEOUT)
		return usage_failed("no doorbell within %d s", wait->timeout_ms / 1000);
	if (result && result != -EINTR)
		return usage_failed("%s: %s", wait->target.address, ivs_peer_strerror(result));
	if (!result && event.type == IVS_EVENT_DOORBELL &&
	    (wait->vector == ANY_VECTOR || wait->vector == (int)event.vector)) {
		printf("doorbell on vector %u\n", event.vector);
		fflush(stdout);
		wait->left_n--;
	}
	return 0;
}

static int run_wait(int argc, char **argv)
{
	static struct wait wait = {.vector = ANY_VECTOR, .timeout_ms = -1, .left_n = 1};
	struct ivs_peer *peer;
	int64_t until_ns;
	int status = wait_parse(&wait, argc, argv);

	if (!status)
		status = target_open(&wait.target, true, &peer);
	if (status)
		return status < 0 ? 0 : status;
	status = check_vectors(&wait, peer);
	until_ns = ivs_clock_deadline(wait.timeout_ms);
	while (!status && wait.left_n)
		status = await_event(&wait, peer, until_ns);
	ivs_peer_close(peer);
	return status;
}

const struct command command_ring = {"ring", "ring a vector of a peer", run_ring};
const struct command command_wait = {"wait", "wait until a peer rings", run_wait};
