/* SPDX-License-Identifier: BSD-3-Clause */
/* Opening a peer: options, several peers, reopening, and what remains after closing. */
#include <errno.h>
#include <string.h>

#include "conform.h"

#define AGAIN 20

static void no_options(struct conform *c)
{
	const struct ivs_peer_options zero = {0};

	EXPECT_OK(conform_reopen(c, &zero));
	EXPECT(c, ivs_peer_caps(c->peer) == c->expected, "expected 0x%x, got 0x%x", c->expected,
	       ivs_peer_caps(c->peer));
}

static void no_error(struct conform *c)
{
	struct ivs_error err;
	int result;

	strcpy(err.text, "something old");
	conform_close(c);
	result = ivs_peer_open(c->address, NULL, &c->peer, &err);
	EXPECT(c, !result, "%s: %s", conform_result(result), err.text);
	EXPECT(c, !*err.text, "opening succeeded, but there is an error text: %s", err.text);
	EXPECT_OK(conform_reopen(c, NULL));
}

static void error_not_wanted(struct conform *c)
{
	int result;

	conform_close(c);
	result = ivs_peer_open(c->address, NULL, &c->peer, NULL);
	EXPECT(c, !result, "%s", conform_result(result));
	EXPECT_OK(conform_reopen(c, NULL));
}

/* Over a transport without vectors, requesting any number of them is an error. */
static void fewer_vectors(struct conform *c)
{
	const struct ivs_peer_options one = {.vectors_n = 1};
	struct ivs_event event;
	struct ivs_error err;
	int result;

	if (!can(c, IVS_CAP_WAIT)) {
		conform_close(c);
		result = conform_open(c, c->address, &one, NULL, &err);
		EXPECT_RESULT(c, result, IVS_PEER_E_VECTOR);
		return;
	}
	EXPECT_OK(conform_reopen(c, &one));
	EXPECT(c, ivs_peer_vectors(c->peer) == 1, "expected 1 vector, got %u",
	       ivs_peer_vectors(c->peer));
	EXPECT_OK(ask_ring(c, 0, 1));
	EXPECT_RESULT(c, ivs_peer_wait(c->peer, 0, LONG_MS), 0);
	EXPECT_RESULT(c, ivs_peer_wait(c->peer, 1, 0), IVS_PEER_E_VECTOR);
	/* The partner may ring a vector that this peer did not request, but no event reports it. */
	EXPECT_OK(ask_ring(c, c->vectors_n - 1, 1));
	while (!(result = ivs_peer_next(c->peer, QUIET_MS, &event)))
		EXPECT(c, event.type != IVS_EVENT_DOORBELL, "a doorbell on vector %u",
		       event.vector);
	conform_close(c);
}

static void as_many_vectors(struct conform *c)
{
	struct ivs_peer_options all = {.vectors_n = c->vectors_n};

	if (!can(c, IVS_CAP_WAIT))
		all.vectors_n = 0;
	EXPECT_OK(conform_reopen(c, &all));
	EXPECT(c, ivs_peer_vectors(c->peer) == all.vectors_n, "expected %u vectors, got %u",
	       all.vectors_n, ivs_peer_vectors(c->peer));
}

/*
 * A server does not announce the number of vectors, so opening waits for more of them and times
 * out. A device does, so opening fails immediately.
 */
static void more_vectors(struct conform *c)
{
	const struct ivs_peer_options more = {.vectors_n = c->vectors_n + 1, .timeout_ms = 1000};
	int wanted = is_transport(c, "unix") ? IVS_PEER_E_TIMEOUT : IVS_PEER_E_VECTOR;
	struct ivs_peer *peer = NULL;
	struct ivs_error err = {""};
	int result;

	conform_close(c);
	result = conform_open(c, c->address, &more, &peer, &err);
	EXPECT_RESULT(c, result, wanted);
	EXPECT(c, !peer, "opening failed, but there is a peer");
	EXPECT(c, strstr(err.text, "vectors"), "the error does not mention vectors: %s", err.text);
}

/* vfio allows only one peer at a time. */
static void twice(struct conform *c)
{
	unsigned int fds = conform_fds();
	struct ivs_peer *other = NULL;
	struct ivs_error err;
	int result = conform_open(c, c->address, NULL, &other, &err);

	if (is_transport(c, "vfio")) {
		EXPECT(c, result == -EBUSY, "expected -EBUSY, got %s", conform_result(result));
		EXPECT(c, *err.text, "the error has no text");
		conform_expect_fds(c, c->address, fds);
		return;
	}
	EXPECT(c, !result, "%s: %s", conform_result(result), err.text);
	EXPECT(c, other != c->peer, "opening twice returned the same peer");
	conform_close_extras(c);
	/* The first peer still works after the second has been closed. */
	EXPECT_OK(ASK(c, ASK_HELLO));
	EXPECT(c, ivs_peer_id(c->peer) == -1 || ivs_peer_id(c->peer) != c->partner,
	       "the peer has the partner's id");
}

