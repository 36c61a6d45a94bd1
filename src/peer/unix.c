/* SPDX-License-Identifier: BSD-3-Clause */
/* The way in for a host process: the socket of an ivshmem-server. */
#include <errno.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <time.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/eventfd.h"
#include "base/fd.h"
#include "peer/private.h"

/* A server does not say when it has told everything: it has when it says nothing for so long. */
#define QUIET_MS 100

/* So that one call does not go on as long as a server talks. */
#define HEAR_MAX 4096

#define CONNECT_PAUSE_NS 10000000

/* What is known of the greeting while ivs_peer_open() waits for its end. */
struct greeting {
	const char *path;
	unsigned int wanted_n; /* own vectors; 0: all */
	unsigned int others_n; /* the most vectors that another peer has */
	int64_t deadline;
};

/* Until the server accepts: no event tells when it does. */
static int connect_server(struct ivs_peer *peer, const struct greeting *greeting,
			  struct ivs_error *err)
{
	const struct timespec pause = {.tv_nsec = CONNECT_PAUSE_NS};
	int result;

	for (;;) {
		result = ivs_connection_connect(&peer->connection, greeting->path, err);
		if (result != IVS_PEER_E_TIMEOUT || !ivs_clock_left_ms(greeting->deadline))
			return result;
		nanosleep(&pause, NULL);
	}
}

static int take_memory(struct ivs_peer *peer, int fd, struct ivs_error *err)
{
	struct stat st;

	if (fstat(fd, &st))
		return ivs_error_errno(err, errno, "cannot look at the region");
	ivs_peer_roster_note(peer, fd, (uint64_t)st.st_size);
	return ivs_peer_map(peer, fd, 0, (uint64_t)st.st_size, err);
}

/* An own vector, of which there may be more than the caller wants. */
static int take_vector(struct ivs_peer *peer, unsigned int wanted_n, int *fd, struct ivs_error *err)
{
	int result;

	if (wanted_n && peer->vectors_n == wanted_n)
		return 0;
	result = ivs_peer_add_vector(peer, fd);
	if (result)
		return ivs_error_errno(err, -result, "cannot take a vector of one's own");
	ivs_peer_allow(peer, IVS_CAP_WAIT);
	return 0;
}

/* One message, greeting or later. Return: as ivs_connection_next(). */
static int hear_one(struct ivs_peer *peer, struct ivs_v0_message *msg,
		    const struct greeting *greeting, struct ivs_error *err)
{
	IVS_OWNED_FD fd = -1;
	int result;

	result = ivs_connection_next(&peer->connection, greeting->path, msg, err);
	if (result)
		return result;
	fd = msg->fd;
	if (msg->type == IVS_V0_ID)
		peer->id = (int)msg->id;
	if (msg->type == IVS_V0_MEMORY)
		return take_memory(peer, fd, err);
	return fd < 0 ? 0 : take_vector(peer, greeting->wanted_n, &fd, err);
}

static bool is_complete(const struct ivs_peer *peer, const struct greeting *greeting)
{
	if (!peer->memory)
		return false;
	if (greeting->wanted_n)
		return peer->vectors_n == greeting->wanted_n;
	return peer->vectors_n && peer->vectors_n == greeting->others_n;
}

static int greeting_timeout(const struct ivs_peer *peer, const struct greeting *greeting,
			    struct ivs_error *err)
{
	if (!peer->memory)
		return ivs_error_set(err, IVS_PEER_E_TIMEOUT,
				     "the server at %s accepted the connection and is silent",
				     greeting->path);
	return ivs_error_set(err, IVS_PEER_E_TIMEOUT,
			     "the server at %s gave %u vectors, not %u: start it with -n %u",
			     greeting->path, peer->vectors_n, greeting->wanted_n,
			     greeting->wanted_n);
}

/* Whether what may still come can be done without. */
static bool is_enough(const struct ivs_peer *peer, const struct greeting *greeting)
{
	return peer->memory && !greeting->wanted_n;
}

/* Wait for more. Return: 0 to go on, 1 when the greeting is over, else as ivs_peer_open(). */
static int await_message(const struct ivs_peer *peer, const struct greeting *greeting,
			 struct ivs_error *err)
{
	struct pollfd pfd = {.fd = peer->connection.sock, .events = POLLIN};
	bool enough = is_enough(peer, greeting);
	int left_ms = ivs_clock_left_ms(greeting->deadline);
	int n;

	if (enough && left_ms > QUIET_MS)
		left_ms = QUIET_MS;
	n = poll(&pfd, 1, left_ms);
	if (n < 0)
		return errno == EINTR ? 0 : ivs_error_errno(err, errno, "cannot poll");
	if (n)
		return 0;
	return enough ? 1 : -ETIMEDOUT;
}

static int receive_greeting(struct ivs_peer *peer, struct greeting *greeting, struct ivs_error *err)
{
	struct ivs_v0_message msg;
	unsigned int vectors_n;
	int result;

	while (!is_complete(peer, greeting)) {
		/* A server that talks without pause has no more time than a silent one. */
		if (!ivs_clock_left_ms(greeting->deadline))
			return is_enough(peer, greeting) ? 0
							 : greeting_timeout(peer, greeting, err);
		result = hear_one(peer, &msg, greeting, err);
		if (result == IVS_PEER_E_TIMEOUT) {
			result = await_message(peer, greeting, err);
			if (result == -ETIMEDOUT)
				return greeting_timeout(peer, greeting, err);
			if (result)
				return result < 0 ? result : 0;
			continue;
		}
		if (result)
			return result;
		vectors_n = ivs_doorbells_vectors(&peer->connection.doorbells, msg.id);
		if (msg.type == IVS_V0_VECTOR && vectors_n > greeting->others_n)
			greeting->others_n = vectors_n;
	}
	return 0;
}

