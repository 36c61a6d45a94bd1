/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One suite for all transports. A case is a function that ends at its first failure. A table here,
 * and not the library, says which capabilities a transport has, so that one that denies too much
 * fails. A case that a transport does not support expects the documented error.
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
#define LONG_MS 10000  /* for what must arrive: machines may be slow */
#define QUIET_MS 100   /* for what must not arrive: a doorbell to a guest takes less than 1 ms */
#define SHORT_MS 50    /* the shortest timeout that is measured */
#define CAPS_ALL 0x1fu /* IVS_CAP_* */

/**
 * struct conform - the argument of a case
 * @address:   of the peer under test
 * @transport: name of the transport
 * @expected:  IVS_CAP_* that it must have
 * @vectors_n: of each peer with a server; of this one, if it can wait
 * @size:      of the region
 * @roster:    a server publishes the roster page
 * @device:    the transport uses a PCI device: this is a guest
 * @dir:       for files and sockets of the cases
 * @peer:      open when a case begins, unless @gone. A case may close it and set it to NULL.
 * @mailbox:   in the memory of @peer
 * @memory:    of @peer
 * @partner:   the partner's id; -1: none
 * @extra:     peers that are closed after the case: conform_open()
 * @noisy:     set by a case after which doorbells may still arrive
 * @gone:      the device, server or name was removed
 * @why:       reason of the failure
 */
struct conform {
	const char *address;
	const char *transport;
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

/* Each array ends with a case without a name. */
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

static inline bool is_transport(const struct conform *c, const char *transport)
{
	return !__builtin_strcmp(c->transport, transport);
}

/* Whether ivs_peer_next() can wait: for vectors, joins, or the removal of the device. */
static inline bool has_events(const struct conform *c)
{
	return can(c, IVS_CAP_WAIT) || can(c, IVS_CAP_ROSTER) || is_transport(c, "driver") ||
	       is_transport(c, "vfio");
}

/* Fail the case; only the first failure counts. */
void conform_fail(struct conform *c, const char *format, ...) IVS_PRINTF(2, 3);

/* A result as text, valid for the next seven calls. */
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
		EXPECT(c, came_ == wanted_, "%s: expected %s, got %s", #call,                      \
		       conform_result(wanted_), conform_result(came_));                            \
	} while (0)

/* For helpers that return false after they have failed the case. */
#define EXPECT_OK(helper)                                                                          \
	do {                                                                                       \
		if (!(helper))                                                                     \
			return;                                                                    \
	} while (0)

/* --- peers: peers.c --- */

/* Open another peer, which is closed after the case. Return: as ivs_peer_open(). */
int conform_open(struct conform *c, const char *address, const struct ivs_peer_options *opts,
		 struct ivs_peer **out, struct ivs_error *err);

/* Close the peer under test, and open it again with options. */
bool conform_reopen(struct conform *c, const struct ivs_peer_options *opts);
void conform_close(struct conform *c);
void conform_close_extras(struct conform *c);

/* Expect @result to be UNSUPPORTED, with a reason. */
bool conform_unable(struct conform *c, int result, enum ivs_peer_cap cap);

/* Take all events until none arrives for @ms; false if that does not end. */
bool conform_drain(struct conform *c, struct ivs_peer *peer, int ms);

/* Wait for an event of a type, about @number (id or vector); drop others. */
bool conform_await(struct conform *c, struct ivs_peer *peer, enum ivs_event_type type,
		   unsigned int number, struct ivs_event *out);

/* Number of open fds of this process. */
unsigned int conform_fds(void);

int64_t conform_now_ms(void);

/* Run a part of a case in a child, which may fail it. Return: the signal that ended it. */
int conform_in_child(struct conform *c, void (*run)(struct conform *c));

/* Wait until a thread of this process sleeps in the kernel. */
bool conform_await_sleep(struct conform *c, int tid);

/* --- the partner: ask.c --- */

struct ask {
	enum request request;
	uint64_t args[ARGS_N];
};

/* Send a request, and later wait for the answer. */
void ask_begin(struct conform *c, const struct ask *ask);
bool ask_end(struct conform *c);

#define ASK(c, ...) (ask_begin(c, &(const struct ask){__VA_ARGS__}), ask_end(c))

/* The result of the last request. */
int64_t ask_result(const struct conform *c, unsigned int i);

/* The partner rings our vector @times times. */
bool ask_ring(struct conform *c, unsigned int vector, unsigned int times);

/* Expect that the partner was rung on this vector, or (second function) that it was not. */
bool ask_rung(struct conform *c, unsigned int vector);
bool ask_not_rung(struct conform *c, unsigned int vector);

/* Another peer joins. Return: its id; -1 after failing the case. */
int ask_join(struct conform *c, unsigned int slot);

#endif
