/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Run every sequence of events ("history") of a small roster: at most three peers with one or two
 * vectors each, quiet or not, and these kinds of event: a client joins, takes a vacant seat,
 * leaves, or is sent one message; a vacant seat is given up.
 *
 * A roster cannot be copied, so each history is replayed from its beginning. At the end of every
 * history all clients read all messages, and must then know exactly the connected peers.
 *
 * Run all histories up to a small length, and then longer ones breadth first, skipping those that
 * end in a state that has already been reached. As the roster's state is private, two states count
 * as the same if they have the same peers, if each client knows the same peers, and if reading all
 * messages yields the same messages.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "support/c/on_crash.h"
#include "support/c/roster_oracle.h"

#define VECTORS 2
#define DEPTH_MAX 32
/*
 * While clients still know peers that have left, newcomers get ids beyond the maximum number of
 * peers. An event in struct path has four bits for an id.
 */
#define IDS 15

enum op_kind {
	OP_JOIN = 0x00,	      /* a join; low bits: the number of vectors */
	OP_JOIN_QUIET = 0x10, /* a join of a quiet client */
	OP_LEAVE = 0x20,      /* a leave; low bits: the id minus the number of fillers */
	OP_TELL = 0x30,	      /* a message is sent; low bits as for OP_LEAVE, here and below */
	OP_TAKE = 0x40,	      /* a client takes a seat */
	OP_TAKE_QUIET = 0x50, /* a quiet client takes a seat */
	OP_GIVE_UP = 0x60,    /* a seat is given up */
};

#define OPS_MAX (2 * VECTORS + 3 * IDS)

struct path {
	uint8_t ops[DEPTH_MAX];
	unsigned int len;
};

struct paths {
	struct path *at;
	size_t n, room;
};

/* A hash table of the hashes of states that have been reached; 0 marks a free entry. */
struct seen {
	uint64_t *at;
	size_t n, room;
};

struct run {
	struct oracle *o;
	unsigned int places, fillers;
	struct seen seen;
	unsigned long histories;
};

static void *must(void *pointer)
{
	if (!pointer)
		abort();
	return pointer;
}

static void paths_add(struct paths *paths, const struct path *path)
{
	if (paths->n == paths->room) {
		paths->room = paths->room ? 2 * paths->room : 1024;
		paths->at = must(realloc(paths->at, paths->room * sizeof(paths->at[0])));
	}
	paths->at[paths->n++] = *path;
}

static bool seen_put(struct seen *seen, uint64_t hash)
{
	size_t i = hash % seen->room;

	while (seen->at[i] != 0 && seen->at[i] != hash)
		i = (i + 1) % seen->room;
	if (seen->at[i] == hash)
		return false;
	seen->at[i] = hash;
	seen->n++;
	return true;
}

/* Add @hash to the set. Return: true if it was not in the set. */
static bool seen_add(struct seen *seen, uint64_t hash)
{
	if (2 * seen->n >= seen->room) {
		struct seen bigger = {.room = seen->room ? 2 * seen->room : 1 << 16};

		bigger.at = must(calloc(bigger.room, sizeof(bigger.at[0])));
		for (size_t i = 0; i < seen->room; i++) {
			if (seen->at[i] != 0)
				seen_put(&bigger, seen->at[i]);
		}
		free(seen->at);
		*seen = bigger;
	}
	return seen_put(seen, hash ? hash : 1);
}

static void mix(uint64_t *hash, uint64_t value)
{
	uint64_t z = *hash ^ value;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	*hash = (z ^ (z >> 31)) + 0x9e3779b97f4a7c15u;
}

static bool apply(struct oracle *o, uint8_t op)
{
	unsigned int arg = op & 0x0f;

	switch ((enum op_kind)(op & 0xf0)) {
	case OP_JOIN:
		return oracle_join(o, arg, false);
	case OP_JOIN_QUIET:
		return oracle_join(o, arg, true);
	case OP_TAKE:
		return oracle_take(o, o->fillers + arg, false);
	case OP_TAKE_QUIET:
		return oracle_take(o, o->fillers + arg, true);
	case OP_GIVE_UP:
		return oracle_give_up(o, o->fillers + arg);
	case OP_LEAVE:
		return oracle_leave(o, o->fillers + arg);
	case OP_TELL:
		return oracle_tell(o, o->fillers + arg, 1, 1);
	}
	abort();
}

/* The current history, which say_path() prints after a crash. */
static const struct run *now_run;
static const struct path *now_path;

