/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation. The device is a client of an ivshmem-server, and stays a device without one:
 *
 *   LOST     -> a try now and then, until the server accepts: GREETED
 *   GREETED  -> its region comes, and is the one that the VM has, or the VM has none: JOINED
 *            -> it is another one: FOREIGN, until the VM is gone; then at once as LOST. Meanwhile
 *               it is hardly ever tried, because that uses up an id each time (W-10)
 *            -> anything else, or nothing for 5 s: LOST
 *   JOINED   -> the connection ends: LOST. The doorbells that are known go on working both ways
 *
 * A new connection is kept aside until its region has come. Only then the old doorbells are given up:
 * what was rung on them is taken, and the others are those of the new server. A try that a server accepts
 * costs an id, so that one that accepts and then is of no use is tried less and less often. A VMM that
 * comes when LOST is one try more, for all its VM would be stuck with the memory of a server that is gone;
 * between two of the other tries once, so that VMMs that come and go use up no more than twice the ids.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "base/error.h"
#include "base/eventfd.h"
#include "base/fd.h"
#include "slot/state.h"

IVS_SYSCALLS(ivs_upstream_syscalls,
	     {"socket", {IVS_ARG_IS(1, AF_UNIX), IVS_ARG_HAS(2, 0xf, SOCK_STREAM)}}, {"connect"},
	     {"recvmsg"}, {"epoll_ctl"}, {"close"}, IVS_CALL_LSTAT, {"stat"}, {"stat64"});

#define OPEN_MS 5000
#define REGION_MS 2000 /* a VMM waits for 5 s */
#define RETRY_MS 1000
#define RETRY_MAX_MS 300000
#define USEFUL_MS 2000
#define QUIET_MS 100 /* no message says that one's own vectors are complete */
#define CONNECT_PAUSE_MS 10
/* At a time, so that others are served too: some messages, or one that takes long. */
#define HEAR_MAX 256
#define HEAR_MS 10

static void enter(struct ivs_upstream *up, enum ivs_upstream_state state)
{
	up->state = state;
	up->since_ms = ivs_clock_wall_ms();
	up->useful_ns = ivs_clock_deadline(USEFUL_MS);
	up->quiet_ns = ivs_clock_deadline(QUIET_MS);
	up->retry_ns = IVS_CLOCK_NEVER;
	if (state == UPSTREAM_LOST)
		up->retry_ns = ivs_clock_deadline((int)up->pause_ms);
	else if (state == UPSTREAM_GREETED)
		up->retry_ns = ivs_clock_deadline(OPEN_MS);
	else if (state == UPSTREAM_FOREIGN)
		up->retry_ns = ivs_clock_deadline(RETRY_MAX_MS);
}

/* Others have the same eventfds, so that closing does not take them out of the epoll. */
static void close_vectors(struct ivs_slot *slot)
{
	struct ivs_upstream *up = &slot->upstream;

	for (unsigned int i = 0; i < up->vectors_n; i++) {
		ivs_upstream_rung(slot, i);
		if (slot->epoll >= 0)
			(void)epoll_ctl(slot->epoll, EPOLL_CTL_DEL, up->vectors[i], NULL);
		ivs_fd_close(&up->vectors[i]);
	}
	up->vectors_n = up->offered_n = 0;
}

static void limit_doorbells(const struct ivs_slot *slot, struct ivs_link *link)
{
	link->remotes.fds_limit = slot->opts.remote_fds_limit;
}

/* Surplus ones are not for this device. */
static int take_vector(struct ivs_slot *slot, int *fd)
{
	struct ivs_upstream *up = &slot->upstream;
	int result = 0;

	up->offered_n++;
	up->quiet_ns = ivs_clock_deadline(QUIET_MS);
	if (up->vectors_n == slot->opts.doorbells_n)
		return 0;
	if (slot->epoll >= 0)
		result = ivs_slot_watch(slot, *fd, SLOT_VECTOR + up->vectors_n);
	if (!result)
		up->vectors[up->vectors_n++] = ivs_fd_take(fd);
	return result;
}

static bool has_vmm(const struct ivs_slot *slot)
{
	return slot->session && ivs_vfio_user_is_connected(slot->session);
}

