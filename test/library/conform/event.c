/* SPDX-License-Identifier: BSD-3-Clause */
/* ivs_peer_next() and the fd for event loops. Joins and leaves are tested in roster.c. */
#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "conform.h"

#define TIMES 50

/*
 * Return: whether doorbells can be reported. If not, expect ivs_peer_next() to report none, or to
 * refuse if the peer has no roster either.
 */
static bool may_hear(struct conform *c)
{
	struct ivs_event event;

	if (can(c, IVS_CAP_WAIT))
		return conform_drain(c, c->peer, 0);
	if (!has_events(c)) {
		conform_unable(c, ivs_peer_next(c->peer, -1, &event), IVS_CAP_WAIT);
		return false;
	}
	if (!ivs_peer_next(c->peer, 0, &event) && event.type == IVS_EVENT_DOORBELL)
		conform_fail(c, "a doorbell on vector %u, which does not exist", event.vector);
	return false;
}

static void each_vector(struct conform *c)
{
	struct ivs_event event;

	EXPECT_OK(may_hear(c));
	for (unsigned int vector = 0; vector < c->vectors_n; vector++) {
		EXPECT_OK(ask_ring(c, vector, 1));
		EXPECT_RESULT(c, ivs_peer_next(c->peer, LONG_MS, &event), 0);
		EXPECT(c, event.type == IVS_EVENT_DOORBELL, "expected a doorbell, got type %d",
		       event.type);
		EXPECT(c, event.vector == vector, "expected vector %u, got %u", vector,
		       event.vector);
	}
}

/* Take events until a doorbell has been reported on each vector. */
static bool take_all(struct conform *c, bool by_poll)
{
	struct pollfd pfd = {.fd = ivs_peer_fd(c->peer), .events = POLLIN};
	unsigned int all = (1U << c->vectors_n) - 1;
	int64_t end = conform_now_ms() + LONG_MS;
	unsigned int seen = 0;
	struct ivs_event event;

	while (seen != all && conform_now_ms() < end) {
		if (by_poll && poll(&pfd, 1, LONG_MS) != 1)
			break;
		while (!ivs_peer_next(c->peer, by_poll ? 0 : SHORT_MS, &event)) {
			if (event.type == IVS_EVENT_DOORBELL)
				seen |= 1U << event.vector;
		}
	}
	if (seen != all)
		conform_fail(c, "expected vectors 0x%x, got 0x%x", all, seen);
	return seen == all;
}

static void all_vectors(struct conform *c)
{
	EXPECT_OK(may_hear(c));
	for (unsigned int vector = 0; vector < c->vectors_n; vector++)
		EXPECT_OK(ask_ring(c, vector, 1));
	EXPECT_OK(take_all(c, false));
}

static void many(struct conform *c)
{
	struct ivs_event event;
	unsigned int n = 0;
	int result;

	EXPECT_OK(may_hear(c));
	EXPECT_OK(ask_ring(c, 0, TIMES));
	EXPECT_RESULT(c, ivs_peer_next(c->peer, LONG_MS, &event), 0);
	do {
		result = ivs_peer_next(c->peer, QUIET_MS, &event);
		n++;
	} while (!result && n <= TIMES);
	EXPECT(c, n <= TIMES, "rung %d times, but %u doorbells were reported", TIMES, n);
	EXPECT(c, result == IVS_PEER_E_TIMEOUT, "expected TIMEOUT at the end, got %s",
	       conform_result(result));
}

/* A doorbell is reported once, by the first call of ivs_peer_wait() or ivs_peer_next(). */
static void once(struct conform *c)
{
	struct ivs_event event;

	EXPECT_OK(may_hear(c));
	EXPECT_OK(ask_ring(c, 0, 1));
	EXPECT_RESULT(c, ivs_peer_wait(c->peer, 0, LONG_MS), 0);
	EXPECT_RESULT(c, ivs_peer_next(c->peer, QUIET_MS, &event), IVS_PEER_E_TIMEOUT);
	EXPECT_OK(ask_ring(c, 0, 1));
	EXPECT_RESULT(c, ivs_peer_next(c->peer, LONG_MS, &event), 0);
	EXPECT_RESULT(c, ivs_peer_wait(c->peer, 0, QUIET_MS), IVS_PEER_E_TIMEOUT);
}

