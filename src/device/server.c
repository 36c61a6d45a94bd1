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
#include <string.h>
#include <sys/socket.h>

#include "base/error.h"
#include "base/eventfd.h"
#include "base/fd.h"
#include "device/private.h"

IVS_SYSCALLS(ivs_device_server_syscalls,
	     {"socket", {IVS_ARG_IS(1, AF_UNIX), IVS_ARG_HAS(2, 0xf, SOCK_STREAM)}}, {"connect"},
	     {"epoll_ctl"}, {"close"}, IVS_CALL_LSTAT, {"stat"}, {"stat64"});

#define OPEN_MS 5000
#define REGION_MS 2000 /* a VMM waits for 5 s */
#define RETRY_MS 1000
#define RETRY_MAX_MS 300000
#define USEFUL_MS 2000
/* At a time, so that others are served too: some messages, or one that takes long. */
#define HEAR_MAX 256
#define HEAR_MS 10

static void enter(struct ivs_device_server *up, enum ivs_device_server_state state)
{
	up->state = state;
	up->since_ms = ivs_clock_wall_ms();
	up->useful_ns = ivs_clock_deadline(USEFUL_MS);
	up->retry_ns = IVS_CLOCK_NEVER;
	if (state == SERVER_LOST)
		up->retry_ns = ivs_clock_deadline((int)up->pause_ms);
	else if (state == SERVER_CONNECTED)
		up->retry_ns = ivs_clock_deadline(OPEN_MS);
	else if (state == SERVER_OTHER_REGION)
		up->retry_ns = ivs_clock_deadline(RETRY_MAX_MS);
}

/* Others have the same eventfds, so that closing does not take them out of the epoll. */
static void close_vectors(struct ivs_device *device)
{
	struct ivs_device_server *up = &device->server;

	for (unsigned int i = 0; i < up->vectors_n; i++) {
		ivs_device_server_doorbell(device, i);
		if (device->epoll_fd >= 0)
			(void)epoll_ctl(device->epoll_fd, EPOLL_CTL_DEL, up->vectors[i], NULL);
		ivs_fd_close(&up->vectors[i]);
	}
	up->vectors_n = 0;
}

static void limit_doorbells(const struct ivs_device *device, struct ivs_connection *connection)
{
	connection->doorbells.fds_limit = device->opts.remote_fds_limit;
}

/* Surplus ones are not for this device. */
static int take_vector(struct ivs_device *device, int *fd)
{
	struct ivs_device_server *up = &device->server;
	int result = 0;

	if (up->vectors_n == device->opts.doorbells_n)
		return 0;
	if (device->epoll_fd >= 0)
		result = ivs_device_watch(device, *fd, DEVICE_VECTOR + up->vectors_n);
	if (!result)
		up->vectors[up->vectors_n++] = ivs_fd_take(fd);
	return result;
}

static bool has_vmm(const struct ivs_device *device)
{
	return device->session && ivs_vfio_user_is_connected(device->session);
}

static void say_id(const struct ivs_device *device, int id)
{
	const int last = device->server.last_id;

	if (last >= 0 && last != id)
		ivs_log(IVS_LOG_WARNING,
			"%s: the device's id was %d and is %d now; the guest may have kept the old "
			"one",
			device->name, last, id);
}

/* From here on the new connection is the one. */
static void join(struct ivs_device *device)
{
	struct ivs_device_server *up = &device->server;

	close_vectors(device);
	ivs_connection_deinit(&up->connection);
	up->connection = up->fresh;
	up->fresh = (struct ivs_connection)IVS_CONNECTION_INIT;
	if (device->session) {
		const struct ivs_vfio_user_memory memory = ivs_device_bar2_of(device);

		ivs_vfio_user_set_memory(device->session, &memory);
		ivs_pci_set_id(&device->function, up->connection.id);
	}
	if (ivs_log_allows(&up->limit))
		say_id(device, up->connection.id);
	up->last_id = up->connection.id;
	if (device->session)
		ivs_device_vmm_set_migration(device);
	if (device->opts.role == IVS_DEVICE_MASTER && device->session &&
	    !ivs_device_is_master(device) && ivs_log_allows(&up->limit))
		ivs_log(IVS_LOG_WARNING,
			"%s: is to be a master, which must be its server's first client, and is "
			"peer %d: it cannot be migrated",
			device->name, up->connection.id);
	up->joins++;
	device->counted = false;
	*up->problem.text = 0;
	enter(up, SERVER_JOINED);
}

