/* SPDX-License-Identifier: BSD-3-Clause */
/* The transport for a host process that is a client of an ivshmem-server. */
#include <errno.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/eventfd.h"
#include "base/fd.h"
#include "client/greeting.h"
#include "peer/private.h"

/* Maximum number of events per call: a server that keeps sending must not hold up the caller. */
#define RECEIVE_MAX 4096

/**
 * struct unix_state - private data of the transport
 * @connection: guarded by the peer's lock
 * @wanted_n:   number of the peer's own vectors to accept; 0: all
 */
struct unix_state {
	struct ivs_connection connection;
	unsigned int wanted_n;
};

static struct unix_state *unix_state(const struct ivs_peer *peer)
{
	return peer->state;
}

/* Translate a result of src/client to a result of the public API. */
static int unix_result(int result)
{
	switch (result) {
	case IVS_CONNECTION_E_ADDRESS:
		return IVS_PEER_E_ADDRESS;
	case IVS_CONNECTION_E_ABSENT:
		return IVS_PEER_E_ABSENT;
	case IVS_CONNECTION_E_BUSY:
	case IVS_CONNECTION_E_TIMEOUT:
		return IVS_PEER_E_TIMEOUT;
	case IVS_CONNECTION_E_LOST:
		return IVS_PEER_E_SERVER_LOST;
	case IVS_CONNECTION_E_PROTOCOL:
		return IVS_PEER_E_PROTOCOL;
	default: /* 0, -errno, or IVS_CONNECTION_E_AGAIN: the greeting is complete */
		return result < 0 ? result : 0;
	}
}

static int unix_take_region(struct ivs_peer *peer, int fd, struct ivs_error *err)
{
	struct stat st;

	if (fstat(fd, &st))
		return ivs_error_errno(err, errno, "cannot query the size of the region");
	ivs_peer_roster_note(peer, fd, (uint64_t)st.st_size);
	return ivs_peer_map(peer, fd, 0, (uint64_t)st.st_size, err);
}

/* Ignore surplus vectors: the server may assign more than the caller wants. */
static int unix_take_vector(struct ivs_peer *peer, int *fd, struct ivs_error *err)
{
	unsigned int wanted_n = unix_state(peer)->wanted_n;
	int result;

	if (wanted_n && peer->vectors_n == wanted_n)
		return 0;
	result = ivs_peer_add_vector(peer, fd);
	if (result)
		return ivs_error_errno(err, -result, "cannot add a vector");
	ivs_peer_allow(peer, IVS_CAP_WAIT);
	return 0;
}

/* Return: 0 or -errno. */
static int unix_take_event(struct ivs_peer *peer, const struct ivs_connection_event *event,
			   struct ivs_error *err)
{
	IVS_OWNED_FD fd = event->fd;

	switch (event->type) {
	case IVS_CONNECTION_ID:
		peer->id = (int)event->id;
		return 0;
	case IVS_CONNECTION_REGION:
		return unix_take_region(peer, fd, err);
	case IVS_CONNECTION_VECTOR:
		return unix_take_vector(peer, &fd, err);
	case IVS_CONNECTION_PEER:
		break;
	}
	return 0;
}

static int unix_greet(struct ivs_peer *peer, const char *path, const struct ivs_peer_options *opts,
		      struct ivs_error *err)
{
	struct ivs_connection *connection = &unix_state(peer)->connection;
	unsigned int timeout_ms = opts->timeout_ms < INT_MAX ? opts->timeout_ms : INT_MAX;
	struct ivs_greeting greeting = {
		.wanted_n = opts->vectors_n,
		.deadline_ns = ivs_clock_deadline((int)timeout_ms),
	};
	struct ivs_connection_event event;
	int result;

	result = ivs_greeting_connect(&greeting, connection, path, err);
	while (!result) {
		result = ivs_greeting_next(&greeting, connection, &event, err);
		if (!result)
			result = unix_take_event(peer, &event, err);
	}
	return unix_result(result);
}

static void unix_lose_server(struct ivs_peer *peer)
{
	ivs_connection_close(&unix_state(peer)->connection); /* the socket leaves the epoll, too */
	peer->server_lost = true;
	ivs_peer_deny(peer, IVS_CAP_ROSTER, "the server is gone");
}

/* Called before each ring by id: poll(2) costs half as much as recvmsg(2). */
static bool unix_has_input(const struct ivs_connection *connection)
{
	struct pollfd pfd = {.fd = connection->sock, .events = POLLIN};

	return connection->sock >= 0 && poll(&pfd, 1, 0) == 1;
}

