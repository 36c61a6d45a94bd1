/* SPDX-License-Identifier: BSD-3-Clause */
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "meet.h"

#define PAUSE_NS 2000000 /* pause between two reads of another peer's cell */
#define MIB (1 << 20)

bool meet_fail(const char *format, ...)
{
	va_list args;

	fputs("meet: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	return false;
}

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void pause_briefly(void)
{
	nanosleep(&(struct timespec){.tv_nsec = PAUSE_NS}, NULL);
}

/* Divide the region into areas. Their number is a power of two, so that they are aligned. */
static bool meet_lay_out(struct meet *meet)
{
	unsigned int areas_n = 1;

	while (areas_n < meet->peers_n + 1)
		areas_n *= 2;
	meet->memory = ivs_peer_memory(meet->peer, &meet->memory_len);
	meet->area_len = ivs_peer_usable_len(meet->peer) / areas_n;
	if (meet->area_len < PEERS_MAX * sizeof(struct cell))
		return meet_fail("a region of %zu bytes is too small for %u peers; use 1M or more",
				 meet->memory_len, meet->peers_n);
	meet->cells = (struct cell *)meet->memory;
	return true;
}

bool meet_open(struct meet *meet, const char *address)
{
	struct ivs_peer_options opts = {
		.vectors_n = meet->vectors_n,
		.timeout_ms = (unsigned int)meet->timeout_ms,
	};
	struct ivs_error err;
	int id;

	if (ivs_peer_open(address, &opts, &meet->peer, &err))
		return meet_fail("%s", err.text);
	id = ivs_peer_id(meet->peer);
	if (id < 0)
		return meet_fail("%s", ivs_peer_cap_reason(meet->peer, IVS_CAP_ID));
	if (!(ivs_peer_caps(meet->peer) & IVS_CAP_WAIT))
		return meet_fail("%s", ivs_peer_cap_reason(meet->peer, IVS_CAP_WAIT));
	if ((unsigned int)id >= meet->peers_n)
		return meet_fail(
			"this peer's id is %d, but %u peers must have the ids 0 to %u: start a "
			"new server",
			id, meet->peers_n, meet->peers_n - 1);
	meet->id = (unsigned int)id;
	if (!meet_lay_out(meet))
		return false;
	printf("meet: I am peer %u of %u through %s: %u vectors, region %zu MiB\n", meet->id,
	       meet->peers_n, ivs_peer_transport(meet->peer), ivs_peer_vectors(meet->peer),
	       meet->memory_len / MIB);
	return true;
}

/* Copy a name that another peer wrote, then replace unsafe characters in the copy. */
static void cell_take_name(char out[NAME_LEN], const struct cell *cell)
{
	memcpy(out, cell->name, NAME_LEN);
	out[NAME_LEN - 1] = 0;
	for (char *c = out; *c; c++) {
		if (!isalnum((unsigned char)*c) && *c != '-' && *c != '.')
			*c = '?';
	}
}

/* Return: whether @other has joined, that is, has written a nonce and seen this peer's nonce. */
static bool meet_look_for(struct meet *meet, unsigned int other)
{
	struct cell *mine = &meet->cells[meet->id];
	struct cell *theirs = &meet->cells[other];
	uint64_t nonce = theirs->nonce;

	if (!nonce)
		return false;
	mine->saw[other] = nonce;
	if (theirs->saw[meet->id] != mine->nonce)
		return false;
	meet->nonces[other] = nonce;
	cell_take_name(meet->names[other], theirs);
	return true;
}

bool meet_others(struct meet *meet)
{
	struct cell *mine = &meet->cells[meet->id];
	int64_t deadline = now_ms() + meet->timeout_ms;
	uint64_t nonce = 0;

	mine->nonce = 0;
	mine->stage = mine->ring = mine->pairs_done = mine->ready = 0;
	for (unsigned int id = 0; id < PEERS_MAX; id++)
		mine->saw[id] = mine->heard[id] = 0;
	memset(mine->name, 0, NAME_LEN);
	memcpy(mine->name, meet->name, strlen(meet->name));
	memcpy(meet->names[meet->id], mine->name, NAME_LEN);
	while (!nonce && getrandom(&nonce, sizeof(nonce), 0) == sizeof(nonce))
		;
	mine->nonce = meet->nonces[meet->id] = nonce;

	for (unsigned int other = 0; other < meet->peers_n; other++) {
		while (other != meet->id && !meet_look_for(meet, other)) {
			if (now_ms() > deadline)
				return meet_fail("peer %u did not appear", other);
			pause_briefly();
			/*
			 * Look at all peers, because each one waits until this peer has seen its
			 * nonce.
			 */
			for (unsigned int id = 0; id < meet->peers_n; id++)
				if (id != meet->id)
					meet_look_for(meet, id);
		}
		if (other != meet->id)
			printf("meet: met %u %s\n", other, meet->names[other]);
	}
	return true;
}

void meet_enter(struct meet *meet, enum stage stage)
{
	static const char *const names[] = {"none", "opened", "met",	  "written",
					    "read", "rung",   "measured", "done"};

	printf("meet: stage %s\n", names[stage]);
	if (stage > STAGE_OPENED)
		meet->cells[meet->id].stage = stage;
}

bool meet_await_value(struct meet *meet, const _Atomic uint64_t *value, uint64_t at_least,
		      const char *what)
{
	int64_t deadline = now_ms() + meet->timeout_ms;

	while (*value < at_least) {
		if (now_ms() > deadline)
			return meet_fail("gave up waiting until %s", what);
		pause_briefly();
	}
	return true;
}

bool meet_await(struct meet *meet, enum stage stage)
{
	char what[96];

	for (unsigned int id = 0; id < meet->peers_n; id++) {
		snprintf(what, sizeof(what), "peer %u %s reaches stage %d", id, meet->names[id],
			 stage);
		if (!meet_await_value(meet, &meet->cells[id].stage, stage, what))
			return false;
	}
	return true;
}