/* The region of a server: the one that the VM has, or any if there is no VM, or none that it has. */
static int take_memory(struct ivs_device *device, int *fd, struct ivs_error *err)
{
	const bool in_use = device->memory.fd >= 0 && has_vmm(device);
	int result = 0;

	if (!in_use)
		result = ivs_device_bar2_take(device, fd, err);
	else if (!ivs_device_bar2_is(device, *fd))
		result = ivs_error_set(err, IVS_DEVICE_E_SERVER,
				       "the server at %s has another region than the VM, which has "
				       "to be started anew for that",
				       device->opts.server);
	if (!result)
		join(device);
	return result;
}

/* The codes of a connection are not those of a device. */
static int connection_result(int result)
{
	switch (result) {
	case IVS_CONNECTION_E_ADDRESS:
		return IVS_DEVICE_E_OPTIONS;
	case IVS_CONNECTION_E_AGAIN:
		return IVS_DEVICE_E_AGAIN;
	default:
		return result > 0 ? IVS_DEVICE_E_LOST : result;
	}
}

/* Return: 0; else the server is of no use, with the reason. */
static int take_event(struct ivs_device *device, struct ivs_connection_event *event,
		      struct ivs_error *err)
{
	IVS_OWNED_FD fd = event->fd;
	int result;

	if (event->type == IVS_CONNECTION_REGION)
		return take_memory(device, &fd, err);
	if (event->type != IVS_CONNECTION_VECTOR)
		return 0;
	result = take_vector(device, &fd);
	return result ? ivs_error_errno(err, -result, "cannot take a doorbell") : 0;
}

/* Return: 0, IVS_DEVICE_E_AGAIN: no more for now; else the server is of no use, with the reason. */
static int receive_one(struct ivs_device *device, struct ivs_error *err)
{
	struct ivs_device_server *up = &device->server;
	struct ivs_connection *connection = up->state == SERVER_CONNECTED ? &up->fresh
									  : &up->connection;
	struct ivs_connection_event event;
	int result;

	if (connection->sock < 0) /* an event of one that is gone */
		return IVS_DEVICE_E_AGAIN;
	result = connection_result(ivs_connection_next(connection, &event, err));
	if (result)
		return result;
	ivs_greeting_note(&up->greeting, connection, &event);
	return take_event(device, &event, err);
}

static bool is_of_no_use(const struct ivs_device_server *up)
{
	return up->state == SERVER_CONNECTED ||
	       (up->state == SERVER_JOINED && ivs_clock_left_ms(up->useful_ns));
}

/*
 * Say it once, however often it is tried. A server that was of no use is left alone for longer each time;
 * one that is not there costs nothing to try.
 */
static void lose(struct ivs_device *device, enum ivs_device_server_state state,
		 const struct ivs_error *err)
{
	struct ivs_device_server *up = &device->server;

	if (strcmp(up->problem.text, err->text)) {
		up->problem = *err;
		if (ivs_log_allows(&up->limit))
			ivs_log(IVS_LOG_WARNING, "%s: %s; %s", device->name, err->text,
				state == SERVER_OTHER_REGION ? "until then it is no peer there"
							     : "trying again");
	}
	if (!is_of_no_use(up)) {
		up->pause_ms = RETRY_MS;
		up->has_hurried = false;
	} else if (!up->has_hurried) {
		up->pause_ms = up->pause_ms * 2 < RETRY_MAX_MS ? up->pause_ms * 2 : RETRY_MAX_MS;
	}
	if (up->state == SERVER_CONNECTED)
		ivs_connection_deinit(&up->fresh);
	else
		ivs_connection_close(&up->connection);
	enter(up, state);
}

