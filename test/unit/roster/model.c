/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Run random histories: clients join and leave, read some messages, stop reading and resume
 * reading. The naive model in support/c/roster_oracle.h checks every message. At the end all
 * clients read all messages, and must then know exactly the connected peers. With --resume, a new
 * roster is occasionally resumed from a copy of the old one's memory.
 *
 * A history depends only on the seed and its number, so it can be repeated alone. If one fails, the
 * program searches for its shortest beginning that fails.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "support/c/on_crash.h"
#include "support/c/roster_oracle.h"

/*
 * Every BIG_EVERY-th history is big, so that its ids span several words of a bitmap. In half of the
 * big ones most peers have no vectors, so that the ids of the announced peers are far apart.
 */
#define BIG_EVERY 400
#define BIG_CLIENTS 200
#define BIG_EVENTS 1200
/*
 * Every FILLED_EVERY-th history starts with peers that only occupy ids ("fillers"), so that the ids
 * of the others are around 64, where the next word of a bitmap starts and tables grow.
 */
#define FILLED_EVERY 25
/* Every TWIN_EVERY-th history is also run on a second roster, the twin in struct oracle. */
#define TWIN_EVERY 8

struct plan {
	unsigned long histories, events, clients, seed;
	unsigned long resume; /* chance in 1000, at each event, that the roster is resumed */
	long only;	      /* if not -1: run only this history, and print its events */
	long prefix;	      /* if not -1: run only this many events, then let all clients read */
};

/**
 * struct progress - the current history, so that it can be repeated, and totals
 * @history: number of the history
 * @events:  events of this history, including the current one
 * @events_all: events of all histories
 * @most:    maximum number of clients at a time
 */
struct progress {
	unsigned long history, events, events_all;
	unsigned int most;
};

static struct plan plan = {.histories = 100000,
			   .events = 60,
			   .clients = 12,
			   .seed = 20240607,
			   .only = -1,
			   .prefix = -1};
static struct progress now;

