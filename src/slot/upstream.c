/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation. The device is a client of an ivshmem-server, and stays a device without one:
 *
 *   LOST     -> a try each second, until the server accepts: GREETED
 *   GREETED  -> its region comes, and is the one that the VM has, or the VM has none: JOINED
 *            -> it is another one: FOREIGN, until the VM is gone; then as LOST. Trying meanwhile would
 *               use up an id each time
 *   JOINED   -> the connection ends: LOST. The doorbells that are known go on working both ways
 *
 * After a new greeting the old doorbells are closed: the others are those of the new server.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "slot/state.h"
#include "util/error.h"
#include "util/eventfd.h"
#include "util/fd.h"

IVS_SYSCALLS(ivs_upstream_syscalls, {"socket", {IVS_ARG_IS(1, AF_UNIX)}}, {"connect"}, {"recvmsg"},
	     {"epoll_ctl"}, {"close"});

#define OPEN_MS 5000
#define RETRY_MS 1000
#define CONNECT_PAUSE_MS 10
#define HEAR_MAX 256 /* messages at a time, so that others are served too */

static void enter(struct ivs_upstream *up, enum ivs_upstream_state state)
{
	up->state = state;
	up->since_ms = ivs_clock_wall_ms();
	up->retry_ns = state == UPSTREAM_LOST ? ivs_clock_deadline(RETRY_MS) : IVS_CLOCK_NEVER;
}

static void close_vectors(struct ivs_upstream *up)
{
	for (unsigned int i = 0; i < up->vectors_n; i++)
		ivs_fd_close(&up->vectors[i]); /* and with it goes its place in the epoll */
	up->vectors_n = 0;
}

/* Surplus ones are not for this device. */
static int take_vector(struct ivs_slot *slot, int *fd)
{
	struct ivs_upstream *up = &slot->upstream;
	int result = 0;

	if (up->vectors_n == slot->opts.doorbells_n)
		return 0;
	if (slot->epoll >= 0)
		result = ivs_slot_watch(slot, *fd, SLOT_VECTOR + up->vectors_n);
	if (!result)
		up->vectors[up->vectors_n++] = ivs_fd_take(fd);
	return result;
}

/* The region of a server: the one that the VM has, or the first. */
static int take_memory(struct ivs_slot *slot, int *fd, struct ivs_error *err)
{
	struct ivs_upstream *up = &slot->upstream;
	int result = 0;

	if (!ivs_slot_memory_is(slot, *fd)) {
		if (slot->memory.fd >= 0 && slot->session &&
		    ivs_vfio_user_is_connected(slot->session))
			return ivs_error_set(
				err, IVS_SLOT_E_SERVER,
				"the server at %s has another region than the VM, which "
				"has to be started anew for that",
				slot->opts.server);
		result = ivs_slot_memory_take(slot, fd, err);
		if (!result && slot->session) {
			const struct ivs_vfio_user_memory memory = ivs_slot_memory_of(slot);

			ivs_vfio_user_set_memory(slot->session, &memory);
		}
	}
	if (result)
		return result;
	if (slot->session)
		ivs_device_set_id(&slot->device, up->link.id);
	if (up->last_id >= 0 && up->last_id != up->link.id)
		ivs_log(IVS_LOG_WARNING,
			"%s: the device's id was %d and is %d now; the guest may have kept the old "
			"one",
			slot->name, up->last_id, up->link.id);
	up->last_id = up->link.id;
	up->joins++;
	*up->problem.text = 0;
	enter(up, UPSTREAM_JOINED);
	return 0;
}

/* Return: 0, IVS_PEER_E_TIMEOUT: no more for now; else the server is of no use, with the reason. */
static int hear_one(struct ivs_slot *slot, struct ivs_error *err)
{
	struct ivs_wire_message msg;
	IVS_OWNED_FD fd = -1;
	int result;

	result = ivs_link_next(&slot->upstream.link, slot->opts.server, &msg, err);
	if (result)
		return result;
	fd = msg.fd;
	if (msg.type == IVS_WIRE_MEMORY)
		return take_memory(slot, &fd, err);
	if (fd < 0)
		return 0;
	result = take_vector(slot, &fd);
	return result ? ivs_error_errno(err, -result, "cannot take a doorbell") : 0;
}

/* Say it once, however often it is tried. */
static void lose(struct ivs_slot *slot, enum ivs_upstream_state state, const struct ivs_error *err)
{
	struct ivs_upstream *up = &slot->upstream;

	if (strcmp(up->problem.text, err->text)) {
		up->problem = *err;
		ivs_log(IVS_LOG_WARNING, "%s: %s; %s", slot->name, err->text,
			state == UPSTREAM_FOREIGN ? "until then there are no doorbells"
						  : "trying again each second");
	}
	ivs_link_close(&up->link);
	enter(up, state);
}

