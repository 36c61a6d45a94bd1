/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The commands ping and pong. ping rings a peer and measures the time until it is rung itself; pong
 * is one program that rings back. A doorbell does not say which peer has sent it.
 */
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
#include "tools/ivshmem/json_print.h"
#include "tools/shared/latency.h"
#include "tools/ivshmem/progress.h"
#include "tools/ivshmem/signals.h"
#include "tools/ivshmem/target.h"

#define ANY_PEER UINT_MAX
#define SECONDS_MAX (INT_MAX / 1000)
#define JOIN_DELAY_NS IVS_NS_PER_S
#define DRAIN_MAX 100000 /* doorbells of a peer that rings all the time */

/**
 * struct ping - the command line of ping, and its results
 * @peer_id: the peer to ring
 * @count:   number of doorbells to send; 0: until a signal
 * @flood:   ring as soon as the peer has answered
 * @vectors: bitmap of the own vectors below 64 that were rung
 */
struct ping {
	struct target target;
	const char *who;
	unsigned int peer_id;
	unsigned int vector;
	uint64_t count;
	int interval_ms;
	int timeout_ms;
	bool flood;
	bool quiet;
	bool json;
	struct ivs_doorbell *doorbell;
	uint64_t sent;
	uint64_t vectors;
	struct latency latency;
};

/** struct pong - the command line of pong */
struct pong {
	struct target target;
	unsigned int peer_id; /* ANY_PEER: all other peers */
	unsigned int vector;  /* IVS_VECTOR_MAX + 1: the one on which the doorbell came */
	bool quiet;
	uint64_t answered;
	unsigned int rung_vector; /* of the last doorbell */
	int64_t rung_ns;	  /* when it came */
};

#define SAME_VECTOR (IVS_VECTOR_MAX + 1)

/* Return: 0, or an exit status after printing the reason. */
static int parse_seconds(const char *value, int *ms)
{
	uint64_t number;

	if (!ivs_parse_uint(value, 1, SECONDS_MAX, &number))
		return usage_error("invalid time", value, "use a number of seconds, such as 1");
	*ms = (int)number * 1000;
	return 0;
}

static int parse_vector(const char *value, unsigned int *vector)
{
	uint64_t number;

	if (!ivs_parse_uint(value, 0, IVS_VECTOR_MAX, &number))
		return usage_error("invalid vector", value, "use 0 to 65535");
	*vector = (unsigned int)number;
	return 0;
}

static int parse_peer(const char *value, unsigned int *id)
{
	uint64_t number;

	if (!ivs_parse_uint(value, 0, IVS_ID_MAX, &number))
		return usage_error("invalid peer", value, "use an id from 0 to 65535");
	*id = (unsigned int)number;
	return 0;
}

static int ping_option(void *context, int option, const char *value)
{
	struct ping *ping = context;

	switch (option) {
	case 'v':
		return parse_vector(value, &ping->vector);
	case 'n':
		if (!ivs_parse_uint(value, 1, UINT64_MAX, &ping->count))
			return usage_error("invalid count", value, "use a number of at least 1");
		return 0;
	case 'i':
		return parse_seconds(value, &ping->interval_ms);
	case 't':
		return parse_seconds(value, &ping->timeout_ms);
	case 'f':
		ping->flood = true;
		return 0;
	case 'q':
		ping->quiet = true;
		return 0;
	case 'j':
		ping->json = true;
		return 0;
	default:
		return target_option(&ping->target, option);
	}
}

static int ping_operand(void *context, char *value)
{
	struct ping *ping = context;

	if (!ping->target.text) {
		ping->target.text = value;
		return 0;
	}
	if (ping->who)
		return USAGE_SURPLUS;
	ping->who = value;
	return parse_peer(value, &ping->peer_id);
}

