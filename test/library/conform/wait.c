/* SPDX-License-Identifier: BSD-3-Clause */
/* Waiting for a vector, and the eventfd of a vector. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include "conform.h"

#define TIMES 50
#define LATER_MS 20

/*
 * Return: whether the transport can wait. If not, expect it to refuse immediately and with a
 * reason, regardless of the timeout.
 */
static bool may_wait(struct conform *c)
{
	if (can(c, IVS_CAP_WAIT))
		return true;
	if (conform_unable(c, ivs_peer_wait(c->peer, 0, -1), IVS_CAP_WAIT))
		conform_unable(c, ivs_peer_wait(c->peer, 0, 0), IVS_CAP_WAIT);
	return false;
}

static void each_vector(struct conform *c)
{
	EXPECT_OK(may_wait(c));
	for (unsigned int vector = 0; vector < c->vectors_n; vector++) {
		EXPECT_OK(ask_ring(c, vector, 1));
		EXPECT_RESULT(c, ivs_peer_wait(c->peer, vector, LONG_MS), 0);
	}
}

static void no_other(struct conform *c)
{
	EXPECT_OK(may_wait(c));
	for (unsigned int vector = 0; vector < c->vectors_n; vector++) {
		EXPECT_OK(ask_ring(c, vector, 1));
		EXPECT_RESULT(c, ivs_peer_wait(c->peer, vector, LONG_MS), 0);
		for (unsigned int other = 0; other < c->vectors_n; other++)
			EXPECT_RESULT(c, ivs_peer_wait(c->peer, other, 0), IVS_PEER_E_TIMEOUT);
	}
}

static void any_order(struct conform *c)
{
	EXPECT_OK(may_wait(c));
	for (unsigned int vector = 0; vector < c->vectors_n; vector++)
		EXPECT_OK(ask_ring(c, vector, 1));
	for (unsigned int vector = c->vectors_n; vector--;)
		EXPECT_RESULT(c, ivs_peer_wait(c->peer, vector, LONG_MS), 0);
}

static void taken(struct conform *c)
{
	EXPECT_OK(may_wait(c));
	EXPECT_OK(ask_ring(c, 0, 1));
	EXPECT_RESULT(c, ivs_peer_wait(c->peer, 0, LONG_MS), 0);
	EXPECT_RESULT(c, ivs_peer_wait(c->peer, 0, QUIET_MS), IVS_PEER_E_TIMEOUT);
}

/* The doorbell arrives while the peer waits, not before. */
static void later(struct conform *c)
{
	uint64_t id = (uint64_t)ivs_peer_id(c->peer);

	EXPECT_OK(may_wait(c));
	for (int timeout = -1; timeout <= LONG_MS; timeout += LONG_MS + 1) {
		ask_begin(c, &(const struct ask){ASK_RING, {0, id, 0, 1, LATER_MS}});
		EXPECT_RESULT(c, ivs_peer_wait(c->peer, 0, timeout), 0);
		EXPECT_OK(ask_end(c));
	}
}

static void many(struct conform *c)
{
	unsigned int n = 0;
	int result;

	EXPECT_OK(may_wait(c));
	EXPECT_OK(ask_ring(c, 0, TIMES));
	EXPECT_RESULT(c, ivs_peer_wait(c->peer, 0, LONG_MS), 0);
	do {
		result = ivs_peer_wait(c->peer, 0, QUIET_MS);
		n++;
	} while (!result && n <= TIMES);
	EXPECT(c, result == IVS_PEER_E_TIMEOUT, "expected TIMEOUT at the end, got %s",
	       conform_result(result));
	EXPECT(c, n <= TIMES, "rung %d times, woken %u times", TIMES, n);
}

static void only_look(struct conform *c)
{
	EXPECT_OK(may_wait(c));
	for (unsigned int vector = 0; vector < c->vectors_n; vector++)
		EXPECT_RESULT(c, ivs_peer_wait(c->peer, vector, 0), IVS_PEER_E_TIMEOUT);
}

static void in_vain(struct conform *c)
{
	int64_t begin = conform_now_ms();

	EXPECT_OK(may_wait(c));
	EXPECT_RESULT(c, ivs_peer_wait(c->peer, 0, SHORT_MS), IVS_PEER_E_TIMEOUT);
	begin = conform_now_ms() - begin;
	EXPECT(c, begin >= SHORT_MS - 1 && begin < LONG_MS, "expected %d ms, got %d", SHORT_MS,
	       (int)begin);
}

static void no_vector(struct conform *c)
{
	EXPECT_OK(may_wait(c));
	EXPECT_RESULT(c, ivs_peer_wait(c->peer, c->vectors_n, -1), IVS_PEER_E_VECTOR);
	EXPECT_RESULT(c, ivs_peer_wait(c->peer, c->vectors_n, 0), IVS_PEER_E_VECTOR);
}

static void vector_too_large(struct conform *c)
{
	EXPECT_OK(may_wait(c));
	EXPECT_RESULT(c, ivs_peer_wait(c->peer, 65536, -1), IVS_PEER_E_VECTOR);
	EXPECT_RESULT(c, ivs_peer_wait(c->peer, ~0U, -1), IVS_PEER_E_VECTOR);
}

struct disturber {
	pthread_t whom;
	atomic_bool enough;
};

static void on_signal(int number)
{
	(void)number;
}

