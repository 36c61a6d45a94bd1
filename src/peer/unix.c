/* SPDX-License-Identifier: BSD-3-Clause */
/* The transport for a host process that is a client of an ivshmem-server. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/eventfd.h"
#include "client/greeting.h"
#include "peer/worker.h"
#include "peer/private.h"
#include "region/received.h"

/* Maximum number of events per call: a server that keeps sending must not hold up the caller. */
#define RECEIVE_MAX 4096

#define WHY_FD                                                                                     \
	"the server has sent the region for reading only: to write, start the server with a "      \
	"region that clients may write to"
#define WHY_SEALS                                                                                  \
	"the server's region is sealed against writing: to write, start the server with a "        \
	"different region"

#define DOORBELLS_DEFAULT 100000 /* used if the process has no limit on fds */

/* How long opening waits for the worker if too many fds have yet to be closed. */
#define BACKLOG_MS 1000

/* How long a failed opening waits for the worker, so that usually no fd is left when it returns. */
#define FAILED_MS 100

/* How long other calls wait for the worker: 90 ms, plus a tenth of the time that has passed. */
#define PATIENCE_MS 90

/**
 * struct unix_state - private data of the transport
 * @connection:    guarded by the peer's lock
 * @wanted_n:      number of the peer's own vectors to accept; 0: all
 * @doorbells_max: as in struct ivs_peer_options, but not 0
 * @worker:        closes and unmaps what the server has sent; watches vectors that arrive late
 * @is_late:       the last wait for @worker was too short
 * @patience_ns:   how long to wait for @worker, as of @waited_ns
 * @paused:        nothing is received until @worker has done @resume
 * @any_file_system: as in struct ivs_peer_options
 * @timeout_ms:    as in struct ivs_peer_options
 * @deadline_ns:   deadline of ivs_peer_open(); IVS_CLOCK_NEVER once the peer is open
 */
struct unix_state {
	struct ivs_connection connection;
	unsigned int wanted_n;
	unsigned int doorbells_max;
	struct ivs_worker *worker;
	bool is_late;
	int64_t patience_ns;
	int64_t waited_ns;
	bool paused;
	uint64_t resume;
	bool any_file_system;
	int timeout_ms;
	int64_t deadline_ns;
};

static struct unix_state *unix_state(const struct ivs_peer *peer)
{
	return peer->state;
}

static bool unix_is_open(const struct ivs_peer *peer)
{
	return unix_state(peer)->deadline_ns == IVS_CLOCK_NEVER;
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
	default: /* 0, -errno, or IVS_CONNECTION_E_AGAIN (the greeting is complete) */
		return result < 0 ? result : 0;
	}
}

/* Called before any request to the region's file system, which could delay its answer. */
static int unix_check_region(const struct ivs_peer *peer, int fd, struct ivs_error *err)
{
	struct ivs_received_mounts mounts;
	struct ivs_received received;

	ivs_received_mounts_open(&mounts);
	ivs_received_look(&mounts, fd, &received);
	ivs_received_mounts_close(&mounts);
	if (received.kind != IVS_RECEIVED_OTHER)
		return 0;
	return ivs_error_set(
		err, IVS_CONNECTION_E_PROTOCOL,
		"the region of the server at %s is neither memory nor a file on a local "
		"disk (file system: %s), so it can make this process wait forever: start "
		"the server with memfd: or shm:, or set any_file_system (option "
		"--any-file-system)",
		unix_state(peer)->connection.addr.sun_path, received.file_system);
}

/* A process that may write to the region can give it any size before the server sends it. */
static int unix_check_size(const struct ivs_peer *peer, const struct stat *st,
			   struct ivs_error *err)
{
	long page_len = sysconf(_SC_PAGESIZE);

	if (st->st_size > 0 && (uint64_t)st->st_size <= SIZE_MAX / 2 && !(st->st_size % page_len))
		return 0;
	return ivs_error_set(err, IVS_CONNECTION_E_PROTOCOL,
			     "the region of the server at %s has %lld bytes, which is not a "
			     "multiple of the page size (%ld bytes): a process has changed its "
			     "size; start the server with a new region (memfd: cannot be resized)",
			     unix_state(peer)->connection.addr.sun_path, (long long)st->st_size,
			     page_len);
}

