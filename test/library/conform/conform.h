/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One suite for all transports. A case is a function that returns at its first failure. A table in
 * main.c, not the library, says which capabilities each transport has, so a transport that wrongly
 * denies one of them fails. If a transport lacks the capability that a case needs, the case expects
 * the documented error.
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
#define LONG_MS 10000  /* how long to wait for an event that must arrive: machines may be slow */
#define QUIET_MS 100   /* how long to check that no event arrives; a doorbell takes under 1 ms */
#define SHORT_MS 50    /* timeout of cases that measure how long a call waits */
#define CAPS_ALL 0x3fu /* IVS_CAP_* */

/**
 * struct conform - the argument of a case
 * @address:   address of the peer under test
 * @transport: name of the transport under test
 * @expected:  IVS_CAP_* that the transport must have
 * @vectors_n: number of vectors that the server assigns to each peer
 * @size:      size of the region in bytes
 * @roster:    true if a server publishes the roster page
 * @device:    true if the transport uses a PCI device, so that the program runs in a guest
 * @dir:       directory in which cases create files and sockets
 * @peer:      the peer under test, open when a case begins, unless @gone is set. A case may close
 *             it and set it to NULL.
 * @mailbox:   the mailbox in @memory
 * @memory:    the region as mapped by @peer
 * @partner:   the partner's id; -1 if it has none
 * @extra:     peers opened by conform_open(), which are closed after the case
 * @noisy:     set by a case after which doorbells may still arrive
 * @gone:      true once the device, the server or the region's name has been removed
 * @why:       why the case failed
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

/* Each array is terminated by a case whose name is NULL. */
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
extern const struct conform_case channel_cases[];
extern const struct conform_case channel_end_cases[];
extern const struct conform_case channel_topic_cases[];
extern const struct conform_case channel_borrow_cases[];
extern const struct conform_case channel_stream_cases[];
extern const struct conform_case channel_stream_end_cases[];
extern const struct conform_case gone_cases[];

static inline bool can(const struct conform *c, unsigned int caps)
{
	return (c->expected & caps) == caps;
}

static inline bool is_transport(const struct conform *c, const char *transport)
{
	return !__builtin_strcmp(c->transport, transport);
}

/*
 * Return: whether ivs_peer_next() can wait for a vector, a join, the removal of the device or a
 * change to the region's file.
 */
static inline bool has_events(const struct conform *c)
{
	return can(c, IVS_CAP_WAIT) || can(c, IVS_CAP_ROSTER) || !is_transport(c, "sysfs");
}

/* Fail the case; only the first failure counts. */
void conform_fail(struct conform *c, const char *format, ...) IVS_PRINTF(2, 3);

/* Return: a result code as text, which stays valid for the next seven calls. */
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

/* Return from a case if @helper returned false. Such a helper has already failed the case. */
#define EXPECT_OK(helper)                                                                          \
	do {                                                                                       \
		if (!(helper))                                                                     \
			return;                                                                    \
	} while (0)

/* --- helpers in peers.c --- */

/* Open another peer, which is closed after the case. Return: the result of ivs_peer_open(). */
int conform_open(struct conform *c, const char *address, const struct ivs_peer_options *opts,
		 struct ivs_peer **out, struct ivs_error *err);

/* Close the peer under test and open it again with @opts. */
bool conform_reopen(struct conform *c, const struct ivs_peer_options *opts);
void conform_close(struct conform *c);
void conform_close_extras(struct conform *c);

/* Expect @result to be UNSUPPORTED, and the peer to give a reason for lacking @cap. */
bool conform_unable(struct conform *c, int result, enum ivs_peer_cap cap);

/* Take events until none arrives for @ms milliseconds. Return: false if events keep arriving. */
bool conform_drain(struct conform *c, struct ivs_peer *peer, int ms);

/* Wait for an event of @type about @number (an id or a vector), discarding all other events. */
bool conform_await(struct conform *c, struct ivs_peer *peer, enum ivs_event_type type,
		   unsigned int number, struct ivs_event *out);

/* Return: the number of open fds of this process. */
unsigned int conform_fds(void);

/*
 * Expect this process to have @before open fds again. Wait for that: a call that fails waits only
 * briefly for the peer's thread, which closes the fds that the server has sent (ivs_peer_open(3)).
 */
void conform_expect_fds(struct conform *c, const char *address, unsigned int before);

int64_t conform_now_ms(void);

/*
 * Run part of a case in a child process, which may fail the case. Return: the signal that killed
 * the child, or 0.
 */
int conform_in_child(struct conform *c, void (*run)(struct conform *c));

/* Wait until the thread @tid of this process sleeps in the kernel. */
bool conform_await_sleep(struct conform *c, int tid);

/* --- requests to the partner: ask.c --- */

struct ask {
	enum request request;
	uint64_t args[ARGS_N];
};

/* Send a request to the partner; ask_end() waits for the answer. */
void ask_begin(struct conform *c, const struct ask *ask);
bool ask_end(struct conform *c);

#define ASK(c, ...) (ask_begin(c, &(const struct ask){__VA_ARGS__}), ask_end(c))

/* Return: result number @i of the last request. */
int64_t ask_result(const struct conform *c, unsigned int i);

/* Make the partner ring @vector of the peer under test @times times. */
bool ask_ring(struct conform *c, unsigned int vector, unsigned int times);

/* ask_rung(): expect that the partner was rung on @vector. ask_not_rung(): that it was not. */
bool ask_rung(struct conform *c, unsigned int vector);
bool ask_not_rung(struct conform *c, unsigned int vector);

/* Make the partner open another peer in @slot. Return: its id; -1 after failing the case. */
int ask_join(struct conform *c, unsigned int slot);

#endif