/* Send the signal repeatedly, because the first may arrive before the thread waits. */
static void *disturb(void *arg)
{
	struct disturber *disturber = arg;

	while (!disturber->enough) {
		pthread_kill(disturber->whom, SIGUSR2);
		usleep(5000);
	}
	return NULL;
}

static void interrupted_with(struct conform *c, bool next)
{
	const struct sigaction interrupt = {.sa_handler = on_signal};
	struct disturber disturber = {.whom = pthread_self()};
	struct ivs_event event;
	pthread_t thread;
	int result;

	sigaction(SIGUSR2, &interrupt, NULL);
	EXPECT(c, !pthread_create(&thread, NULL, disturb, &disturber), "cannot create a thread");
	/* On a slow host, peers from previous cases may still be leaving. */
	do {
		result = next ? ivs_peer_next(c->peer, LONG_MS, &event)
			      : ivs_peer_wait(c->peer, 0, LONG_MS);
	} while (next && !result);
	disturber.enough = true;
	pthread_join(thread, NULL);
	EXPECT(c, result == -EINTR, "expected -EINTR, got %s", conform_result(result));
}

static void interrupted(struct conform *c)
{
	EXPECT_OK(may_wait(c));
	interrupted_with(c, false);
}

static void next_interrupted(struct conform *c)
{
	struct ivs_event event;

	if (!has_events(c)) {
		conform_unable(c, ivs_peer_next(c->peer, -1, &event), IVS_CAP_WAIT);
		return;
	}
	EXPECT_OK(conform_drain(c, c->peer, 0));
	interrupted_with(c, true);
}

/* Return: whether vectors have fds. If the transport has no vectors, expect -1 for each. */
static bool has_fds(struct conform *c)
{
	if (can(c, IVS_CAP_WAIT))
		return true;
	for (unsigned int vector = 0; vector < c->vectors_n; vector++) {
		if (ivs_peer_vector_fd(c->peer, vector) != -1)
			conform_fail(c, "vector %u has an fd, but does not exist", vector);
	}
	return false;
}

static bool readable(int fd, int ms)
{
	struct pollfd pfd = {.fd = fd, .events = POLLIN};

	return poll(&pfd, 1, ms) == 1 && pfd.revents & POLLIN;
}

static void fd_readable(struct conform *c)
{
	EXPECT_OK(has_fds(c));
	for (unsigned int vector = 0; vector < c->vectors_n; vector++) {
		int fd = ivs_peer_vector_fd(c->peer, vector);

		EXPECT(c, fd >= 0, "vector %u has no fd", vector);
		EXPECT(c, !readable(fd, 0), "vector %u is readable before the ring", vector);
		EXPECT_OK(ask_ring(c, vector, 1));
		EXPECT(c, readable(fd, LONG_MS), "vector %u is not readable after the ring",
		       vector);
		EXPECT_RESULT(c, ivs_peer_wait(c->peer, vector, 0), 0);
		EXPECT(c, !readable(fd, 0), "vector %u is still readable after the wait", vector);
	}
}

static void fd_read(struct conform *c)
{
	uint64_t count = 0;
	int fd;

	EXPECT_OK(has_fds(c));
	fd = ivs_peer_vector_fd(c->peer, 0);
	EXPECT_OK(ask_ring(c, 0, 1));
	EXPECT(c, readable(fd, LONG_MS), "the fd is not readable");
	EXPECT(c, read(fd, &count, sizeof(count)) == sizeof(count) && count,
	       "read(2) returned no count");
	EXPECT_RESULT(c, ivs_peer_wait(c->peer, 0, QUIET_MS), IVS_PEER_E_TIMEOUT);
}

static void fd_absent(struct conform *c)
{
	EXPECT_OK(has_fds(c));
	EXPECT(c, ivs_peer_vector_fd(c->peer, c->vectors_n) == -1,
	       "there is an fd beyond the last vector");
	EXPECT(c, ivs_peer_vector_fd(c->peer, ~0U) == -1, "vector -1 has an fd");
}

static void fd_of_each(struct conform *c)
{
	EXPECT_OK(has_fds(c));
	for (unsigned int a = 0; a < c->vectors_n; a++) {
		int fd = ivs_peer_vector_fd(c->peer, a);

		EXPECT(c, fd == ivs_peer_vector_fd(c->peer, a),
		       "vector %u: the fd differs between two calls", a);
		for (unsigned int b = 0; b < a; b++)
			EXPECT(c, fd != ivs_peer_vector_fd(c->peer, b),
			       "vectors %u and %u share an fd", a, b);
	}
}

const struct conform_case wait_cases[] = {
	{"wait: each vector", each_vector},
	{"wait: only the vector that was rung", no_other},
	{"wait: for vectors that were rung before, in any order", any_order},
	{"wait: consumes the doorbell", taken},
	{"wait: until the vector is rung, with and without a timeout", later},
	{"wait: many doorbells end at least one wait, and at most one each", many},
	{"wait: timeout 0 does not block", only_look},
	{"wait: the timeout is observed", in_vain},
	{"wait: for a vector that does not exist", no_vector},
	{"wait: for a vector above 65535", vector_too_large},
	{"wait: ends when a signal arrives", interrupted},
	{"wait: for any event ends when a signal arrives", next_interrupted},
	{"wait: a vector's fd is readable once the vector was rung", fd_readable},
	{"wait: reading a vector's fd consumes the doorbell", fd_read},
	{"wait: a vector that does not exist has no fd", fd_absent},
	{"wait: each vector has its own fd", fd_of_each},
	{0},
};