static void only_look(struct conform *c)
{
	struct ivs_event event;

	if (!has_events(c)) {
		conform_unable(c, ivs_peer_next(c->peer, 0, &event), IVS_CAP_ROSTER);
		return;
	}
	EXPECT_OK(conform_drain(c, c->peer, 0));
	EXPECT_RESULT(c, ivs_peer_next(c->peer, 0, &event), IVS_PEER_E_TIMEOUT);
}

static void in_vain(struct conform *c)
{
	struct ivs_event event;
	int64_t begin;

	if (!has_events(c)) {
		conform_unable(c, ivs_peer_next(c->peer, SHORT_MS, &event), IVS_CAP_ROSTER);
		return;
	}
	EXPECT_OK(conform_drain(c, c->peer, 0));
	begin = conform_now_ms();
	EXPECT_RESULT(c, ivs_peer_next(c->peer, SHORT_MS, &event), IVS_PEER_E_TIMEOUT);
	begin = conform_now_ms() - begin;
	EXPECT(c, begin >= SHORT_MS - 1 && begin < LONG_MS, "expected %d ms, got %d", SHORT_MS,
	       (int)begin);
}

static void fd(struct conform *c)
{
	int number = ivs_peer_fd(c->peer);

	if (has_events(c))
		EXPECT(c, number >= 0, "expected an fd, got %d", number);
	else
		EXPECT(c, number == -1, "expected -1, got %d", number);
	EXPECT(c, number == ivs_peer_fd(c->peer), "the fd differs between two calls");
}

/*
 * If the peer reads the roster page, the fd also becomes readable every 100 ms, and if the region's
 * file can change, once a second; otherwise it is readable only if there is an event.
 */
static void fd_quiet(struct conform *c)
{
	struct pollfd pfd = {.fd = ivs_peer_fd(c->peer), .events = POLLIN};
	struct ivs_event event;

	if (!has_events(c)) {
		EXPECT(c, pfd.fd == -1, "expected -1, got %d", pfd.fd);
		return;
	}
	EXPECT_OK(conform_drain(c, c->peer, 0));
	if (c->roster && !is_transport(c, "unix"))
		return;
	if (poll(&pfd, 1, SHORT_MS))
		EXPECT_RESULT(c, ivs_peer_next(c->peer, 0, &event), IVS_PEER_E_TIMEOUT);
	EXPECT(c, !poll(&pfd, 1, SHORT_MS), "the fd is readable, but there is no event");
}

static void poll_loop(struct conform *c)
{
	EXPECT_OK(may_hear(c));
	for (unsigned int round = 0; round < 5; round++) {
		for (unsigned int vector = 0; vector < c->vectors_n; vector++)
			EXPECT_OK(ask_ring(c, vector, 1));
		EXPECT_OK(take_all(c, true));
	}
	c->noisy = true;
}

/* The fd can be added to an epoll instance. */
static void epoll_loop(struct conform *c)
{
	struct epoll_event event = {.events = EPOLLIN};
	int epoll;
	int result;
	int n = -1;

	EXPECT_OK(may_hear(c));
	epoll = epoll_create1(EPOLL_CLOEXEC);
	result = epoll_ctl(epoll, EPOLL_CTL_ADD, ivs_peer_fd(c->peer), &event);
	if (!result && ask_ring(c, 0, 1))
		n = epoll_wait(epoll, &event, 1, LONG_MS);
	close(epoll);
	EXPECT(c, !result, "epoll_ctl() does not accept the fd");
	EXPECT(c, n == 1, "a vector was rung, but epoll_wait() did not return 1: %d", n);
	EXPECT_OK(conform_await(c, c->peer, IVS_EVENT_DOORBELL, 0, NULL));
}

const struct conform_case event_cases[] = {
	{"event: a doorbell on each vector", each_vector},
	{"event: after all vectors were rung, each is reported", all_vectors},
	{"event: many doorbells are reported at least once, and at most as often as rung", many},
	{"event: a doorbell is reported once", once},
	{"event: timeout 0 does not block", only_look},
	{"event: the timeout is observed", in_vain},
	{"event: an fd for poll(2), or -1", fd},
	{"event: the fd is not readable without an event", fd_quiet},
	{"event: a loop with poll(2) gets all vectors", poll_loop},
	{"event: the fd can be watched by epoll", epoll_loop},
	{0},
};