static int unix_receive(struct ivs_peer *peer)
{
	struct ivs_connection *connection = &unix_state(peer)->connection;
	struct ivs_connection_event event;
	int result = 0;

	if (!unix_has_input(connection))
		return 0;
	for (unsigned int n = 0; n < RECEIVE_MAX && !result; n++) {
		result = ivs_connection_next(connection, &event, NULL);
		if (!result)
			result = unix_take_event(peer, &event, NULL);
	}
	if (result && result != IVS_CONNECTION_E_AGAIN)
		unix_lose_server(peer);
	return ivs_eventfd_signal(peer->pending_fd);
}

static bool unix_next_change(struct ivs_peer *peer, struct ivs_peer_change *change)
{
	return ivs_doorbells_report(&unix_state(peer)->connection.doorbells, change);
}

static bool unix_is_reported(const struct ivs_peer *peer, unsigned int id)
{
	return ivs_doorbells_is_reported(&unix_state(peer)->connection.doorbells, id);
}

static unsigned int unix_vectors_of(const struct ivs_peer *peer, unsigned int id)
{
	return ivs_doorbells_vectors(&unix_state(peer)->connection.doorbells, id);
}

/* Takes no lock, so that if an untrusted peer makes the write block, only this thread blocks. */
static int unix_ring(const struct ivs_doorbell *doorbell)
{
	if (doorbell->set && ivs_doorbell_set_has_left(doorbell->set))
		return IVS_PEER_E_ABSENT;
	return ivs_eventfd_signal(doorbell->fd);
}

static int unix_doorbell(struct ivs_peer *peer, struct ivs_doorbell *out)
{
	out->ring = unix_ring;
	if ((int)out->id == peer->id) {
		out->fd = ivs_peer_vector_fd(peer, out->vector);
		return out->fd < 0 ? IVS_PEER_E_VECTOR : 0;
	}
	pthread_mutex_lock(&peer->lock);
	out->set = ivs_doorbells_get(&unix_state(peer)->connection.doorbells, out->id);
	if (out->set && out->vector < out->set->fds_n)
		out->fd = out->set->fds[out->vector];
	if (out->fd < 0)
		ivs_doorbell_set_put(out->set);
	pthread_mutex_unlock(&peer->lock);
	if (!out->set)
		return IVS_PEER_E_ABSENT;
	return out->fd < 0 ? IVS_PEER_E_VECTOR : 0;
}

static void unix_release(struct ivs_peer *peer, struct ivs_doorbell *doorbell)
{
	pthread_mutex_lock(&peer->lock);
	ivs_doorbell_set_put(doorbell->set);
	pthread_mutex_unlock(&peer->lock);
}

static void unix_close(struct ivs_peer *peer)
{
	ivs_connection_deinit(&unix_state(peer)->connection);
}

static const struct ivs_transport_ops unix_ops = {
	.name = "unix",
	.state_len = sizeof(struct unix_state),
	.close = unix_close,
	.doorbell = unix_doorbell,
	.release = unix_release,
	.receive = unix_receive,
	.next_change = unix_next_change,
	.is_reported = unix_is_reported,
	.vectors_of = unix_vectors_of,
};

int ivs_unix_open(struct ivs_peer *peer, const char *name, const struct ivs_peer_options *opts,
		  struct ivs_error *err)
{
	int result = ivs_peer_set_transport(peer, &unix_ops, err);

	if (result)
		return result;
	unix_state(peer)->connection = (struct ivs_connection)IVS_CONNECTION_INIT;
	unix_state(peer)->wanted_n = opts->vectors_n;
	result = unix_greet(peer, name, opts, err);
	if (result)
		return result;
	result = ivs_peer_watch_changes(peer);
	if (!result)
		result = ivs_peer_watch(peer, unix_state(peer)->connection.sock, EPOLLIN,
					IVS_TAG_SERVER);
	if (result)
		return ivs_error_errno(err, -result, "cannot watch the server");
	ivs_peer_allow(peer, IVS_CAP_CACHED);
	ivs_peer_allow(peer, IVS_CAP_ID);
	ivs_peer_allow(peer, IVS_CAP_RING);
	ivs_peer_allow(peer, IVS_CAP_ROSTER);
	if (!peer->vectors_n)
		ivs_peer_deny(peer, IVS_CAP_WAIT,
			      "the server assigns no vectors: start it with -n 1 or more");
	return 0;
}
