/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Test what ivshmem/peer.h promises about threads, under the thread sanitizer: a peer is rung,
 * rings by id and by handle, waits for a vector, takes events and calls getters in different
 * threads at the same time, while other peers join and leave. This is a plain program because
 * Criterion does not run under that sanitizer.
 */
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "ivshmem/peer.h"
#include "ivshmem/region.h"
#include "server/server.h"

#define ROUNDS 300
#define ROUNDS_MAX 100000
#define VECTORS 2
#define THREADS 6

static char socket_path[64];
static char address[80];
static _Atomic bool done;
static _Atomic unsigned int failures;
static _Atomic unsigned int doorbells;
static _Atomic unsigned int joins;
static _Atomic unsigned int leaves;
static _Atomic unsigned int newest; /* the id of the peer that joined last */
static struct ivs_doorbell *shared; /* handle of the peer's own vector 1, rung by two threads */

static void fail(const char *what, int result)
{
	fprintf(stderr, "peer-threads: %s: %d\n", what, result);
	failures++;
}

static struct ivs_peer *open_peer(void)
{
	const struct ivs_peer_options opts = {.vectors_n = VECTORS, .timeout_ms = 30000};
	struct ivs_peer *peer = NULL;
	struct ivs_error err;

	if (ivs_peer_open(address, &opts, &peer, &err)) {
		fail(err.text, 0);
		abort();
	}
	return peer;
}

/* Take joins, leaves and doorbells until the test is done. */
static void *take_events(void *arg)
{
	struct ivs_event event;

	while (!done) {
		int result = ivs_peer_next(arg, 10, &event);

		if (result == IVS_PEER_E_TIMEOUT)
			continue;
		if (result)
			fail("next", result);
		doorbells += event.type == IVS_EVENT_DOORBELL;
		joins += event.type == IVS_EVENT_JOIN;
		leaves += event.type == IVS_EVENT_LEAVE;
	}
	return NULL;
}

/* Wait for vector 1. The thread in take_events() may receive its doorbells first, which is fine. */
static void *wait_one(void *arg)
{
	while (!done) {
		int result = ivs_peer_wait(arg, 1, 10);

		if (result && result != IVS_PEER_E_TIMEOUT)
			fail("wait", result);
		doorbells += !result;
	}
	return NULL;
}

/* Ring the peer itself, and peers that are joining or leaving. */
static void *ring_all(void *arg)
{
	unsigned int own = (unsigned int)ivs_peer_id(arg);

	for (unsigned int i = 0; !done; i++) {
		int result = ivs_peer_ring(arg, newest + i % 3, i % VECTORS);

		if (result && result != IVS_PEER_E_ABSENT && result != IVS_PEER_E_VECTOR)
			fail("ring", result);
		result = ivs_peer_ring(arg, own, i % VECTORS);
		if (result)
			fail("cannot ring itself", result);
		result = ivs_doorbell_ring(shared);
		if (result)
			fail("cannot ring the shared handle", result);
	}
	return NULL;
}

/* Create handles of peers that are joining or leaving, and ring each one up to ten times. */
static void *ring_handles(void *arg)
{
	for (unsigned int i = 0; !done; i++) {
		struct ivs_doorbell *doorbell = NULL;
		int result = ivs_doorbell_new(arg, newest + i % 3, i % VECTORS, &doorbell);

		if (result && result != IVS_PEER_E_ABSENT && result != IVS_PEER_E_VECTOR)
			fail("cannot create a handle", result);
		for (unsigned int times = 0; times < 10 && !result; times++)
			result = ivs_doorbell_ring(doorbell);
		if (result < 0)
			fail("cannot ring a handle", result);
		ivs_doorbell_free(doorbell);
		result = ivs_doorbell_ring(shared);
		if (result)
			fail("cannot ring the shared handle after another handle", result);
	}
	return NULL;
}

static void *call_getters(void *arg)
{
	unsigned int ids[64];

	while (!done) {
		ivs_peer_roster(arg, ids, 64);
		ivs_peer_vectors_of(arg, 3);
		if (ivs_peer_vectors(arg) != VECTORS || ivs_peer_vector_fd(arg, 1) < 0)
			fail("vectors", 0);
		if (!(ivs_peer_caps(arg) & IVS_CAP_WAIT) || ivs_peer_cap_reason(arg, IVS_CAP_WAIT))
			fail("caps", 0);
	}
	return NULL;
}