static void say_id(const struct ivs_slot *slot, int id)
{
	const int last = slot->upstream.last_id;

	if (last >= 0 && last != id)
		ivs_log(IVS_LOG_WARNING,
			"%s: the device's id was %d and is %d now; the guest may have kept the old "
			"one",
			slot->name, last, id);
}

/* From here on the new connection is the one. */
static void join(struct ivs_slot *slot)
{
	struct ivs_upstream *up = &slot->upstream;

	close_vectors(slot);
	ivs_link_deinit(&up->link);
	up->link = up->fresh;
	up->fresh = (struct ivs_link)IVS_LINK_INIT;
	if (slot->session) {
		const struct ivs_vfio_user_memory memory = ivs_slot_memory_of(slot);

		ivs_vfio_user_set_memory(slot->session, &memory);
		ivs_pci_set_id(&slot->function, up->link.id);
	}
	if (ivs_log_allows(&up->limit))
		say_id(slot, up->link.id);
	up->last_id = up->link.id;
	if (slot->session)
		ivs_vmm_set_migration(slot);
	if (slot->opts.role == IVS_SLOT_MASTER && slot->session && !ivs_slot_is_master(slot) &&
	    ivs_log_allows(&up->limit))
		ivs_log(IVS_LOG_WARNING,
			"%s: is to be a master, which must be its server's first client, and is "
			"peer %d: it cannot be migrated",
			slot->name, up->link.id);
	up->joins++;
	slot->counted = false;
	*up->problem.text = 0;
	enter(up, UPSTREAM_JOINED);
}

/* The region of a server: the one that the VM has, or any if there is no VM, or none that it has. */
static int take_memory(struct ivs_slot *slot, int *fd, struct ivs_error *err)
{
	const bool in_use = slot->memory.fd >= 0 && has_vmm(slot);
	int result = 0;

	if (!in_use)
		result = ivs_slot_memory_take(slot, fd, err);
	else if (!ivs_slot_memory_is(slot, *fd))
		result = ivs_error_set(err, IVS_SLOT_E_SERVER,
				       "the server at %s has another region than the VM, which has "
				       "to be started anew for that",
				       slot->opts.server);
	if (!result)
		join(slot);
	return result;
}

/* Return: 0, IVS_PEER_E_TIMEOUT: no more for now; else the server is of no use, with the reason. */
static int hear_one(struct ivs_slot *slot, struct ivs_error *err)
{
	struct ivs_upstream *up = &slot->upstream;
	struct ivs_link *link = up->state == UPSTREAM_GREETED ? &up->fresh : &up->link;
	struct ivs_v0_message msg;
	IVS_OWNED_FD fd = -1;
	int result;

	if (link->sock < 0) /* an event of one that is gone */
		return IVS_PEER_E_TIMEOUT;
	result = ivs_link_next(link, slot->opts.server, &msg, err);
	if (result)
		return result;
	fd = msg.fd;
	if (msg.type == IVS_V0_MEMORY)
		return take_memory(slot, &fd, err);
	if (fd < 0)
		return 0;
	result = take_vector(slot, &fd);
	return result ? ivs_error_errno(err, -result, "cannot take a doorbell") : 0;
}

static bool is_of_no_use(const struct ivs_upstream *up)
{
	return up->state == UPSTREAM_GREETED ||
	       (up->state == UPSTREAM_JOINED && ivs_clock_left_ms(up->useful_ns));
}

/*
 * Say it once, however often it is tried. A server that was of no use is left alone for longer each time;
 * one that is not there costs nothing to try.
 */
static void lose(struct ivs_slot *slot, enum ivs_upstream_state state, const struct ivs_error *err)
{
	struct ivs_upstream *up = &slot->upstream;

	if (strcmp(up->problem.text, err->text)) {
		up->problem = *err;
		if (ivs_log_allows(&up->limit))
			ivs_log(IVS_LOG_WARNING, "%s: %s; %s", slot->name, err->text,
				state == UPSTREAM_FOREIGN ? "until then it is no peer there"
							  : "trying again");
	}
	if (!is_of_no_use(up)) {
		up->pause_ms = RETRY_MS;
		up->has_hurried = false;
	} else if (!up->has_hurried) {
		up->pause_ms = up->pause_ms * 2 < RETRY_MAX_MS ? up->pause_ms * 2 : RETRY_MAX_MS;
	}
	if (up->state == UPSTREAM_GREETED)
		ivs_link_deinit(&up->fresh);
	else
		ivs_link_close(&up->link);
	enter(up, state);
}