static int ping_parse(struct ping *ping, int argc, char **argv)
{
	static const char help[] =
		"usage: ivshmem ping ADDRESS PEER [OPTION]...\n"
		"\n"
		"Rings PEER, waits until this peer is rung, and prints the time in between. PEER\n"
		"has to run a program that rings back, such as \"ivshmem pong\". At the end, or\n"
		"after Ctrl-C, prints how many answers were lost, and how long they took. The "
		"exit\n"
		"status is 1 if there was no answer.\n"
		"\n"
		"  -v, --vector V         vector of PEER to ring (0)\n"
		"  -n, --count N          end after N doorbells\n"
		"  -i, --interval SECONDS time between two doorbells (1)\n"
		"  -t, --timeout SECONDS  how long to wait for an answer (1)\n"
		"  -f, --flood            ring again as soon as an answer has come\n"
		"  -q, --quiet            print only the results\n"
		"  -j, --json             print the results as JSON, with times in ns\n" TARGET_HELP
		"\n" TARGET_ADDRESSES "\n"
		"Example: how long a doorbell to a guest and back takes, a thousand times\n"
		"  guest# ivshmem pong pci: 1\n"
		"  host$  ivshmem ping unix:/run/ivshmem/my-vms.sock 0 --flood --count 1000\n";
	static const struct option options[] = {
		{"vector", required_argument, NULL, 'v'},
		{"count", required_argument, NULL, 'n'},
		{"interval", required_argument, NULL, 'i'},
		{"timeout", required_argument, NULL, 't'},
		{"flood", no_argument, NULL, 'f'},
		{"quiet", no_argument, NULL, 'q'},
		{"json", no_argument, NULL, 'j'},
		TARGET_OPTIONS,
		{0},
	};
	static const struct usage usage = {help,	 "v:n:i:t:fqj" TARGET_LETTERS,
					   options,	 ping_option,
					   "see --help", ping_operand};
	int status = usage_parse(&usage, ping, argc, argv);

	if (status || !ping->target.text || ping->who)
		return status;
	fprintf(stderr, "%s: no PEER: \"ivshmem peers %s\" lists them\n", usage_name(),
		ping->target.text);
	return STATUS_USAGE;
}

/* Return: 0, or STATUS_FAILED after printing what this peer lacks. */
static int check_caps(const struct target *target, const struct ivs_peer *peer)
{
	const char *why = ivs_peer_cap_reason(peer, IVS_CAP_RING);

	if (!why)
		why = ivs_peer_cap_reason(peer, IVS_CAP_WAIT);
	return why ? usage_failed("%s: %s", target->address, why) : 0;
}

static int find_peer(struct ping *ping, struct ivs_peer *peer)
{
	int result = ivs_doorbell_new(peer, ping->peer_id, ping->vector, &ping->doorbell);

	switch (result) {
	case 0:
		return 0;
	case IVS_PEER_E_ABSENT:
		return usage_failed("no peer %u is connected: \"ivshmem peers %s\" lists them",
				    ping->peer_id, ping->target.text);
	case IVS_PEER_E_VECTOR:
		return usage_failed("peer %u has no vector %u: use 0 to %u", ping->peer_id,
				    ping->vector, ivs_peer_vectors_of(peer, ping->peer_id) - 1);
	default:
		return usage_failed("cannot ring peer %u: %s", ping->peer_id,
				    ivs_peer_strerror(result));
	}
}

static void print_answer(const struct ping *ping, unsigned int vector, uint64_t ns)
{
	char text[LATENCY_TEXT_LEN];

	if (ping->quiet || ping->flood || ping->json)
		return;
	latency_text(text, ns);
	printf("%" PRIu64 ": answer on vector %u after %s\n", ping->sent, vector, text);
	fflush(stdout);
}

static void print_loss(const struct ping *ping)
{
	if (ping->quiet || ping->flood || ping->json)
		return;
	printf("%" PRIu64 ": no answer within %d s\n", ping->sent, ping->timeout_ms / 1000);
	fflush(stdout);
}

/*
 * Wait for a doorbell until @until_ns. Return: 0: it came; IVS_PEER_E_TIMEOUT, _STOPPED; another
 * result: printed.
 */
static int await_doorbell(const struct ping *ping, struct ivs_peer *peer, int64_t until_ns,
			  unsigned int *vector)
{
	struct ivs_event event = {0};
	int result;

	do {
		result = ivs_peer_next(peer, ivs_clock_left_ms(until_ns), &event);
		if (!result && event.type == IVS_EVENT_LEAVE && event.id == ping->peer_id) {
			(void)usage_failed("peer %u has left", ping->peer_id);
			return IVS_PEER_E_ABSENT;
		}
	} while (result == -EINTR || (!result && event.type != IVS_EVENT_DOORBELL));
	*vector = event.vector;
	if (result && result != IVS_PEER_E_TIMEOUT && result != IVS_PEER_E_STOPPED)
		(void)usage_failed("%s: %s", ping->target.address, ivs_peer_strerror(result));
	return result;
}

/* Take what has come since the last answer. It would look like the answer to the next doorbell. */
static int drain(const struct ping *ping, struct ivs_peer *peer, int64_t until_ns)
{
	unsigned int vector;
	int result = 0;

	for (unsigned int i = 0; i < DRAIN_MAX && !result; i++)
		result = await_doorbell(ping, peer, until_ns, &vector);
	return result == IVS_PEER_E_TIMEOUT ? 0 : result;
}