/* The server decides whether clients may write: an fd keeps the access with which it was opened. */
static void unix_check_access(struct ivs_peer *peer, int fd)
{
	int flags = fcntl(fd, F_GETFL);
	int seals = fcntl(fd, F_GET_SEALS);

	if (peer->read_only)
		return;
	if (flags >= 0 && (flags & O_ACCMODE) == O_RDONLY)
		peer->read_only = WHY_FD;
	else if (seals >= 0 && seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE))
		peer->read_only = WHY_SEALS;
}

/* Some errors mean that the server sent a bad fd. Return: IVS_CONNECTION_E_PROTOCOL, -errno. */
static int unix_map_error(const struct ivs_peer *peer, int result, struct ivs_error *err)
{
	if (result != -EACCES && result != -EPERM && result != -EBADF && result != -ENODEV)
		return result;
	return ivs_error_set(err, IVS_CONNECTION_E_PROTOCOL,
			     "the region of the server at %s cannot be mapped for reading%s: %s",
			     unix_state(peer)->connection.addr.sun_path,
			     peer->read_only ? "" : " and writing", strerrordesc_np(-result));
}

/* Take over the region's file to watch it, unless its file system could make statx(2) block. */
static int unix_watch_region(struct ivs_peer *peer, int *fd, struct ivs_error *err)
{
	int result = 0;

	if (!unix_state(peer)->any_file_system || ivs_received_is_memory(*fd))
		result = ivs_peer_region_open(peer, fd, NULL);
	return result ? ivs_error_errno(err, -result, "cannot watch the region") : 0;
}

/* Return: 0, IVS_CONNECTION_E_PROTOCOL, -errno. */
static int unix_take_region(struct ivs_peer *peer, int *fd, struct ivs_error *err)
{
	struct stat st;
	int result = 0;

	if (!unix_state(peer)->any_file_system)
		result = unix_check_region(peer, *fd, err);
	if (result)
		return result;
	if (fstat(*fd, &st))
		return ivs_error_errno(err, errno, "cannot query the size of the region");
	result = unix_check_size(peer, &st, err);
	if (result)
		return result;
	unix_check_access(peer, *fd);
	result = ivs_peer_map(peer, *fd, 0, (uint64_t)st.st_size, err);
	if (result)
		return unix_map_error(peer, result, err);
	ivs_peer_roster_note(peer, *fd);
	return unix_watch_region(peer, fd, err);
}

/* Return: how long to wait for the worker now. */
static int64_t unix_patience(const struct unix_state *state, int64_t now_ns)
{
	int64_t patience_ns = state->patience_ns + (now_ns - state->waited_ns) / 10;

	return patience_ns < PATIENCE_MS * IVS_NS_PER_MS ? patience_ns
							 : PATIENCE_MS * IVS_NS_PER_MS;
}

/*
 * Wait until the worker has finished all queued jobs. If one wait was too short for that, later
 * calls do not wait at all as long as jobs are left. A single call by the application can reach
 * this function many times, so the sum of all waits in a period is limited to PATIENCE_MS plus a
 * tenth of the period.
 */
static void unix_settle(struct unix_state *state)
{
	int64_t began_ns;

	if (!ivs_worker_backlog(state->worker)) {
		state->is_late = false;
		return;
	}
	if (state->is_late)
		return;
	began_ns = ivs_clock_ns();
	state->patience_ns = unix_patience(state, began_ns);
	state->is_late = !ivs_worker_wait(state->worker, began_ns + state->patience_ns);
	state->waited_ns = ivs_clock_ns();
	state->patience_ns -= state->waited_ns - began_ns;
	if (state->patience_ns < 0)
		state->patience_ns = 0;
}

/* The limit also covers the peer's own vectors. A limit of 0 would mean that there is none. */
static void unix_set_limit(struct ivs_peer *peer)
{
	struct unix_state *state = unix_state(peer);
	unsigned int others_max = state->doorbells_max - peer->vectors_n;

	state->connection.doorbells.fds_limit = others_max ? others_max : 1;
}

/* Add a vector to a peer that is open. Return: 0, -errno. */
static int unix_add_late_vector(struct ivs_peer *peer, int *fd)
{
	unsigned int vector = peer->vectors_n;
	int result = ivs_peer_keep_vector(peer, fd);

	if (!result && vector < peer->vectors_n)
		ivs_worker_watch(unix_state(peer)->worker, peer->epoll_fd, peer->vectors[vector],
				 vector);
	return result;
}