void ivs_upstream_hear(struct ivs_slot *slot)
{
	struct ivs_upstream *up = &slot->upstream;
	const uint64_t joins = up->joins;
	const int64_t until = ivs_clock_deadline(HEAR_MS);
	struct ivs_error err = {0};
	int result = 0;

	for (unsigned int i = 0; i < HEAR_MAX && !result && ivs_clock_ns() < until; i++)
		result = hear_one(slot, &err);
	if (joins != up->joins && ivs_log_allows(&up->limit))
		ivs_log(IVS_LOG_WARNING, "%s: is peer %d of the server at %s", slot->name,
			up->link.id, slot->opts.server);
	if (result && result != IVS_PEER_E_TIMEOUT)
		lose(slot, result == IVS_SLOT_E_SERVER ? UPSTREAM_FOREIGN : UPSTREAM_LOST, &err);
}

static void connect_again(struct ivs_slot *slot)
{
	struct ivs_upstream *up = &slot->upstream;
	struct ivs_error err = {0};
	int result;

	limit_doorbells(slot, &up->fresh);
	result = ivs_link_connect(&up->fresh, slot->opts.server, &err);
	if (!result) {
		result = ivs_slot_watch(slot, up->fresh.sock, SLOT_LINK);
		if (result)
			ivs_error_errno(&err, -result, "cannot watch the server");
	}
	if (!result) {
		enter(up, UPSTREAM_GREETED);
		return;
	}
	ivs_link_deinit(&up->fresh);
	lose(slot, UPSTREAM_LOST, &err);
}

void ivs_upstream_retry(struct ivs_slot *slot)
{
	struct ivs_error err = {0};

	if (slot->upstream.state != UPSTREAM_GREETED) {
		slot->upstream.has_hurried = false;
		connect_again(slot);
		return;
	}
	ivs_error_set(&err, IVS_PEER_E_TIMEOUT,
		      "the server at %s accepted the connection and is silent", slot->opts.server);
	lose(slot, UPSTREAM_LOST, &err);
}

int64_t ivs_upstream_deadline(const struct ivs_slot *slot)
{
	return slot->upstream.state == UPSTREAM_NONE ? IVS_CLOCK_NEVER : slot->upstream.retry_ns;
}

void ivs_upstream_vmm_gone(struct ivs_slot *slot)
{
	if (slot->upstream.state == UPSTREAM_FOREIGN)
		connect_again(slot);
}

int ivs_upstream_region_due_ms(struct ivs_slot *slot)
{
	struct ivs_upstream *up = &slot->upstream;
	int left;

	if (up->state == UPSTREAM_LOST && !up->has_hurried) {
		connect_again(slot);
		up->has_hurried = up->state == UPSTREAM_GREETED; /* else it was not there */
	}
	if (up->state != UPSTREAM_GREETED)
		return 0;
	left = ivs_clock_left_ms(up->retry_ns) - (OPEN_MS - REGION_MS);
	return left > 0 ? left : 0;
}

bool ivs_upstream_has_vectors(const struct ivs_slot *slot)
{
	const struct ivs_upstream *up = &slot->upstream;

	return up->state == UPSTREAM_JOINED && !ivs_clock_left_ms(up->quiet_ns);
}

bool ivs_upstream_is_greeted(const struct ivs_slot *slot)
{
	return slot->upstream.state == UPSTREAM_GREETED;
}

static void take_doorbell(struct ivs_slot *slot, unsigned int vector)
{
	slot->totals.rung++;
	ivs_pci_doorbell(&slot->function, vector);
}

void ivs_upstream_rung(struct ivs_slot *slot, unsigned int vector)
{
	struct ivs_upstream *up = &slot->upstream;

	if (vector >= up->vectors_n)
		return;
	if (ivs_eventfd_take(up->vectors[vector]) <= 0)
		return;
	take_doorbell(slot, vector);
	ivs_vfio_user_deliver(slot->session);
}