void ivs_device_server_receive(struct ivs_device *device)
{
	struct ivs_device_server *up = &device->server;
	const uint64_t joins = up->joins;
	const int64_t until = ivs_clock_deadline(HEAR_MS);
	struct ivs_error err = {0};
	int result = 0;

	for (unsigned int i = 0; i < HEAR_MAX && !result && ivs_clock_ns() < until; i++)
		result = receive_one(device, &err);
	if (joins != up->joins && ivs_log_allows(&up->limit))
		ivs_log(IVS_LOG_WARNING, "%s: is peer %d of the server at %s", device->name,
			up->connection.id, device->opts.server);
	if (result && result != IVS_DEVICE_E_AGAIN)
		lose(device, result == IVS_DEVICE_E_SERVER ? SERVER_OTHER_REGION : SERVER_LOST,
		     &err);
}

static void connect_again(struct ivs_device *device)
{
	struct ivs_device_server *up = &device->server;
	struct ivs_error err = {0};
	int result;

	limit_doorbells(device, &up->fresh);
	up->greeting = (struct ivs_greeting){.region_only = true};
	result = ivs_connection_connect(&up->fresh, device->opts.server, &err);
	if (!result) {
		result = ivs_device_watch(device, up->fresh.sock, DEVICE_LINK);
		if (result)
			ivs_error_errno(&err, -result, "cannot watch the server");
	}
	if (!result) {
		enter(up, SERVER_CONNECTED);
		return;
	}
	ivs_connection_deinit(&up->fresh);
	lose(device, SERVER_LOST, &err);
}

void ivs_device_server_retry(struct ivs_device *device)
{
	struct ivs_error err = {0};

	if (device->server.state != SERVER_CONNECTED) {
		device->server.has_hurried = false;
		connect_again(device);
		return;
	}
	ivs_greeting_timeout(&device->server.greeting, &device->server.fresh, &err);
	lose(device, SERVER_LOST, &err);
}

int64_t ivs_device_server_deadline(const struct ivs_device *device)
{
	return device->server.state == SERVER_NONE ? IVS_CLOCK_NEVER : device->server.retry_ns;
}

void ivs_device_server_vmm_gone(struct ivs_device *device)
{
	if (device->server.state == SERVER_OTHER_REGION)
		connect_again(device);
}

int ivs_device_server_region_due_ms(struct ivs_device *device)
{
	struct ivs_device_server *up = &device->server;
	int left;

	if (up->state == SERVER_LOST && !up->has_hurried) {
		connect_again(device);
		up->has_hurried = up->state == SERVER_CONNECTED; /* else it was not there */
	}
	if (up->state != SERVER_CONNECTED)
		return 0;
	left = ivs_clock_left_ms(up->retry_ns) - (OPEN_MS - REGION_MS);
	return left > 0 ? left : 0;
}

bool ivs_device_server_has_vectors(const struct ivs_device *device)
{
	const struct ivs_device_server *up = &device->server;

	return up->state == SERVER_JOINED && ivs_greeting_is_over(&up->greeting);
}

bool ivs_device_server_is_greeted(const struct ivs_device *device)
{
	return device->server.state == SERVER_CONNECTED;
}

static void take_doorbell(struct ivs_device *device, unsigned int vector)
{
	device->totals.rung++;
	ivs_pci_doorbell(&device->function, vector);
}

void ivs_device_server_doorbell(struct ivs_device *device, unsigned int vector)
{
	struct ivs_device_server *up = &device->server;

	if (vector >= up->vectors_n)
		return;
	if (ivs_eventfd_take(up->vectors[vector]) <= 0)
		return;
	take_doorbell(device, vector);
	ivs_vfio_user_deliver(device->session);
}