/* Ignore surplus vectors: the server may assign more than the caller wants. */
static int unix_take_vector(struct ivs_peer *peer, int *fd, struct ivs_error *err)
{
	struct unix_state *state = unix_state(peer);
	int result;

	if (peer->vectors_n == (state->wanted_n ? state->wanted_n : state->doorbells_max))
		return 0;
	result = unix_is_open(peer) ? unix_add_late_vector(peer, fd)
				    : ivs_peer_add_vector(peer, fd);
	if (result)
		return ivs_error_errno(err, -result, "cannot add a vector");
	unix_set_limit(peer);
	ivs_peer_allow(peer, IVS_CAP_WAIT);
	return 0;
}

/* A server that sends faster than fds can be closed must not use up all of the process's fds. */
static bool unix_is_full(const struct unix_state *state)
{
	return ivs_worker_backlog(state->worker) > state->doorbells_max / 2;
}

/* Return: 0, IVS_CONNECTION_E_PROTOCOL, -errno. */
static int unix_take_event(struct ivs_peer *peer, struct ivs_connection_event *event,
			   struct ivs_error *err)
{
	int result = 0;

	switch (event->type) {
	case IVS_CONNECTION_ID:
		peer->id = (int)event->id;
		break;
	case IVS_CONNECTION_REGION:
		result = unix_take_region(peer, &event->fd, err);
		break;
	case IVS_CONNECTION_VECTOR:
		result = unix_take_vector(peer, &event->fd, err);
		break;
	case IVS_CONNECTION_PEER:
		break;
	}
	ivs_dispose(unix_state(peer)->connection.disposal, &event->fd);
	return result;
}

/* Return: 0; IVS_CONNECTION_E_PROTOCOL: too many of the server's fds cannot be closed. */
static int unix_make_room(const struct ivs_peer *peer, struct ivs_error *err)
{
	const struct unix_state *state = unix_state(peer);
	int64_t until_ns = ivs_clock_deadline(BACKLOG_MS);

	if (until_ns > state->deadline_ns)
		until_ns = state->deadline_ns;
	if (!unix_is_full(state) || ivs_worker_wait(state->worker, until_ns))
		return 0;
	return ivs_error_set(
		err, IVS_CONNECTION_E_PROTOCOL,
		"the server at %s has sent too many fds that cannot be closed immediately",
		state->connection.addr.sun_path);
}

static int unix_greet(struct ivs_peer *peer, const char *path, const struct ivs_peer_options *opts,
		      struct ivs_error *err)
{
	struct ivs_connection *connection = &unix_state(peer)->connection;
	struct ivs_greeting greeting = {
		.wanted_n = opts->vectors_n,
		.deadline_ns = unix_state(peer)->deadline_ns,
	};
	struct ivs_connection_event event;
	int result;

	result = ivs_greeting_connect(&greeting, connection, path, err);
	while (!result) {
		result = ivs_greeting_next(&greeting, connection, &event, err);
		if (!result)
			result = unix_take_event(peer, &event, err);
		if (!result)
			result = unix_make_room(peer, err);
	}
	return unix_result(result);
}

/*
 * Remove the socket from the epoll instance first. Closing the socket does not remove it while
 * another process, such as a child, also has it open; the epoll instance would then report the end
 * of input forever.
 */
static void unix_lose_server(struct ivs_peer *peer)
{
	ivs_peer_unwatch(peer, unix_state(peer)->connection.sock);
	ivs_connection_close(&unix_state(peer)->connection);
	peer->server_lost = true;
	ivs_peer_deny(peer, IVS_CAP_ROSTER, "the server is gone");
}

/* Called before each ring by id: poll(2) costs half as much as recvmsg(2). */
static bool unix_has_input(const struct ivs_connection *connection)
{
	struct pollfd pfd = {.fd = connection->sock, .events = POLLIN};

	return connection->sock >= 0 && poll(&pfd, 1, 0) == 1;
}

/* Receive nothing more until the worker has finished all its jobs. */
static void unix_pause(struct ivs_peer *peer)
{
	struct unix_state *state = unix_state(peer);
	int sock = state->connection.sock;

	ivs_peer_mute(peer, sock, IVS_TAG_SERVER);
	state->resume = ivs_worker_rewatch(state->worker, peer->epoll_fd, sock, IVS_TAG_SERVER);
	state->paused = true;
}