/* Return: 0, IVS_PEER_E_STOPPED, or another result, which was printed. */
static int ping_once(struct ping *ping, struct ivs_peer *peer)
{
	int64_t start_ns = ivs_clock_ns();
	int64_t end_ns;
	unsigned int vector;
	int result = ivs_doorbell_ring(ping->doorbell);

	if (result) {
		(void)usage_failed("cannot ring peer %u: %s", ping->peer_id,
				   ivs_peer_strerror(result));
		return result;
	}
	ping->sent++;
	result = await_doorbell(ping, peer, ivs_clock_deadline(ping->timeout_ms), &vector);
	end_ns = ivs_clock_ns();
	if (!result) {
		latency_add(&ping->latency, (uint64_t)(end_ns - start_ns));
		ping->vectors |= vector < 64 ? UINT64_C(1) << vector : 0;
		print_answer(ping, vector, (uint64_t)(end_ns - start_ns));
	}
	if (result == IVS_PEER_E_TIMEOUT) {
		print_loss(ping);
		result = 0;
	}
	if (!result && ping->sent != ping->count)
		result = drain(ping, peer,
			       ping->flood ? 0
					   : start_ns + ping->interval_ms * (int64_t)IVS_NS_PER_MS);
	return result;
}

/* Return: whether the last doorbell was answered, or not waited for because of a signal. */
static uint64_t lost_n(const struct ping *ping, int result)
{
	uint64_t unanswered = ping->sent - ping->latency.n;

	return unanswered - (unanswered && result == IVS_PEER_E_STOPPED);
}

static int print_results_json(const struct ping *ping, uint64_t lost)
{
	const struct latency *latency = &ping->latency;

	return json_print(json_pack("{s:i, s:i, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "peer",
				    (int)ping->peer_id, "vector", (int)ping->vector, "sent",
				    (json_int_t)ping->sent, "answered", (json_int_t)latency->n,
				    "lost", (json_int_t)lost, "min_ns", (json_int_t)latency->min_ns,
				    "median_ns", (json_int_t)latency_percentile(latency, 500),
				    "p99_ns", (json_int_t)latency_percentile(latency, 990),
				    "max_ns", (json_int_t)latency->max_ns));
}

static int print_results(const struct ping *ping, int result)
{
	uint64_t lost = lost_n(ping, result);

	if (ping->json)
		return print_results_json(ping, lost);
	if (!ping->quiet && !ping->flood)
		putchar('\n');
	printf("peer %u, vector %u: %" PRIu64 " sent, %" PRIu64 " answered, %" PRIu64 " lost\n",
	       ping->peer_id, ping->vector, ping->sent, ping->latency.n, lost);
	latency_print(&ping->latency);
	return 0;
}

static int run_ping(int argc, char **argv)
{
	static struct ping ping = {.interval_ms = 1000, .timeout_ms = 1000};
	struct ivs_peer *peer;
	int status = ping_parse(&ping, argc, argv);
	int result = 0;

	if (!status)
		status = target_open(&ping.target, true, &peer);
	if (status)
		return status < 0 ? 0 : status;
	target_take_joins(peer);
	status = check_caps(&ping.target, peer);
	if (!status)
		status = find_peer(&ping, peer);
	if (status) {
		ivs_peer_close(peer);
		return status;
	}
	signals_stop_peer(peer);
	if (ping.flood)
		progress_start("ringing");
	while (!result && (!ping.count || ping.sent < ping.count))
		result = ping_once(&ping, peer);
	progress_end();
	status = print_results(&ping, result);
	if (!ping.latency.n || (result && result != IVS_PEER_E_STOPPED))
		status = STATUS_FAILED;
	ivs_doorbell_free(ping.doorbell);
	signals_forget_peer();
	ivs_peer_close(peer);
	return status;
}

/* pong */

static int pong_option(void *context, int option, const char *value)
{
	struct pong *pong = context;

	switch (option) {
	case 'v':
		return parse_vector(value, &pong->vector);
	case 'q':
		pong->quiet = true;
		return 0;
	default:
		return target_option(&pong->target, option);
	}
}

static int pong_operand(void *context, char *value)
{
	struct pong *pong = context;

	if (!pong->target.text) {
		pong->target.text = value;
		return 0;
	}
	if (pong->peer_id != ANY_PEER)
		return USAGE_SURPLUS;
	return parse_peer(value, &pong->peer_id);
}

