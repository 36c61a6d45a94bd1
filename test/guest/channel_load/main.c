/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A peer of up to three that exchange numbered messages with each other, in both directions at
 * once, for tests between guests and host:
 *
 *   channel-load ADDRESS SECTION OWN LOAD... [then LOAD...]...
 *   channel-load bytes SEED LEN     write pseudorandom bytes to standard output
 *   channel-load echo PORT          send back what arrives over TCP, up to its end
 *
 * SECTION is a number, or "id". OWN is the peer's letter: a, b or h. A LOAD is
 * KIND:NAME:PEERS:COUNT: send COUNT messages to each of PEERS, and receive as many from each. The
 * loads between "then" run at the same time. KIND is
 *
 *   queue   a queue in each direction
 *   topic   a topic for all others, whose publisher waits for what they acknowledge
 *   flood   a topic whose publisher does not wait: messages are missed, and counted
 *   stream  a stream, whose bytes are records of varying length
 *
 * COUNT may be "endless". Such a load ends when the other sides do, and prints "ended KIND NAME".
 * Each load prints "running KIND NAME" when RUNNING_N messages have passed each way. A message that
 * is lost, doubled, out of order or damaged ends the program with status 1. At the end of a load,
 * the program prints the number of messages that went each way, and a digest of their bytes.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"

#define LOADS_MAX 8
#define RUNNING_N 1000
#define BATCH 16 /* messages in one direction, before others get their turn */

static const struct kind *const kinds[] = {&queue_kind, &stream_kind, &topic_kind, &flood_kind};
char own;
struct ivs_channels *channels;

/* A publisher may close its topic once everything was acknowledged on both sides. */
static bool may_end(const struct load *load, const struct flow *flow)
{
	return load->count == UINT64_MAX ||
	       (flow->subscriber && flow->next == load->count && flow->acked == 1 + load->count);
}

/* Return: whether there may be more. */
static bool handle(struct load *load, const struct flow *flow, int result, bool *ended)
{
	if (result == IVS_CHANNEL_E_ENDED && may_end(load, flow))
		*ended = true;
	else if (result && result != IVS_CHANNEL_E_TIMEOUT)
		fail(load, "cannot continue", result);
	return !result;
}

/*
 * Return: whether something was sent or received. From a topic, acknowledgements for the third peer
 * are received until this load is done.
 */
static bool flow_step(struct load *load, struct flow *flow)
{
	bool some = false;

	for (int i = 0; i < BATCH && !flow->out_ended && flow->out.n < load->count; i++) {
		if (!handle(load, flow, load->kind->send(load, flow), &flow->out_ended))
			break;
		some = true;
	}
	for (int i = 0;
	     i < BATCH && !flow->in_ended && (flow->subscriber || flow->in.n < load->count); i++) {
		if (!handle(load, flow, load->kind->receive(load, flow), &flow->in_ended))
			break;
		some = true;
	}
	return some;
}

static bool has_run(const struct load *load)
{
	uint64_t n = load->count < RUNNING_N ? load->count : RUNNING_N;

	for (unsigned int i = 0; i < load->flows_n; i++) {
		if (load->flows[i].out.n < n || load->flows[i].in.n < n)
			return false;
	}
	return true;
}

/* Return: whether all flows are done, or have ended. */
static bool is_done(struct load *load)
{
	bool done = true;
	int result;

	for (unsigned int i = 0; i < load->flows_n; i++) {
		struct flow *flow = &load->flows[i];

		if (load->count == UINT64_MAX) {
			done = done && flow->in_ended && (flow->out_ended || flow->subscriber);
		} else if (flow->out.n < load->count) {
			done = false;
		} else {
			result = load->kind->settle(load, flow);
			if (result && result != IVS_CHANNEL_E_TIMEOUT)
				fail(load, "cannot end", result);
			done = done && !result;
		}
	}
	return done;
}

static void load_end(struct load *load)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	for (unsigned int i = 0; i < load->flows_n; i++) {
		struct flow *flow = &load->flows[i];

		printf("%s %s to %c: %lu %016lx\n", load->kind->name, load->name, flow->peer,
		       flow->out.n, flow->out.digest);
		printf("%s %s from %c: %lu %016lx missed %lu\n", load->kind->name, load->name,
		       flow->peer, flow->in.n, flow->in.digest,
		       flow->subscriber ? ivs_topic_missed(flow->subscriber) : 0);
		load->kind->close(load, flow);
	}
	printf("%s %s %s in %ld ms\n", load->count == UINT64_MAX ? "ended" : "done",
	       load->kind->name, load->name,
	       (now.tv_sec - load->began.tv_sec) * 1000 +
		       (now.tv_nsec - load->began.tv_nsec) / 1000000);
	load->done = true;
}

