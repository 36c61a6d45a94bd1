/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Waiting for a doorbell or for the next event of any kind, and ivs_peer_stop(), which ends waits.
 */
#include <errno.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "base/clock.h"
#include "base/eventfd.h"
#include "peer/private.h"

/*
 * After its timeout ivs_peer_next() makes at most this many rounds while the epoll instance is
 * readable. A round may yield no event, because it only received from the server, or because an
 * untrusted peer drained the doorbell first.
 */
#define LATE_ROUNDS_MAX 8

/* If there is no fd to wait for, no call blocks, so no @stop_fd is needed. */
int ivs_peer_open_wait(struct ivs_peer *peer)
{
	int result = 0;

	if (peer->gone_fd >= 0)
		result = ivs_peer_watch(peer, peer->gone_fd, peer->gone_events, IVS_TAG_GONE);
	if (result || peer->epoll_fd < 0)
		return result;
	peer->stop_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (peer->stop_fd < 0)
		return -errno;
	return ivs_peer_watch(peer, peer->stop_fd, EPOLLIN, IVS_TAG_STOP);
}

void ivs_peer_stop(struct ivs_peer *peer)
{
	__atomic_store_n(&peer->stopped, true, __ATOMIC_RELEASE);
	if (peer->stop_fd >= 0)
		eventfd_write(peer->stop_fd, 1); /* it fails only if @stop_fd is already readable */
}

static bool peer_is_stopped(const struct ivs_peer *peer)
{
	return __atomic_load_n(&peer->stopped, __ATOMIC_ACQUIRE);
}

/*
 * After fork(2), two processes share the eventfd but not @stopped; ignore a stop by the other
 * process.
 */
static int peer_check_stop(const struct ivs_peer *peer)
{
	return peer_is_stopped(peer) ? IVS_PEER_E_STOPPED : ivs_eventfd_take(peer->stop_fd);
}

/*
 * The driver rings all vectors when the device is removed, so report the removal, not a doorbell.
 */
static int peer_taken(const struct ivs_peer *peer)
{
	return ivs_peer_is_gone(peer) ? IVS_PEER_E_DEVICE_GONE : 0;
}

static int peer_set_gone(struct ivs_peer *peer)
{
	__atomic_store_n(&peer->gone, true, __ATOMIC_RELEASE);
	return IVS_PEER_E_DEVICE_GONE;
}

static int peer_wait_fd(struct ivs_peer *peer, int fd, int timeout_ms)
{
	int64_t deadline = ivs_clock_deadline(timeout_ms);
	struct pollfd pfds[] = {
		{.fd = fd, .events = POLLIN},
		{.fd = peer->stop_fd, .events = POLLIN},
		{.fd = peer->gone_fd, .events = (short)peer->gone_events},
	};
	int left_ms = 1;
	int result;

	while (!peer_is_stopped(peer)) {
		result = ivs_eventfd_take(fd);
		if (result)
			return result < 0 ? result : peer_taken(peer);
		/* A peer that keeps draining the counter must not extend the timeout. */
		if (!left_ms)
			return IVS_PEER_E_TIMEOUT;
		left_ms = ivs_clock_left_ms(deadline);
		result = poll(pfds, 3, left_ms);
		if (result < 0)
			return -errno;
		if (pfds[1].revents && peer_check_stop(peer) == IVS_PEER_E_STOPPED)
			break;
		if (pfds[2].revents)
			return peer_set_gone(peer);
		if (!result)
			return IVS_PEER_E_TIMEOUT;
	}
	return IVS_PEER_E_STOPPED;
}

int ivs_peer_wait(struct ivs_peer *peer, unsigned int vector, int timeout_ms)
{
	int fd;

	if (!(ivs_peer_caps(peer) & IVS_CAP_WAIT))
		return IVS_PEER_E_UNSUPPORTED;
	fd = ivs_peer_vector_fd(peer, vector);
	return fd < 0 ? IVS_PEER_E_VECTOR : peer_wait_fd(peer, fd, timeout_ms);
}