static int pong_parse(struct pong *pong, int argc, char **argv)
{
	static const char help[] =
		"usage: ivshmem pong ADDRESS [PEER] [OPTION]...\n"
		"\n"
		"Answers \"ivshmem ping\": whenever this peer is rung, rings PEER, or all other\n"
		"peers, until it is ended by Ctrl-C. A doorbell does not say which peer sent it.\n"
		"In a guest, PEER is needed unless the server runs with --roster.\n"
		"\n"
		"  -v, --vector V         vector to ring (that on which the doorbell has come, or "
		"0)\n"
		"  -q, --quiet            do not print the id of this peer\n" TARGET_HELP
		"\n" TARGET_ADDRESSES "\n"
		"Example: answer the peers of a server\n"
		"  ivshmem pong unix:/run/ivshmem/my-vms.sock\n";
	static const struct option options[] = {
		{"vector", required_argument, NULL, 'v'},
		{"quiet", no_argument, NULL, 'q'},
		TARGET_OPTIONS,
		{0},
	};
	static const struct usage usage = {help,	"v:q" TARGET_LETTERS, options,
					   pong_option, "see --help",	      pong_operand};

	return usage_parse(&usage, pong, argc, argv);
}

/* Ring the vector on which the doorbell came, or the first one if the peer has no such vector. */
static int answer_peer(const struct pong *pong, struct ivs_peer *peer, unsigned int id,
		       unsigned int vector)
{
	int result;

	if (pong->vector != SAME_VECTOR)
		return ivs_peer_ring(peer, id, pong->vector);
	result = ivs_peer_ring(peer, id, vector);
	return result == IVS_PEER_E_VECTOR && vector ? ivs_peer_ring(peer, id, 0) : result;
}

/* A peer that has left meanwhile, or has no vector, gets no answer. Return: 0, or as ringing. */
static int answer_if_there(const struct pong *pong, struct ivs_peer *peer, unsigned int id)
{
	int result = answer_peer(pong, peer, id, pong->rung_vector);

	return result == IVS_PEER_E_ABSENT || result == IVS_PEER_E_VECTOR ? 0 : result;
}

static int answer_doorbell(struct pong *pong, struct ivs_peer *peer, unsigned int vector)
{
	static unsigned int ids[IVS_ID_MAX + 1];
	unsigned int n = 1;
	int result = 0;

	pong->answered++;
	pong->rung_vector = vector;
	pong->rung_ns = ivs_clock_ns();
	ids[0] = pong->peer_id;
	if (pong->peer_id == ANY_PEER)
		n = ivs_peer_roster(peer, ids, IVS_ID_MAX + 1);
	for (unsigned int i = 0; i < n && !result; i++)
		result = answer_if_there(pong, peer, ids[i]);
	return result;
}

/* The doorbell of a peer that has just joined can arrive before the news that it has. */
static int answer_join(const struct pong *pong, struct ivs_peer *peer, unsigned int id)
{
	if (pong->peer_id != ANY_PEER || !pong->answered ||
	    ivs_clock_ns() - pong->rung_ns > JOIN_DELAY_NS)
		return 0;
	return answer_if_there(pong, peer, id);
}

/* Return: the result that has ended it. */
static int answer_all(struct pong *pong, struct ivs_peer *peer)
{
	struct ivs_event event;
	int result = 0;

	while (!result || result == -EINTR) {
		result = ivs_peer_next(peer, -1, &event);
		if (!result && event.type == IVS_EVENT_DOORBELL)
			result = answer_doorbell(pong, peer, event.vector);
		else if (!result && event.type == IVS_EVENT_JOIN)
			result = answer_join(pong, peer, event.id);
	}
	return result;
}

static int run_pong(int argc, char **argv)
{
	static struct pong pong = {.peer_id = ANY_PEER, .vector = SAME_VECTOR};
	struct ivs_peer *peer;
	const char *why;
	int result;
	int status = pong_parse(&pong, argc, argv);

	if (!status)
		status = target_open(&pong.target, true, &peer);
	if (status)
		return status < 0 ? 0 : status;
	status = check_caps(&pong.target, peer);
	why = pong.peer_id == ANY_PEER ? ivs_peer_cap_reason(peer, IVS_CAP_ROSTER) : NULL;
	if (!status && why)
		status = usage_failed("%s: it is not known which peers to answer (%s): add PEER",
				      pong.target.address, why);
	if (!status) {
		signals_stop_peer(peer);
		if (!pong.quiet)
			fprintf(stderr, "%s: answering as peer %d, which has %u vectors\n",
				usage_name(), ivs_peer_id(peer), ivs_peer_vectors(peer));
		result = answer_all(&pong, peer);
		if (!pong.quiet)
			fprintf(stderr, "%s: answered %" PRIu64 " doorbells\n", usage_name(),
				pong.answered);
		if (result != IVS_PEER_E_STOPPED)
			status = usage_failed("%s: %s", pong.target.address,
					      ivs_peer_strerror(result));
	}
	signals_forget_peer();
	ivs_peer_close(peer);
	return status;
}

const struct command command_ping = {"ping", "measure how long a doorbell and its answer take",
				     run_ping};
const struct command command_pong = {"pong", "ring back whenever this peer is rung", run_pong};