static void say_path(void)
{
	static const char *const kinds[] = {
		[OP_JOIN >> 4] = "join",
		[OP_JOIN_QUIET >> 4] = "quiet join",
		[OP_LEAVE >> 4] = "leaves",
		[OP_TELL >> 4] = "is sent one message",
		[OP_TAKE >> 4] = "is taken",
		[OP_TAKE_QUIET >> 4] = "is taken by a quiet client",
		[OP_GIVE_UP >> 4] = "is given up",
	};

	if (!now_path)
		return;
	fprintf(stderr, "%u fillers, %u places", now_run->fillers, now_run->places);
	for (unsigned int i = 0; i < now_path->len; i++) {
		uint8_t op = now_path->ops[i];
		unsigned int arg = op & 0x0f;

		if (op < OP_LEAVE)
			fprintf(stderr, ", %s of %u vectors", kinds[op >> 4], arg);
		else
			fprintf(stderr, ", %u %s", now_run->fillers + arg, kinds[op >> 4]);
	}
	fprintf(stderr, "; then all clients read everything\n");
}

static bool replay(const struct run *run, const struct path *path)
{
	struct oracle *o = run->o;

	now_run = run;
	now_path = path;
	oracle_begin(o, run->fillers + run->places, false);
	if (!oracle_fill(o, run->fillers))
		return false;
	for (unsigned int i = 0; i < path->len; i++) {
		if (!apply(o, path->ops[i]))
			return false;
	}
	return true;
}

/* Store the events that are possible in the current state. Return: their number. */
static unsigned int ops_now(const struct oracle *o, uint8_t ops[OPS_MAX])
{
	unsigned int n = 0;

	if (o->ids_end > o->fillers + IDS)
		abort();
	if (o->peers_n < o->peers_max) {
		for (unsigned int v = 1; v <= VECTORS; v++) {
			ops[n++] = (uint8_t)(OP_JOIN | v);
			ops[n++] = (uint8_t)(OP_JOIN_QUIET | v);
		}
	}
	for (unsigned int id = o->fillers; id < o->ids_end; id++) {
		if (o->vacant[id] && o->peers_n < o->peers_max) {
			ops[n++] = (uint8_t)(OP_TAKE | (id - o->fillers));
			ops[n++] = (uint8_t)(OP_TAKE_QUIET | (id - o->fillers));
		}
		if (o->vacant[id])
			ops[n++] = (uint8_t)(OP_GIVE_UP | (id - o->fillers));
		if (!o->present[id])
			continue;
		ops[n++] = (uint8_t)(OP_LEAVE | (id - o->fillers));
		if (oracle_pending(o, id))
			ops[n++] = (uint8_t)(OP_TELL | (id - o->fillers));
	}
	return n;
}

static void mix_world(const struct oracle *o, uint64_t *hash)
{
	mix(hash, o->ids_end);
	for (unsigned int c = o->fillers; c < o->ids_end; c++) {
		mix(hash, o->present[c] | o->vacant[c] << 1);
		mix(hash, o->vacant[c] ? o->vectors[c] : 0);
		if (!o->present[c])
			continue;
		mix(hash, (uint64_t)o->quiet[c] << 16 | o->vectors[c] << 8 | o->view[c].stage);
		for (unsigned int p = o->fillers; p < o->ids_end; p++) {
			bool current = o->view[c].owner[p] == o->owner[p];

			mix(hash, (unsigned int)o->view[c].heard[p] << 2 |
					  (o->view[c].heard[p] && current) << 1 |
					  o->view[c].awaited[p]);
		}
	}
}

static void mix_message(const struct ivs_v0_message *msg, uint64_t *hash)
{
	mix(hash, (uint64_t)msg->type << 48 | (uint64_t)msg->id << 24 | msg->vector);
}

/*
 * Set *@hash to a hash of the current state, as far as it can be observed. Let all clients read all
 * messages, and check the messages.
 */
static bool finish(struct oracle *o, uint64_t *hash)
{
	size_t had[IDS];

	*hash = 0;
	mix_world(o, hash);
	for (unsigned int id = o->fillers; id < o->ids_end; id++) {
		struct ivs_v0_message msgs[8];
		unsigned int n = o->present[id] ? ivs_roster_due(o->roster, id, msgs, 8) : 0;

		mix(hash, n);
		for (unsigned int i = 0; i < n; i++)
			mix_message(&msgs[i], hash);
		had[id - o->fillers] = o->view[id].list_n;
	}
	/* Request many messages and send none of them: each must be valid nevertheless. */
	for (unsigned int id = o->fillers; id < o->ids_end; id++) {
		if (o->present[id] && !oracle_tell(o, id, 32, 0))
			return false;
	}
	if (!oracle_drain(o, 1))
		return false;
	for (unsigned int id = o->fillers; id < o->ids_end; id++) {
		for (size_t i = had[id - o->fillers]; o->present[id] && i < o->view[id].list_n; i++)
			mix_message(&o->view[id].list[i], hash);
	}
	return true;
}