/* splitmix64 */
static uint64_t rng_next(uint64_t *rng)
{
	uint64_t z = (*rng += 0x9e3779b97f4a7c15u);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

/* Return: a random number from 0 to @n - 1. */
static unsigned int rng_below(uint64_t *rng, unsigned int n)
{
	return (unsigned int)((rng_next(rng) >> 32) * n >> 32);
}

/* Return: a random peer that is not a filler, or ORACLE_IDS if none is connected. */
static unsigned int pick(const struct oracle *o, uint64_t *rng)
{
	unsigned int nth;

	if (o->peers_n == o->fillers)
		return ORACLE_IDS;
	nth = rng_below(rng, o->peers_n - o->fillers);
	for (unsigned int id = o->fillers;; id++) {
		if (o->present[id] && nth-- == 0)
			return id;
	}
}

/**
 * struct mood - probabilities of events
 * @join, @leave: chances in 100; otherwise a client is sent messages, or stops or resumes reading
 * @vectors_max:  maximum number of vectors of a peer
 * @silent:       chance in 100 that a peer has no vectors
 * @quiet:        chance in 100 that a peer is never sent a leave
 * @take:         chance in 100 that a newcomer takes a vacant seat, if there is any
 * @refuses:      by id: the client does not read, so its socket is full
 */
struct mood {
	unsigned int join, leave, vectors_max, silent, quiet, take;
	bool refuses[ORACLE_IDS];
};

static bool tell(struct oracle *o, uint64_t *rng, unsigned int id)
{
	static const unsigned int asks[] = {1, 1, 2, 3, 8, 32, 32, ORACLE_ASK};
	unsigned int ask = asks[rng_below(rng, sizeof(asks) / sizeof(asks[0]))];
	/* In half of the cases the socket may have room for only some messages, or for none. */
	unsigned int take = rng_below(rng, 2) ? ask : rng_below(rng, ask + 1);

	return oracle_tell(o, id, ask, take);
}

/* In half of the cases a message to a client is being sent when the old process dies. */
static bool resume(struct oracle *o, uint64_t *rng)
{
	return oracle_resume(o, rng_below(rng, 2) ? pick(o, rng) : ORACLE_IDS);
}

/* Return: a vacant seat, or ORACLE_IDS if there is none. */
static unsigned int pick_vacant(const struct oracle *o, uint64_t *rng)
{
	unsigned int n = 0;

	for (unsigned int id = 0; id < o->ids_end; id++)
		n += o->vacant[id];
	if (!n)
		return ORACLE_IDS;
	n = rng_below(rng, n);
	for (unsigned int id = 0;; id++) {
		if (o->vacant[id] && n-- == 0)
			return id;
	}
}

static bool join(struct oracle *o, uint64_t *rng, const struct mood *mood)
{
	unsigned int seat = pick_vacant(o, rng);
	bool quiet = rng_below(rng, 100) < mood->quiet;

	if (seat != ORACLE_IDS && rng_below(rng, 100) < mood->take)
		return oracle_take(o, seat, quiet);
	return oracle_join(
		o, rng_below(rng, 100) < mood->silent ? 0 : rng_below(rng, mood->vectors_max + 1),
		quiet);
}

static bool event(struct oracle *o, uint64_t *rng, struct mood *mood)
{
	unsigned int chance = rng_below(rng, 100), id = pick(o, rng);

	if (chance < mood->join || id == ORACLE_IDS)
		return join(o, rng, mood);
	if (chance < mood->join + mood->leave)
		return oracle_leave(o, id);
	if (chance >= 98 && pick_vacant(o, rng) != ORACLE_IDS)
		return oracle_give_up(o, pick_vacant(o, rng));
	if (chance >= 95) {
		mood->refuses[id] = !mood->refuses[id];
		return true;
	}
	return mood->refuses[id] || tell(o, rng, id);
}

/* Choose the ids whose clients do not read. Ids that are not in use yet can be among them. */
static void change_readers(uint64_t *rng, struct mood *mood)
{
	static const unsigned int parts[] = {0, 10, 50, 90, 100};
	unsigned int part = parts[rng_below(rng, sizeof(parts) / sizeof(parts[0]))];

	for (unsigned int id = 0; id < ORACLE_IDS; id++)
		mood->refuses[id] = rng_below(rng, 100) < part;
}

/* Choose new probabilities, and sometimes other clients that do not read. */
static void change_mood(uint64_t *rng, struct mood *mood)
{
	mood->join = 5 + rng_below(rng, 40);
	mood->leave = 2 + rng_below(rng, 30);
	mood->take = rng_below(rng, 101);
	if (rng_below(rng, 4) == 0)
		change_readers(rng, mood);
}

static bool history(struct oracle *o, const struct plan *p, unsigned long number)
{
	static const unsigned int quiets[] = {0, 20, 50, 90, 100};
	uint64_t rng = p->seed * 0x9e3779b97f4a7c15u ^ number * 0xd1342543de82ef95u;
	bool big = number % BIG_EVERY == BIG_EVERY - 1;
	unsigned int fillers = 0, room, crowd;
	unsigned long events = big ? BIG_EVENTS : p->events;
	struct mood mood = {.vectors_max = big ? 2 : 5};

	room = big ? 65 + rng_below(&rng, BIG_CLIENTS - 64)
		   : 1 + rng_below(&rng, (unsigned int)p->clients);
	if (big && rng_below(&rng, 2))
		mood.silent = 90;
	mood.quiet = quiets[rng_below(&rng, sizeof(quiets) / sizeof(quiets[0]))];
	if (!big && number % FILLED_EVERY == 0)
		fillers = 64 - rng_below(&rng, 12);
	oracle_begin(o, fillers + room, number % TWIN_EVERY == 0);
	if (!oracle_fill(o, fillers))
		return false;
	/*
	 * Start half of the histories with many joins; otherwise rosters would rarely become full.
	 */
	crowd = big ? BIG_CLIENTS : rng_below(&rng, 2) ? room : 0;
	if (p->prefix >= 0 && (unsigned long)p->prefix < events)
		events = (unsigned long)p->prefix;
	for (now.events = 0; now.events < events;) {
		if (now.events % 20 == 0)
			change_mood(&rng, &mood);
		if (now.events < crowd) {
			mood.join = 80;
			mood.leave = 2;
		}
		now.events++;
		if (!event(o, &rng, &mood))
			return false;
		if (p->resume && rng_below(&rng, 1000) < p->resume && !resume(o, &rng))
			return false;
		if (o->peers_n - fillers > now.most)
			now.most = o->peers_n - fillers;
	}
	return oracle_drain(o, 1 + rng_below(&rng, ORACLE_ASK));
}

static unsigned long number_of(const char *text)
{
	char *end;
	unsigned long n;

	errno = 0;
	n = strtoul(text, &end, 10);
	if (errno || end == text || *end != '\0') {
		fprintf(stderr, "%s: not a number\n", text);
		exit(2);
	}
	return n;
}

static void arguments(struct plan *p, int argc, char **argv)
{
	for (int i = 1; i < argc; i += 2) {
		unsigned long n = i + 1 < argc ? number_of(argv[i + 1]) : 0;

		if (i + 1 < argc && strcmp(argv[i], "--histories") == 0)
			p->histories = n;
		else if (i + 1 < argc && strcmp(argv[i], "--events") == 0)
			p->events = n;
		else if (i + 1 < argc && strcmp(argv[i], "--clients") == 0 && n >= 1 && n <= 200)
			p->clients = n;
		else if (i + 1 < argc && strcmp(argv[i], "--resume") == 0)
			p->resume = n;
		else if (i + 1 < argc && strcmp(argv[i], "--seed") == 0)
			p->seed = n;
		else if (i + 1 < argc && strcmp(argv[i], "--history") == 0)
			p->only = (long)n;
		else if (i + 1 < argc && strcmp(argv[i], "--prefix") == 0)
			p->prefix = (long)n;
		else {
			fprintf(stderr,
				"usage: %s [--histories N] [--events N] [--clients 1..200] "
				"[--seed S] [--resume 0..1000] [--history N [--prefix N]]\n",
				argv[0]);
			exit(2);
		}
	}
}

static void say_how_to_repeat(void)
{
	fprintf(stderr,
		"history %lu; again, with every event: --seed %lu --events %lu --clients %lu "
		"--resume %lu --history %lu --prefix %lu\n",
		now.history, plan.seed, plan.events, plan.clients, plan.resume, now.history,
		now.events);
}

/* Search for the shortest beginning of the failed history that also fails. It may end before the
 * event that failed, because all clients read at its end. */
static void shorten(struct oracle *o)
{
	unsigned long failed_at = now.events;
	FILE *trace = o->trace;

	o->trace = NULL;
	for (plan.prefix = 0; (unsigned long)plan.prefix < failed_at; plan.prefix++) {
		if (!history(o, &plan, now.history))
			break;
	}
	if ((unsigned long)plan.prefix == failed_at && history(o, &plan, now.history))
		fprintf(stderr, "the same history does not fail when it is repeated\n");
	o->trace = trace;
}

static bool run(struct oracle *o)
{
	unsigned long to = plan.histories;

	if (plan.only >= 0) {
		now.history = (unsigned long)plan.only;
		to = now.history + 1;
		o->trace = stdout;
		setvbuf(stdout, NULL, _IOLBF, 0); /* print each line immediately, before a crash */
	}
	for (; now.history < to; now.history++) {
		bool good = history(o, &plan, now.history);

		now.events_all += now.events;
		if (!good)
			return false;
	}
	return true;
}

int main(int argc, char **argv)
{
	struct oracle *o = oracle_new();
	struct progress done;
	unsigned long messages;
	bool good;

	arguments(&plan, argc, argv);
	on_crash(say_how_to_repeat);
	good = run(o);
	done = now;
	messages = o->messages;
	if (!good) {
		fprintf(stderr, "%s\n", o->wrong);
		shorten(o);
		fprintf(stderr, "the shortest beginning that fails has %lu events: %s\n",
			now.events, o->wrong);
		say_how_to_repeat();
	}
	printf("%lu histories of %lu events (1 in %d has %d), %lu in all, up to %u clients, "
	       "%lu messages compared, seed %lu: %s\n",
	       plan.only >= 0 ? 1 : done.history + !good, plan.events, BIG_EVERY, BIG_EVENTS,
	       done.events_all, done.most, messages, plan.seed, good ? "all right" : "WRONG");
	oracle_free(o);
	return good ? 0 : 1;
}
