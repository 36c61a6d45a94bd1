/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Stopping a peer: which calls return STOPPED, and which still work. Stopping a peer while other
 * threads wait is tested in process.c.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>

#include "conform.h"

/* Expect waiting for events to return STOPPED, as for a vector, if the transport has vectors. */
static void expect_stopped(struct conform *c)
{
	struct ivs_event event;

	for (int timeout = -1; timeout <= LONG_MS; timeout += LONG_MS / 2) {
		EXPECT_RESULT(c, ivs_peer_wait(c->peer, 0, timeout),
			      can(c, IVS_CAP_WAIT) ? IVS_PEER_E_STOPPED : IVS_PEER_E_UNSUPPORTED);
		EXPECT_RESULT(c, ivs_peer_next(c->peer, timeout, &event), IVS_PEER_E_STOPPED);
	}
}

static void for_good(struct conform *c)
{
	ivs_peer_stop(c->peer);
	expect_stopped(c);
	expect_stopped(c);
	conform_close(c);
}

static void twice(struct conform *c)
{
	ivs_peer_stop(c->peer);
	ivs_peer_stop(c->peer);
	expect_stopped(c);
	conform_close(c);
}

static void at_once(struct conform *c)
{
	ivs_peer_stop(c->peer);
	conform_close(c);
	EXPECT_OK(conform_reopen(c, NULL));
	EXPECT(c, ivs_peer_caps(c->peer) == c->expected,
	       "the next peer has different capabilities: 0x%x", ivs_peer_caps(c->peer));
}

/* Waiting also returns STOPPED when a doorbell is pending. */
static void rung(struct conform *c)
{
	if (can(c, IVS_CAP_WAIT))
		EXPECT_OK(ask_ring(c, 0, 1));
	ivs_peer_stop(c->peer);
	expect_stopped(c);
	conform_close(c);
}

static void fd_readable(struct conform *c)
{
	struct pollfd pfd = {.fd = ivs_peer_fd(c->peer), .events = POLLIN};
	int n;

	EXPECT_OK(conform_drain(c, c->peer, 0));
	ivs_peer_stop(c->peer);
	for (unsigned int i = 0; i < 2; i++) {
		n = poll(&pfd, 1, has_events(c) ? LONG_MS : 0);
		EXPECT(c, n == has_events(c), "expected %d, got %d", has_events(c), n);
		expect_stopped(c); /* after these calls the fd is still readable */
	}
	conform_close(c);
}

static void memory_goes_on(struct conform *c)
{
	uint64_t first;

	ivs_peer_stop(c->peer);
	EXPECT_OK(ASK(c, ASK_WRITE, {SCRATCH_AT, PAGE, 80}));
	EXPECT(c, !pattern_check(c->memory + SCRATCH_AT, PAGE, 80, &first),
	       "the memory differs from what was written");
	conform_close(c);
}

static void ringing_goes_on(struct conform *c)
{
	unsigned int id = c->partner >= 0 ? (unsigned int)c->partner : 0;

	ivs_peer_stop(c->peer);
	EXPECT_RESULT(c, ivs_peer_ring(c->peer, id, 0),
		      can(c, IVS_CAP_RING) ? 0 : IVS_PEER_E_UNSUPPORTED);
	if (can(c, IVS_CAP_RING))
		EXPECT_OK(ask_rung(c, 0));
	conform_close(c);
}

static void says_the_same(struct conform *c)
{
	int id = ivs_peer_id(c->peer);

	ivs_peer_stop(c->peer);
	EXPECT(c, ivs_peer_caps(c->peer) == c->expected, "caps 0x%x", ivs_peer_caps(c->peer));
	EXPECT(c, ivs_peer_id(c->peer) == id, "the id has changed from %d to %d", id,
	       ivs_peer_id(c->peer));
	EXPECT(c, ivs_peer_vectors(c->peer) == (can(c, IVS_CAP_WAIT) ? c->vectors_n : 0),
	       "vectors");
	conform_close(c);
}

static struct ivs_peer *to_stop;

static void on_signal(int number)
{
	(void)number;
	ivs_peer_stop(to_stop);
}

/*
 * Call ivs_peer_stop() in a signal handler, as a program that exits on SIGTERM does. The next wait
 * returns STOPPED even though the signal arrived before the wait began.
 */
static void in_handler(struct conform *c)
{
	const struct sigaction stop = {.sa_handler = on_signal};
	struct ivs_event event;
	int result;

	to_stop = c->peer;
	EXPECT_OK(conform_drain(c, c->peer, 0));
	sigaction(SIGUSR2, &stop, NULL);
	raise(SIGUSR2);
	do {
		result = ivs_peer_next(c->peer, LONG_MS, &event);
	} while (result == -EINTR);
	EXPECT_RESULT(c, result, IVS_PEER_E_STOPPED);
	expect_stopped(c);
	conform_close(c);
}

const struct conform_case stop_cases[] = {
	{"stop: is permanent", for_good},
	{"stop: more than once", twice},
	{"stop: the peer is closed immediately, and opened again", at_once},
	{"stop: even if a doorbell is pending", rung},
	{"stop: the fd for poll(2) is readable, and stays so", fd_readable},
	{"stop: the memory stays", memory_goes_on},
	{"stop: ringing still works", ringing_goes_on},
	{"stop: the getters still work", says_the_same},
	{"stop: in a signal handler", in_handler},
	{0},
};