/* Run @path and every history that begins with it, up to length @depth. */
static bool every_history(struct run *run, struct path *path, unsigned int depth)
{
	uint8_t ops[OPS_MAX];
	unsigned int ops_n;
	uint64_t hash;

	if (!replay(run, path))
		return false;
	ops_n = ops_now(run->o, ops);
	if (!finish(run->o, &hash))
		return false;
	run->histories++;
	if (path->len == depth)
		return true;
	path->len++;
	for (unsigned int i = 0; i < ops_n; i++) {
		path->ops[path->len - 1] = ops[i];
		if (!every_history(run, path, depth))
			return false;
	}
	path->len--;
	return true;
}

/* Extend each history of @from by one event. Store those that reach a new state in @to. */
static bool next_level(struct run *run, const struct paths *from, struct paths *to,
		       struct path *failed)
{
	for (size_t i = 0; i < from->n; i++) {
		uint8_t ops[OPS_MAX];
		unsigned int ops_n;

		*failed = from->at[i];
		if (!replay(run, failed))
			return false;
		ops_n = ops_now(run->o, ops);
		failed->len++;
		for (unsigned int k = 0; k < ops_n; k++) {
			uint64_t hash;

			failed->ops[failed->len - 1] = ops[k];
			if (!replay(run, failed) || !finish(run->o, &hash))
				return false;
			run->histories++;
			if (seen_add(&run->seen, hash))
				paths_add(to, failed);
		}
	}
	return true;
}

static bool every_state(struct run *run, unsigned int depth, struct path *failed)
{
	struct paths from = {0}, to = {0};
	bool good = true;

	paths_add(&from, &(struct path){.len = 0});
	for (unsigned int d = 0; d < depth && good && from.n > 0; d++) {
		struct paths empty = from;

		good = next_level(run, &from, &to, failed);
		from = to;
		to = empty;
		to.n = 0;
	}
	free(from.at);
	free(to.at);
	return good;
}

/* Run a failed history again and print every event to stdout. */
static void show(const struct run *run, const struct path *path)
{
	uint64_t hash;

	run->o->trace = stdout;
	if (replay(run, path))
		(void)!finish(run->o, &hash);
	fprintf(stderr, "%s\n", run->o->wrong);
	say_path();
}

static unsigned int number_of(const char *text, unsigned long most)
{
	char *end;
	unsigned long n;

	errno = 0;
	n = strtoul(text, &end, 10);
	if (errno || end == text || *end != '\0' || n > most) {
		fprintf(stderr, "%s: not a number up to %lu\n", text, most);
		exit(2);
	}
	return (unsigned int)n;
}

/**
 * struct world - the histories to run
 * @all:     run every history up to this length
 * @deep:    up to this length, run the histories that reach new states
 * @places:  maximum number of peers at a time, without fillers
 * @fillers: number of silent peers, which have the lowest ids
 */
struct world {
	unsigned int all, deep, places, fillers;
};

static bool explore(const struct world *world)
{
	struct run run = {.o = oracle_new(), .places = world->places, .fillers = world->fillers};
	struct path path = {.len = 0};
	unsigned long all_n;
	bool good = every_history(&run, &path, world->all);

	all_n = run.histories;
	if (good)
		good = every_state(&run, world->deep, &path);
	if (!good)
		show(&run, &path);
	printf("%u places from id %u: all %lu histories of up to %u events; %zu states by %lu "
	       "histories of up to %u events; %lu messages compared: %s\n",
	       world->places, world->fillers, all_n, world->all, run.seen.n, run.histories - all_n,
	       world->deep, run.o->messages, good ? "all right" : "WRONG");
	now_path = NULL;
	free(run.seen.at);
	oracle_free(run.o);
	return good;
}

int main(int argc, char **argv)
{
	/* In the second world ids are around 64, where the next word of a bitmap starts. */
	static const struct world worlds[] = {{7, 17, 3, 0}, {5, 13, 3, 62}};
	bool good = true;

	on_crash(say_path);
	if (argc == 5) {
		struct world world = {number_of(argv[1], DEPTH_MAX), number_of(argv[2], DEPTH_MAX),
				      number_of(argv[3], 4), number_of(argv[4], 512)};

		return explore(&world) ? 0 : 1;
	}
	if (argc != 1) {
		fprintf(stderr, "usage: %s [DEPTH-OF-ALL DEPTH-OF-NEW-STATES PLACES FILLERS]\n",
			argv[0]);
		return 2;
	}
	for (size_t i = 0; i < sizeof(worlds) / sizeof(worlds[0]); i++)
		good = explore(&worlds[i]) && good;
	return good ? 0 : 1;
}