static void *come_and_go(void *arg)
{
	unsigned int id = (unsigned int)ivs_peer_id(arg);

	/* Continue until the other threads have seen some events, even on a busy machine. */
	for (unsigned int i = 0; i < ROUNDS || (i < ROUNDS_MAX && !(doorbells && joins && leaves));
	     i++) {
		struct ivs_peer *other = open_peer();
		int result;

		newest = (unsigned int)ivs_peer_id(other);
		result = ivs_peer_ring(other, id, i % VECTORS);

		if (result)
			fail("another peer cannot ring", result);
		ivs_peer_close(other);
	}
	done = true;
	return NULL;
}

static struct ivs_server *server;
static struct ivs_handover keep;
static int signal_fd;

static void *serve(void *arg)
{
	int signo;
	int result = ivs_server_run(server, &signo);

	if (result)
		fail("server", result);
	return arg;
}

static void start_server(struct ivs_region **region)
{
	struct ivs_region_options region_opts = IVS_REGION_OPTIONS_INIT;
	struct ivs_server_options opts = {
		.socket = {.path = socket_path, .uid = (uid_t)-1, .gid = (gid_t)-1},
		.vectors_n = VECTORS,
	};
	struct ivs_error err;
	sigset_t signals;

	region_opts.size = 1 << 20;
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigprocmask(SIG_BLOCK, &signals, NULL); /* inherited by all threads created later */
	signal_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
	snprintf(socket_path, sizeof(socket_path), "/tmp/ivshmem-threads-%d", (int)getpid());
	snprintf(address, sizeof(address), "unix:%s", socket_path);
	if (ivs_region_open("memfd:", &region_opts, region, &err)) {
		fail(err.text, 0);
		abort();
	}
	if (ivs_handover_open(&keep, -1, &err)) {
		fail(err.text, 0);
		abort();
	}
	opts.region = *region;
	opts.handover = &keep;
	if (ivs_server_new(&opts, &server, &err) ||
	    ivs_server_watch_signals(server, signal_fd, &err)) {
		fail(err.text, 0);
		abort();
	}
}

static void *wait_forever(void *arg)
{
	int result;

	while (!(result = ivs_peer_wait(arg, 1, -1)))
		;
	if (result != IVS_PEER_E_STOPPED)
		fail("waiting for a vector did not return STOPPED", result);
	return NULL;
}

static void *take_forever(void *arg)
{
	struct ivs_event event;
	int result;

	while (!(result = ivs_peer_next(arg, -1, &event)))
		;
	if (result != IVS_PEER_E_STOPPED)
		fail("waiting for an event did not return STOPPED", result);
	return NULL;
}

/* Stop the peer while two threads wait or are about to wait. */
static void stop_waiting(struct ivs_peer *peer)
{
	struct ivs_event event;
	pthread_t threads[2];

	pthread_create(&threads[0], NULL, wait_forever, peer);
	pthread_create(&threads[1], NULL, take_forever, peer);
	ivs_peer_stop(peer);
	pthread_join(threads[0], NULL);
	pthread_join(threads[1], NULL);
	if (ivs_peer_wait(peer, 0, 0) != IVS_PEER_E_STOPPED ||
	    ivs_peer_next(peer, 0, &event) != IVS_PEER_E_STOPPED)
		fail("the peer was not stopped", 0);
}

int main(void)
{
	void *(*const runs[THREADS])(void *) = {take_events,  wait_one,	    ring_all,
						ring_handles, call_getters, come_and_go};
	pthread_t threads[THREADS];
	struct ivs_region *region;
	struct ivs_peer *peer;
	pthread_t server_thread;

	start_server(&region);
	pthread_create(&server_thread, NULL, serve, NULL);
	peer = open_peer();
	if (ivs_doorbell_new(peer, (unsigned int)ivs_peer_id(peer), 1, &shared))
		abort();
	for (unsigned int i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, runs[i], peer);
	for (unsigned int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	ivs_doorbell_free(shared);
	stop_waiting(peer);
	ivs_peer_close(peer);
	kill(getpid(), SIGTERM);
	pthread_join(server_thread, NULL);
	ivs_server_free(server);
	ivs_handover_close(&keep);
	ivs_region_close(region);
	close(signal_fd);
	if (!doorbells || !joins || !leaves)
		fail("too few events were received", 0);
	printf("peer-threads: %u doorbells, %u joins, %u leaves, %u failures\n", doorbells, joins,
	       leaves, failures);
	return failures ? 1 : 0;
}