static bool unix_is_paused(struct unix_state *state)
{
	if (state->paused)
		state->paused = !ivs_worker_has_done(state->worker, state->resume);
	return state->paused;
}

/* Receive the pending events, if there is room for them. Return: like ivs_connection_next(). */
static int unix_receive_events(struct ivs_peer *peer)
{
	struct unix_state *state = unix_state(peer);
	struct ivs_connection_event event;
	int result = 0;

	for (unsigned int n = 0; n < RECEIVE_MAX && !result; n++) {
		if (unix_is_full(state)) {
			unix_settle(state);
			if (unix_is_full(state))
				break;
		}
		result = ivs_connection_next(&state->connection, &event, NULL);
		if (!result)
			result = unix_take_event(peer, &event, NULL);
	}
	return result;
}

static int unix_receive(struct ivs_peer *peer)
{
	struct unix_state *state = unix_state(peer);
	int result;

	if (unix_is_paused(state) || !unix_has_input(&state->connection))
		return 0;
	result = unix_receive_events(peer);
	unix_settle(state);
	if ((result && result != IVS_CONNECTION_E_AGAIN) || ivs_worker_error(state->worker)) {
		unix_lose_server(peer);
		unix_settle(state);
	} else if (unix_is_full(state)) {
		unix_pause(peer);
	}
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

/* Take no lock, so that if an untrusted peer makes the write block, only this thread blocks. */
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
	unix_settle(unix_state(peer));
	pthread_mutex_unlock(&peer->lock);
}

static void unix_close(struct ivs_peer *peer)
{
	struct unix_state *state = unix_state(peer);
	int wait_ms = unix_is_open(peer) ? state->timeout_ms : FAILED_MS;

	if (!state->worker)
		return;
	if (peer->memory)
		ivs_worker_unmap(state->worker, peer->memory, peer->memory_len);
	peer->memory = NULL;
	ivs_connection_deinit(&state->connection);
	for (unsigned int i = 0; i < peer->vectors_n; i++)
		ivs_dispose(state->connection.disposal, &peer->vectors[i]);
	ivs_dispose(state->connection.disposal, &peer->file.fd);
	/* The thread may be about to add a vector to the epoll instance. */
	if (!ivs_worker_wait(state->worker, ivs_clock_deadline(wait_ms)))
		ivs_dispose(state->connection.disposal, &peer->epoll_fd);
	ivs_worker_free(state->worker);
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

static unsigned int unix_default_doorbells(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur / 2 > DOORBELLS_DEFAULT)
		return DOORBELLS_DEFAULT;
	return limit.rlim_cur > 1 ? (unsigned int)limit.rlim_cur / 2 : 1;
}

static int unix_init(struct ivs_peer *peer, const struct ivs_peer_options *opts,
		     struct ivs_error *err)
{
	struct unix_state *state;
	int result = ivs_peer_set_transport(peer, &unix_ops, err);

	if (result)
		return result;
	state = unix_state(peer);
	state->worker = ivs_worker_new();
	if (!state->worker)
		return ivs_error_errno(err, ENOMEM, "cannot prepare a connection");
	state->connection = (struct ivs_connection)IVS_CONNECTION_INIT;
	state->connection.disposal = ivs_worker_disposal(state->worker);
	state->wanted_n = opts->vectors_n;
	state->any_file_system = opts->any_file_system;
	state->doorbells_max = opts->doorbells_max ? opts->doorbells_max : unix_default_doorbells();
	state->timeout_ms = opts->timeout_ms < INT_MAX ? (int)opts->timeout_ms : INT_MAX;
	state->deadline_ns = ivs_clock_deadline(state->timeout_ms);
	unix_set_limit(peer);
	return 0;
}

int ivs_unix_open(struct ivs_peer *peer, const char *name, const struct ivs_peer_options *opts,
		  struct ivs_error *err)
{
	int result = unix_init(peer, opts, err);

	if (result)
		return result;
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
	(void)ivs_worker_wait(unix_state(peer)->worker, unix_state(peer)->deadline_ns);
	unix_state(peer)->deadline_ns = IVS_CLOCK_NEVER;
	return 0;
}