void ivs_upstream_hear(struct ivs_slot *slot)
{
	const uint64_t joins = slot->upstream.joins;
	struct ivs_error err = {0};
	int result = 0;

	for (unsigned int i = 0; i < HEAR_MAX && !result; i++)
		result = hear_one(slot, &err);
	if (result && result != IVS_PEER_E_TIMEOUT)
		lose(slot, result == IVS_SLOT_E_SERVER ? UPSTREAM_FOREIGN : UPSTREAM_LOST, &err);
	else if (joins != slot->upstream.joins)
		ivs_log(IVS_LOG_WARNING, "%s: is peer %d of the server at %s", slot->name,
			slot->upstream.link.id, slot->opts.server);
}

void ivs_upstream_retry(struct ivs_slot *slot)
{
	struct ivs_upstream *up = &slot->upstream;
	struct ivs_link fresh = IVS_LINK_INIT;
	struct ivs_error err = {0};
	int result;

	result = ivs_link_connect(&fresh, slot->opts.server, &err);
	if (!result)
		result = ivs_slot_watch(slot, fresh.sock, SLOT_LINK);
	if (result) {
		ivs_link_deinit(&fresh);
		lose(slot, UPSTREAM_LOST, &err);
		return;
	}
	close_vectors(up);
	ivs_link_deinit(&up->link);
	up->link = fresh;
	enter(up, UPSTREAM_GREETED);
}

int64_t ivs_upstream_deadline(const struct ivs_slot *slot)
{
	return slot->upstream.state == UPSTREAM_NONE ? IVS_CLOCK_NEVER : slot->upstream.retry_ns;
}

void ivs_upstream_vmm_gone(struct ivs_slot *slot)
{
	if (slot->upstream.state == UPSTREAM_FOREIGN)
		enter(&slot->upstream, UPSTREAM_LOST);
}

void ivs_upstream_rung(struct ivs_slot *slot, unsigned int vector)
{
	struct ivs_upstream *up = &slot->upstream;

	if (vector >= up->vectors_n)
		return;
	if (ivs_eventfd_take(up->vectors[vector]) <= 0)
		return;
	slot->totals.rung++;
	ivs_device_doorbell(&slot->device, vector);
	ivs_vfio_user_deliver(slot->session);
}

void ivs_upstream_ring(struct ivs_slot *slot, unsigned int peer, unsigned int vector)
{
	struct ivs_upstream *up = &slot->upstream;
	struct ivs_doorbells *doorbells;
	int fd = -1;

	if (up->last_id >= 0 && peer == (unsigned int)up->last_id) {
		if (vector < up->vectors_n)
			fd = up->vectors[vector];
		if (fd < 0 || ivs_eventfd_signal(fd))
			slot->totals.lost++;
		return;
	}
	doorbells = ivs_remotes_get(&up->link.remotes, peer);
	if (doorbells && vector < doorbells->fds_n)
		fd = doorbells->fds[vector];
	if (fd < 0 || ivs_eventfd_signal(fd))
		slot->totals.lost++;
	ivs_doorbells_put(doorbells);
}

/* At the start: until the region has come, which comes in one burst with the id. */
static int await_greeting(struct ivs_slot *slot, int64_t deadline, struct ivs_error *err)
{
	struct ivs_upstream *up = &slot->upstream;
	struct pollfd pfd = {.events = POLLIN};
	int result;

	do {
		result = ivs_link_connect(&up->link, slot->opts.server, err);
		if (result == IVS_PEER_E_TIMEOUT)
			poll(NULL, 0, CONNECT_PAUSE_MS);
	} while (result == IVS_PEER_E_TIMEOUT && ivs_clock_left_ms(deadline));
	enter(up, UPSTREAM_GREETED);
	while (!result && up->state == UPSTREAM_GREETED) {
		result = hear_one(slot, err);
		if (result != IVS_PEER_E_TIMEOUT)
			continue;
		pfd.fd = up->link.sock;
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

int ivs_upstream_open(struct ivs_slot *slot, struct ivs_error *err)
{
	struct ivs_upstream *up = &slot->upstream;
	int result;

	up->link = (struct ivs_link)IVS_LINK_INIT;
	up->last_id = -1;
	if (!slot->opts.server)
		return 0;
	result = await_greeting(slot, ivs_clock_deadline(OPEN_MS), err);
	if (result && slot->opts.late && result != IVS_SLOT_E_OPTIONS) {
		lose(slot, UPSTREAM_LOST, err);
		return 0;
	}
	return result > 0 && result != IVS_SLOT_E_OPTIONS ? IVS_SLOT_E_SERVER : result;
}

int ivs_upstream_begin(struct ivs_slot *slot)
{
	struct ivs_upstream *up = &slot->upstream;
	int result = 0;

	if (up->link.sock >= 0)
		result = ivs_slot_watch(slot, up->link.sock, SLOT_LINK);
	for (unsigned int i = 0; i < up->vectors_n && !result; i++)
		result = ivs_slot_watch(slot, up->vectors[i], SLOT_VECTOR + i);
	return result;
}

void ivs_upstream_close(struct ivs_slot *slot)
{
	close_vectors(&slot->upstream);
	ivs_link_deinit(&slot->upstream.link);
}