/* Two peers of one process ring each other, if they have different ids. */
static void two_ring(struct conform *c)
{
	struct ivs_peer *other = NULL;
	struct ivs_error err;
	int result;

	if (!is_transport(c, "unix")) {
		result = conform_open(c, c->address, NULL, &other, &err);
		if (is_transport(c, "vfio"))
			EXPECT(c, result == -EBUSY, "expected -EBUSY, got %s",
			       conform_result(result));
		else
			EXPECT(c, !result && ivs_peer_id(other) == ivs_peer_id(c->peer),
			       "two ids, although both use the same device or none");
		return;
	}
	EXPECT_RESULT(c, conform_open(c, c->address, NULL, &other, &err), 0);
	EXPECT(c, ivs_peer_id(other) != ivs_peer_id(c->peer), "two peers have the same id");
	EXPECT_OK(
		conform_await(c, c->peer, IVS_EVENT_JOIN, (unsigned int)ivs_peer_id(other), NULL));
	EXPECT_RESULT(c, ivs_peer_ring(c->peer, (unsigned int)ivs_peer_id(other), 0), 0);
	EXPECT_RESULT(c, ivs_peer_wait(other, 0, LONG_MS), 0);
	EXPECT_RESULT(c, ivs_peer_ring(other, (unsigned int)ivs_peer_id(c->peer), 0), 0);
	EXPECT_RESULT(c, ivs_peer_wait(c->peer, 0, LONG_MS), 0);
}

/* If a device is opened twice, both peers receive each doorbell. Two clients of a server do not. */
static void two_hear(struct conform *c)
{
	struct ivs_peer *other = NULL;
	struct ivs_error err;
	int result;

	result = conform_open(c, c->address, NULL, &other, &err);
	if (is_transport(c, "vfio")) {
		EXPECT(c, result == -EBUSY, "expected -EBUSY, got %s", conform_result(result));
		return;
	}
	EXPECT(c, !result, "%s: %s", conform_result(result), err.text);
	if (!can(c, IVS_CAP_WAIT)) {
		EXPECT_RESULT(c, ivs_peer_wait(other, 0, -1), IVS_PEER_E_UNSUPPORTED);
		return;
	}
	EXPECT_OK(ask_ring(c, 0, 1));
	EXPECT_RESULT(c, ivs_peer_wait(c->peer, 0, LONG_MS), 0);
	EXPECT_RESULT(c, ivs_peer_wait(other, 0, is_transport(c, "unix") ? 0 : LONG_MS),
		      is_transport(c, "unix") ? IVS_PEER_E_TIMEOUT : 0);
}

static void fds_returned(struct conform *c)
{
	unsigned int fds;

	conform_close(c);
	fds = conform_fds();
	EXPECT_OK(conform_reopen(c, NULL));
	EXPECT_OK(conform_drain(c, c->peer, 0));
	conform_close(c);
	conform_expect_fds(c, c->address, fds);
}

static void again(struct conform *c)
{
	unsigned int fds;

	conform_close(c);
	fds = conform_fds();
	for (unsigned int i = 0; i < AGAIN; i++) {
		EXPECT_OK(conform_reopen(c, NULL));
		EXPECT(c, ivs_peer_caps(c->peer) == c->expected, "attempt %u: caps 0x%x", i + 1,
		       ivs_peer_caps(c->peer));
		conform_close(c);
	}
	conform_expect_fds(c, c->address, fds);
	EXPECT_OK(conform_reopen(c, NULL));
	if (can(c, IVS_CAP_RING)) {
		EXPECT_RESULT(c, ivs_peer_ring(c->peer, (unsigned int)c->partner, 0), 0);
		EXPECT_OK(ask_rung(c, 0));
	}
}

/* Doorbells rung before opening are not reported. */
static void old_doorbells(struct conform *c)
{
	EXPECT_OK(conform_reopen(c, NULL));
	if (!can(c, IVS_CAP_WAIT)) {
		EXPECT_OK(conform_unable(c, ivs_peer_wait(c->peer, 0, 0), IVS_CAP_WAIT));
		return;
	}
	EXPECT_OK(ask_ring(c, 0, 1));
	EXPECT_RESULT(c, ivs_peer_wait(c->peer, 0, LONG_MS), 0);
	EXPECT_OK(conform_reopen(c, NULL));
	EXPECT_RESULT(c, ivs_peer_wait(c->peer, 0, QUIET_MS), IVS_PEER_E_TIMEOUT);
}

static void close_nothing(struct conform *c)
{
	(void)c;
	ivs_peer_close(NULL);
}

const struct conform_case open_cases[] = {
	{"open: options that are all zero are the defaults", no_options},
	{"open: leaves no error behind", no_error},
	{"open: err may be NULL", error_not_wanted},
	{"open: with fewer vectors than there are", fewer_vectors},
	{"open: with as many vectors as there are", as_many_vectors},
	{"open: with more vectors than there are", more_vectors},
	{"open: twice in one process", twice},
	{"open: twice, and the peers ring each other", two_ring},
	{"open: twice, and each peer receives its doorbells", two_hear},
	{"open: closing the peer closes all its fds", fds_returned},
	{"open: twenty times, one after the other", again},
	{"open: earlier doorbells are not reported", old_doorbells},
	{"open: closing NULL does nothing", close_nothing},
	{0},
};
