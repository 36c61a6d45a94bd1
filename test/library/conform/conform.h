/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One suite for every way in. A case is a function that ends at its first failure. What a way in
 * must be able to do stands in a table here, not in the library: one that denies too much fails. A
 * case that a way cannot do runs all the same and insists on the documented error.
 */
#ifndef CONFORM_CONFORM_H
#define CONFORM_CONFORM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <ivshmem/peer.h>

#include "mailbox.h"

#define EXTRAS_MAX 32
#define WHY_LEN 512
#define LONG_MS 10000  /* for what must come: generous, machines are slow */
#define QUIET_MS 100   /* for what must not come: a doorbell takes less than 1 ms to a guest */
#define SHORT_MS 50    /* how long a wait in vain lasts at least */
#define CAPS_ALL 0x1fu /* IVS_CAP_* */

/**
 * struct conform - what a case gets
 * @address:   of the way in under test
 * @way:       what ivs_peer_transport() must say
 * @expected:  IVS_CAP_*: what it must be able to do
 * @vectors_n: of each peer that has a server; of this one, if it can wait
 * @size:      of the region
 * @roster:    a server publishes the roster in the region
 * @device:    it is a PCI device, this is a guest
 * @dir:       for files and sockets of the cases
 * @peer:      open when a case begins, unless @gone. A case may close it and set it to NULL.
 * @mailbox:   in its memory
 * @memory:    its memory
 * @partner:   the partner's id; -1: it has none
 * @extra:     peers that end with the case: conform_open()
 * @noisy:     set by a case that leaves doorbells on their way
 * @gone:      the device or server was taken away
 * @why:       of the failure
 */
struct conform {
	const char *address;
	const char *way;
	unsigned int expected;
	unsigned int vectors_n;
	size_t size;
	bool roster;
	bool device;
	const char *dir;
	struct ivs_peer *peer;
	struct mailbox *mailbox;
	uint8_t *memory;
	int partner;
	struct ivs_peer *extra[EXTRAS_MAX];
	unsigned int extra_n;
	bool noisy;
	bool gone;
	bool failed;
	char why[WHY_LEN];
};

struct conform_case {
	const char *name;
	void (*run)(struct conform *c);
};

/* Each ends with a case without a name. */
extern const struct conform_case open_cases[];
extern const struct conform_case error_cases[];
extern const struct conform_case about_cases[];
extern const struct conform_case memory_cases[];
extern const struct conform_case ring_cases[];
extern const struct conform_case doorbell_cases[];
extern const struct conform_case wait_cases[];
extern const struct conform_case event_cases[];
extern const struct conform_case process_cases[];
extern const struct conform_case stop_cases[];
extern const struct conform_case roster_cases[];
extern const struct conform_case gone_cases[];

static inline bool can(const struct conform *c, unsigned int caps)
{
	return (c->expected & caps) == caps;
}

static inline bool is_way(const struct conform *c, const char *way)
{
	return !__builtin_strcmp(c->way, way);
}

/* Whether there is anything that ivs_peer_next() may wait for: also the end of a device that says so. */
static inline bool has_events(const struct conform *c)
{
	return can(c, IVS_CAP_WAIT) || can(c, IVS_CAP_ROSTER) || is_way(c, "driver") ||
	       is_way(c, "vfio");
}

/* The first failure of a case counts. */
void conform_fail(struct conform *c, const char *format, ...) IVS_PRINTF(2, 3);

/* A result in words; of one's last eight. */
const char *conform_result(int result);

#define EXPECT(c, holds, ...)                                                                      \
	do {                                                                                       \
		if (!(holds)) {                                                                    \
			conform_fail(c, __VA_ARGS__);                                              \
			return;                                                                    \
		}                                                                                  \
	} while (0)

#define EXPECT_RESULT(c, call, wanted)                                                             \
	do {                                                                                       \
		int came_ = (call);                                                                \
		int wanted_ = (wanted);                                                            \
                                                                                                   \
		EXPECT(c, came_ == wanted_, "%s: expected %s, came %s", #call,                     \
		       conform_result(wanted_), conform_result(came_));                            \
	} while (0)

/* For helpers that have failed the case if they return false. */
#define EXPECT_OK(helper)                                                                          \
	do {                                                                                       \
		if (!(helper))                                                                     \
			return;                                                                    \
	} while (0)

/* --- peers: peers.c --- */

/* Open another one, which ends with the case. Return: the result. */
int conform_open(struct conform *c, const char *address, const struct ivs_peer_options *opts,
		 struct ivs_peer **out, struct ivs_error *err);

/* The peer under test, closed, and opened again with options. */
bool conform_reopen(struct conform *c, const struct ivs_peer_options *opts);
void conform_close(struct conform *c);
void conform_close_extras(struct conform *c);

/* It must have said UNABLE, and say why: a sentence for a person, with what to do about it. */
bool conform_unable(struct conform *c, int result, enum ivs_peer_cap cap);

/* Take all events until there are none for @ms; false if that does not end. */
bool conform_drain(struct conform *c, struct ivs_peer *peer, int ms);

/* Wait for an event of a type, about @number (id or vector); others are dropped. */
bool conform_await(struct conform *c, struct ivs_peer *peer, enum ivs_event_type type,
		   unsigned int number, struct ivs_event *out);

/* How many fds this process has. */
unsigned int conform_fds(void);

int64_t conform_now_ms(void);

/* Run a part of a case in a child; its failure is the case's. Return: the signal that ended it. */
int conform_in_child(struct conform *c, void (*run)(struct conform *c));

/* Wait until a thread of this process sleeps in the kernel. */
bool conform_await_sleep(struct conform *c, int tid);

/* --- the partner: ask.c --- */

struct ask {
	enum request request;
	uint64_t args[ARGS_N];
};

/* Say what is wanted, and later wait for it: in between there is time for something else. */
void ask_begin(struct conform *c, const struct ask *ask);
bool ask_end(struct conform *c);

#define ASK(c, ...) (ask_begin(c, &(const struct ask){__VA_ARGS__}), ask_end(c))

/* What came of the last one. */
int64_t ask_result(const struct conform *c, unsigned int i);

/* The partner rings our vector so often. */
bool ask_ring(struct conform *c, unsigned int vector, unsigned int times);

/* The partner was rung on this vector; or was not. */
bool ask_rung(struct conform *c, unsigned int vector);
bool ask_not_rung(struct conform *c, unsigned int vector);

/* Somebody joins; returns the id, -1 with a failure. */
int ask_join(struct conform *c, unsigned int slot);

#endif