static void lose_server(struct ivs_peer *peer)
{
	ivs_connection_close(&peer->connection); /* and with it goes its place in the epoll */
	peer->lost = true;
	ivs_peer_deny(peer, IVS_CAP_ROSTER, "the server is gone");
}

static int hear_unix(struct ivs_peer *peer)
{
	const struct greeting known = {.path = "", .wanted_n = peer->wanted_n};
	struct ivs_v0_message msg;
	int result = 0;

	for (unsigned int i = 0; i < HEAR_MAX && !result; i++)
		result = hear_one(peer, &msg, &known, NULL);
	if (result && result != IVS_PEER_E_TIMEOUT)
		lose_server(peer);
	return ivs_eventfd_signal(peer->pending);
}

static int open_unix(struct ivs_peer *peer, const char *name, const struct ivs_peer_options *opts,
		     struct ivs_error *err)
{
	struct greeting greeting = {
		.path = name,
		.wanted_n = opts->vectors_n,
		.deadline = ivs_clock_deadline(opts->timeout_ms < INT_MAX ? (int)opts->timeout_ms
									  : INT_MAX),
	};
	int result;

	peer->name = "unix";
	peer->wanted_n = opts->vectors_n;
	result = connect_server(peer, &greeting, err);
	if (!result)
		result = receive_greeting(peer, &greeting, err);
	if (result)
		return result;
	peer->pending = eventfd(1, EFD_NONBLOCK | EFD_CLOEXEC);
	if (peer->pending < 0)
		return ivs_error_errno(err, errno, "cannot make an eventfd");
	result = ivs_peer_watch(peer, peer->pending, EPOLLIN, IVS_TAG_PENDING);
	if (!result)
		result = ivs_peer_watch(peer, peer->connection.sock, EPOLLIN, IVS_TAG_SERVER);
	if (result)
		return ivs_error_errno(err, -result, "cannot watch the server");
	ivs_peer_allow(peer, IVS_CAP_CACHED);
	ivs_peer_allow(peer, IVS_CAP_ID);
	ivs_peer_allow(peer, IVS_CAP_RING);
	ivs_peer_allow(peer, IVS_CAP_ROSTER);
	if (!peer->vectors_n)
		ivs_peer_deny(peer, IVS_CAP_WAIT,
			      "the server gives no vectors: start it with -n 1 or more");
	return 0;
}

static void close_unix(struct ivs_peer *peer)
{
	ivs_fd_close(&peer->pending);
	ivs_connection_deinit(&peer->connection);
}

/* What is rung by one call of ivs_peer_ring(). */
struct target {
	struct ivs_doorbell_set *doorbells;
	int fd; /* -1: there is no such vector */
};

static struct target get_target(struct ivs_peer *peer, unsigned int id, unsigned int vector)
{
	struct target target = {.fd = -1};

	pthread_mutex_lock(&peer->lock);
	target.doorbells = ivs_doorbells_get(&peer->connection.doorbells, id);
	if (target.doorbells && vector < target.doorbells->fds_n)
		target.fd = target.doorbells->fds[vector];
	pthread_mutex_unlock(&peer->lock);
	return target;
}

static void put_target(struct ivs_peer *peer, const struct target *target)
{
	pthread_mutex_lock(&peer->lock);
	ivs_doorbell_set_put(target->doorbells);
	pthread_mutex_unlock(&peer->lock);
}

/* Take in what the server has said, if anything. Return: 1 if there was something, 0, -errno. */
static int catch_up(struct ivs_peer *peer)
{
	struct pollfd pfd = {.events = POLLIN};
	int result;

	pthread_mutex_lock(&peer->lock);
	pfd.fd = peer->connection.sock;
	result = poll(&pfd, 1, 0) == 1 && peer->connection.sock >= 0;
	if (result && hear_unix(peer) < 0)
		result = -EIO;
	pthread_mutex_unlock(&peer->lock);
	return result;
}

/*
 * The server's news first: the id may belong to somebody else by now. The write is not under the
 * lock: should a stranger manage to make it wait, then it is this thread alone that does.
 */
static int ring_unix(struct ivs_peer *peer, unsigned int id, unsigned int vector)
{
	struct target target;
	int result;

	if (id == (unsigned int)peer->id) {
		int fd = ivs_peer_vector_fd(peer, vector);

		return fd < 0 ? IVS_PEER_E_VECTOR : ivs_eventfd_signal(fd);
	}
	result = catch_up(peer);
	if (result < 0)
		return result;
	target = get_target(peer, id, vector);
	if (!target.doorbells)
		return IVS_PEER_E_ABSENT;
	result = target.fd < 0 ? IVS_PEER_E_VECTOR : ivs_eventfd_signal(target.fd);
	put_target(peer, &target);
	return result;
}

const struct ivs_transport_ops ivs_transport_unix = {
	.open = open_unix,
	.close = close_unix,
	.ring = ring_unix,
	.hear = hear_unix,
};