/* One that made us wait must not do it again. */
static void ring_fd(struct ivs_device *device, int *fd)
{
	const int result = ivs_eventfd_signal(*fd);

	if (result)
		device->totals.lost++;
	if (result != -EINTR)
		return;
	if (ivs_log_allows(&device->server.limit))
		ivs_log(IVS_LOG_WARNING,
			"%s: a doorbell that somebody has filled and made blocking is not rung any "
			"more",
			device->name);
	ivs_fd_close(fd);
}

/* Return: whether somebody is there with that vector. */
static bool ring_other(struct ivs_device *device, unsigned int peer, unsigned int vector)
{
	struct ivs_doorbell_set *doorbells = ivs_doorbells_get(&device->server.connection.doorbells,
							       peer);
	const bool there = doorbells && vector < doorbells->fds_n;

	if (there)
		ring_fd(device, &doorbells->fds[vector]);
	ivs_doorbell_set_put(doorbells);
	return there;
}

/* Return: whether somebody is there with that vector. */
static bool ring_peer(struct ivs_device *device, unsigned int peer, unsigned int vector)
{
	const struct ivs_device_server *up = &device->server;

	if (up->last_id < 0 || peer != (unsigned int)up->last_id || vector >= up->vectors_n)
		return ring_other(device, peer, vector);
	take_doorbell(device, vector); /* sent with what else is due after the guest's write */
	return true;
}

void ivs_device_server_ring(struct ivs_device *device, unsigned int peer, unsigned int vector)
{
	if (ring_peer(device, peer, vector))
		return;
	/* The guest may have heard of somebody sooner, through the memory. */
	if (device->server.state == SERVER_JOINED)
		ivs_device_server_receive(device);
	if (!ring_peer(device, peer, vector))
		device->totals.lost++;
}

/* At the start: until the region has come, which comes in one burst with the id. */
static int await_region(struct ivs_device *device, struct ivs_error *err)
{
	struct ivs_device_server *up = &device->server;
	struct ivs_connection_event event;
	int result;

	up->greeting = (struct ivs_greeting){
		.region_only = true,
		.deadline_ns = ivs_clock_deadline(OPEN_MS),
	};
	result = ivs_greeting_connect(&up->greeting, &up->fresh, device->opts.server, err);
	if (!result)
		enter(up, SERVER_CONNECTED);
	result = connection_result(result);
	while (!result && up->state == SERVER_CONNECTED) {
		result = connection_result(
			ivs_greeting_next(&up->greeting, &up->fresh, &event, err));
		if (!result)
			result = take_event(device, &event, err);
	}
	return result;
}

void ivs_device_server_init(struct ivs_device *device)
{
	struct ivs_device_server *up = &device->server;

	up->connection = up->fresh = (struct ivs_connection)IVS_CONNECTION_INIT;
	up->last_id = -1;
	up->pause_ms = RETRY_MS;
}

int ivs_device_server_open(struct ivs_device *device, struct ivs_error *err)
{
	struct ivs_device_server *up = &device->server;
	int result;

	if (!device->opts.server)
		return 0;
	limit_doorbells(device, &up->fresh);
	result = await_region(device, err);
	if (result && device->opts.late && result != IVS_DEVICE_E_OPTIONS) {
		lose(device, SERVER_LOST, err);
		return 0;
	}
	if (!result) {
		result = ivs_device_watch(device, up->connection.sock, DEVICE_LINK);
		return result ? ivs_error_errno(err, -result, "cannot watch the server") : 0;
	}
	return result > 0 && result != IVS_DEVICE_E_OPTIONS ? IVS_DEVICE_E_SERVER : result;
}

void ivs_device_server_close(struct ivs_device *device)
{
	for (unsigned int i = 0; i < device->server.vectors_n; i++)
		ivs_fd_close(&device->server.vectors[i]);
	ivs_connection_deinit(&device->server.connection);
	ivs_connection_deinit(&device->server.fresh);
}