/* Called with the lock held. */
static bool peer_next_change(struct ivs_peer *peer, struct ivs_peer_change *change)
{
	if (peer->transport->next_change)
		return peer->transport->next_change(peer, change);
	return ivs_roster_page_reader_report(&peer->roster.reader, change);
}

/* The loss of the server is reported after all joins and leaves. Called with the lock held. */
static bool peer_report_change(struct ivs_peer *peer, struct ivs_event *event)
{
	struct ivs_peer_change change;

	if (peer_next_change(peer, &change)) {
		*event = (struct ivs_event){
			.type = change.joined ? IVS_EVENT_JOIN : IVS_EVENT_LEAVE,
			.id = change.id,
			.vectors_n = change.vectors_n,
		};
		return true;
	}
	if (!peer->server_lost)
		return false;
	peer->server_lost = false;
	*event = (struct ivs_event){.type = IVS_EVENT_SERVER_LOST};
	return true;
}

/*
 * Handle what the epoll instance has reported. Return: 1 if @event is set, 0 if there is no event,
 * or -errno.
 */
static int peer_handle_event(struct ivs_peer *peer, uint32_t tag, struct ivs_event *event)
{
	int result = 0;

	if (tag == IVS_TAG_TIMER) {
		/* Read from the timerfd, so that it is no longer readable. */
		result = ivs_eventfd_take(peer->roster.timer_fd);
		return result < 0 ? result : ivs_peer_roster_update(peer);
	}
	if (tag == IVS_TAG_REGION)
		return ivs_peer_region_report(peer, event);
	if (tag == IVS_TAG_STOP)
		return 0;
	if (tag != IVS_TAG_SERVER && tag != IVS_TAG_PENDING) {
		*event = (struct ivs_event){.type = IVS_EVENT_DOORBELL, .vector = tag};
		return ivs_eventfd_take(ivs_peer_vector_fd(peer, tag));
	}
	pthread_mutex_lock(&peer->lock);
	if (tag == IVS_TAG_SERVER)
		result = peer->transport->receive(peer);
	if (!result && tag == IVS_TAG_PENDING) {
		result = peer_report_change(peer, event);
		if (!result)
			result = ivs_eventfd_take(peer->pending_fd) < 0 ? -EIO : 0;
	}
	pthread_mutex_unlock(&peer->lock);
	return result;
}

int ivs_peer_next(struct ivs_peer *peer, int timeout_ms, struct ivs_event *event)
{
	int64_t deadline = ivs_clock_deadline(timeout_ms);
	unsigned int late_rounds = 0;
	struct epoll_event ready;
	int left_ms;
	int result;

	if (peer_is_stopped(peer))
		return IVS_PEER_E_STOPPED;
	if (peer->epoll_fd < 0)
		return IVS_PEER_E_UNSUPPORTED;
	result = ivs_peer_roster_update(peer);
	if (result)
		return result;
	do {
		/* Request one event at a time, so that the kernel rotates among the ready fds. */
		left_ms = ivs_clock_left_ms(deadline);
		result = epoll_wait(peer->epoll_fd, &ready, 1, left_ms);
		if (result < 0)
			return -errno;
		if (!result)
			return IVS_PEER_E_TIMEOUT;
		if (ready.data.u32 == IVS_TAG_STOP && peer_check_stop(peer) == IVS_PEER_E_STOPPED)
			return IVS_PEER_E_STOPPED;
		if (ready.data.u32 == IVS_TAG_GONE)
			return peer_set_gone(peer);
		result = peer_handle_event(peer, ready.data.u32, event);
		if (result)
			return result < 0 ? result : peer_taken(peer);
		late_rounds += !left_ms;
	} while (late_rounds < LATE_ROUNDS_MAX);
	return IVS_PEER_E_TIMEOUT;
}