/* Return: whether something was sent or received, or the load has ended. */
static bool load_step(struct load *load)
{
	bool some = false;

	for (unsigned int i = 0; i < load->flows_n; i++)
		some = flow_step(load, &load->flows[i]) || some;
	if (!load->ran && has_run(load)) {
		printf("running %s %s\n", load->kind->name, load->name);
		load->ran = true;
	}
	if (!is_done(load))
		return some;
	load_end(load);
	return true;
}

static void load_open(struct load *load, char *text)
{
	const char *kind = strtok(text, ":");
	const char *name = strtok(NULL, ":");
	const char *peers = strtok(NULL, ":");
	const char *count = strtok(NULL, ":");

	*load = (struct load){0};
	for (size_t i = 0; kind && i < sizeof(kinds) / sizeof(*kinds); i++) {
		if (!strcmp(kind, kinds[i]->name))
			load->kind = kinds[i];
	}
	if (!load->kind || !count || strlen(peers) >= LETTERS_N ||
	    strspn(peers, LETTERS) != strlen(peers)) {
		fprintf(stderr, "channel-load: invalid load\n");
		exit(2);
	}
	snprintf(load->name, sizeof(load->name), "%s", name);
	load->count = strcmp(count, "endless") ? strtoull(count, NULL, 10) : UINT64_MAX;
	clock_gettime(CLOCK_MONOTONIC, &load->began);
	for (; *peers; peers++) {
		struct flow *flow = &load->flows[load->flows_n++];

		*flow = (struct flow){.peer = *peers};
		flow->out.digest = flow->in.digest = DIGEST_START;
		load->kind->open(load, flow);
	}
}

/* Run loads at the same time. */
static void run(char **texts, int n)
{
	struct load loads[LOADS_MAX];
	int left = n;
	bool some;
	int result;

	if (n > LOADS_MAX)
		exit(2);
	for (int i = 0; i < n; i++)
		load_open(&loads[i], texts[i]);
	while (left) {
		some = false;
		left = 0;
		for (int i = 0; i < n; i++) {
			some = (!loads[i].done && load_step(&loads[i])) || some;
			left += !loads[i].done;
		}
		result = some ? 0 : ivs_channels_wait(channels, -1);
		if (result)
			fail(&loads[0], "cannot wait", result);
	}
}

static int write_bytes(uint64_t seed, uint64_t len)
{
	static uint64_t block[8192];

	for (uint64_t at = 0; at < len; at += sizeof(block)) {
		size_t part = len - at < sizeof(block) ? (size_t)(len - at) : sizeof(block);

		for (size_t i = 0; i < part; i += 8) {
			seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
			block[i / 8] = seed ^ (seed >> 29);
		}
		if (fwrite(block, 1, part, stdout) != part)
			return 1;
	}
	return fflush(stdout) != 0;
}

int main(int argc, char **argv)
{
	const struct ivs_peer_options wanted = {.vectors_n = 1}; /* opening waits for no others */
	struct ivs_channels_options opts = IVS_CHANNELS_OPTIONS_INIT;
	struct ivs_peer *peer;
	struct ivs_error err;
	int first = 4;
	bool has_id;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc == 4 && !strcmp(argv[1], "bytes"))
		return write_bytes(strtoull(argv[2], NULL, 10), strtoull(argv[3], NULL, 10));
	if (argc == 3 && !strcmp(argv[1], "echo"))
		return echo_run((uint16_t)strtoul(argv[2], NULL, 10));
	if (argc < 5 || !strchr(LETTERS, argv[3][0]))
		return 2;
	has_id = !strcmp(argv[2], "id");
	if (!has_id)
		opts.section = (uint32_t)strtoul(argv[2], NULL, 10);
	own = argv[3][0];
	if (ivs_peer_open(argv[1], strncmp(argv[1], "unix:", 5) ? NULL : &wanted, &peer, &err) ||
	    ivs_channels_open(peer, &opts, &channels, &err)) {
		fprintf(stderr, "channel-load: %s\n", err.text);
		return 1;
	}
	printf("section %u through %s\n", ivs_channels_section(channels), ivs_peer_transport(peer));
	for (int i = first; i <= argc; i++) {
		if (i < argc && strcmp(argv[i], "then") != 0)
			continue;
		run(argv + first, i - first);
		first = i + 1;
	}
	ivs_channels_close(channels);
	ivs_peer_close(peer);
	return 0;
}