/* One that made us wait must not do it again. */
static void ring_fd(struct ivs_slot *slot, int *fd)
{
	const int result = ivs_eventfd_signal(*fd);

	if (result)
		slot->totals.lost++;
	if (result != -EINTR)
		return;
	if (ivs_log_allows(&slot->upstream.limit))
		ivs_log(IVS_LOG_WARNING,
			"%s: a doorbell that somebody has filled and made blocking is not rung any "
			"more",
			slot->name);
	ivs_fd_close(fd);
}

/* Return: whether somebody is there with that vector. */
static bool ring_other(struct ivs_slot *slot, unsigned int peer, unsigned int vector)
{
	struct ivs_doorbells *doorbells = ivs_remotes_get(&slot->upstream.link.remotes, peer);
	const bool there = doorbells && vector < doorbells->fds_n;

	if (there)
		ring_fd(slot, &doorbells->fds[vector]);
	ivs_doorbells_put(doorbells);
	return there;
}

/* Return: whether somebody is there with that vector. */
static bool ring_peer(struct ivs_slot *slot, unsigned int peer, unsigned int vector)
{
	const struct ivs_upstream *up = &slot->upstream;

	if (up->last_id < 0 || peer != (unsigned int)up->last_id || vector >= up->vectors_n)
		return ring_other(slot, peer, vector);
	take_doorbell(slot, vector); /* sent with what else is due after the guest's write */
	return true;
}

void ivs_upstream_ring(struct ivs_slot *slot, unsigned int peer, unsigned int vector)
{
	if (ring_peer(slot, peer, vector))
		return;
	/* The guest may have heard of somebody sooner, through the memory. */
	if (slot->upstream.state == UPSTREAM_JOINED)
		ivs_upstream_hear(slot);
	if (!ring_peer(slot, peer, vector))
		slot->totals.lost++;
}

/* At the start: until the region has come, which comes in one burst with the id. */
static int await_greeting(struct ivs_slot *slot, int64_t deadline, struct ivs_error *err)
{
	struct ivs_upstream *up = &slot->upstream;
	struct pollfd pfd = {.events = POLLIN};
	int result;

	do {
		result = ivs_link_connect(&up->fresh, slot->opts.server, err);
		if (result == IVS_PEER_E_TIMEOUT)
			poll(NULL, 0, CONNECT_PAUSE_MS);
	} while (result == IVS_PEER_E_TIMEOUT && ivs_clock_left_ms(deadline));
	if (!result)
		enter(up, UPSTREAM_GREETED);
	while (!result && up->state == UPSTREAM_GREETED) {
		result = hear_one(slot, err);
		if (result != IVS_PEER_E_TIMEOUT)
			continue;
		pfd.fd = up->fresh.sock;
		result = poll(&pfd, 1, ivs_clock_left_ms(deadline));
		if (result == 0)
			result = ivs_error_set(err, IVS_PEER_E_TIMEOUT,
					       "the server at %s accepted the connection and is "
					       "silent",
					       slot->opts.server);
		else
			result = result < 0 && errno != EINTR ? -errno : 0;
	}
	return result;
}

void ivs_upstream_init(struct ivs_slot *slot)
{
	struct ivs_upstream *up = &slot->upstream;

	up->link = up->fresh = (struct ivs_link)IVS_LINK_INIT;
	up->last_id = -1;
	up->pause_ms = RETRY_MS;
}

int ivs_upstream_open(struct ivs_slot *slot, struct ivs_error *err)
{
	struct ivs_upstream *up = &slot->upstream;
	int result;

	if (!slot->opts.server)
		return 0;
	limit_doorbells(slot, &up->fresh);
	result = await_greeting(slot, ivs_clock_deadline(OPEN_MS), err);
	if (result && slot->opts.late && result != IVS_SLOT_E_OPTIONS) {
		lose(slot, UPSTREAM_LOST, err);
		return 0;
	}
	if (!result) {
		result = ivs_slot_watch(slot, up->link.sock, SLOT_LINK);
		return result ? ivs_error_errno(err, -result, "cannot watch the server") : 0;
	}
	return result > 0 && result != IVS_SLOT_E_OPTIONS ? IVS_SLOT_E_SERVER : result;
}

void ivs_upstream_close(struct ivs_slot *slot)
{
	for (unsigned int i = 0; i < slot->upstream.vectors_n; i++)
		ivs_fd_close(&slot->upstream.vectors[i]);
	ivs_link_deinit(&slot->upstream.link);
	ivs_link_deinit(&slot->upstream.fresh);
}
