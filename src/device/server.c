/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation. The device is a client of an ivshmem-server, and stays a device without one:
 *
 *   LOST          retried, until a server accepts: CONNECTED
 *   CONNECTED     its region comes, and is the one that the VM has, or the VM has none: JOINED
 *                 it is another one: OTHER_REGION
 *                 anything else, or nothing for 5 s: LOST
 *   OTHER_REGION  retried at once when the VMM has left, and hardly ever before that: each try uses
 *                 up an id (W-10)
 *   JOINED        the connection ends: LOST. Known doorbells continue to work both ways
 *
 * A new connection is pending until its region has come. Only then the previous doorbells are closed,
 * after what was rung on them has been delivered. A connection that a server accepts costs an id, so a
 * server that accepts and then fails is retried less and less often. A VMM that connects when the
 * state is LOST causes one more try, because its VM would keep the memory of a server that is gone; at
 * most one between two scheduled tries, so that such VMMs use up no more than twice the ids.
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
	     {"close"}, IVS_CALL_LSTAT, {"stat"}, {"stat64"});

#define OPEN_MS 5000
#define REGION_MS 2000 /* a VMM waits for 5 s */
#define RETRY_MS 1000
#define RETRY_MAX_MS 300000
#define USEFUL_MS 2000
/* In one go, so that other devices are served too: some messages, or one that takes long. */
#define RECEIVE_MAX 256
#define RECEIVE_MS 10

static void enter_state(struct ivs_device *device, enum ivs_device_server_state state)
{
	struct ivs_device_server *server = &device->server;
	int64_t retry_ns = IVS_CLOCK_NEVER;

	server->state = state;
	server->since_ms = ivs_clock_wall_ms();
	server->useful_ns = ivs_clock_deadline(USEFUL_MS);
	if (state == SERVER_LOST)
		retry_ns = ivs_clock_deadline((int)server->pause_ms);
	else if (state == SERVER_CONNECTED)
		retry_ns = ivs_clock_deadline(OPEN_MS);
	else if (state == SERVER_OTHER_REGION)
		retry_ns = ivs_clock_deadline(RETRY_MAX_MS);
	ivs_loop_set_timer(device->loop, &server->retry, retry_ns);
}

static void receive_doorbell(struct ivs_device *device, unsigned int vector)
{
	device->totals.rung++;
	ivs_pci_doorbell(&device->function, vector);
}

/* Deliver @vector, if it was rung. */
static void poll_vector(struct ivs_device_vector *vector)
{
	struct ivs_device *device = vector->device;

	if (ivs_eventfd_take(vector->fd) <= 0)
		return;
	receive_doorbell(device, (unsigned int)(vector - device->server.vectors));
	ivs_vfio_user_deliver(device->session);
}

static void handle_vector(struct ivs_loop_source *source, uint32_t events)
{
	(void)events;
	poll_vector(IVS_CONTAINER_OF(source, struct ivs_device_vector, source));
}

static void close_vectors(struct ivs_device *device)
{
	struct ivs_device_server *server = &device->server;

	for (unsigned int i = 0; i < server->vectors_n; i++) {
		ivs_loop_remove(&server->vectors[i].source);
		ivs_fd_close(&server->vectors[i].fd);
	}
	server->vectors_n = 0;
}

static void limit_doorbells(struct ivs_device *device)
{
	device->server.pending.doorbells.fds_limit = device->opts.remote_fds_limit;
}

/* Surplus vectors are not for this device. Return: 0 or -errno. */
static int add_vector(struct ivs_device *device, int *fd)
{
	struct ivs_device_server *server = &device->server;
	struct ivs_device_vector *vector = &server->vectors[server->vectors_n];
	int result;

	if (server->vectors_n == device->opts.doorbells_n)
		return 0;
	*vector = (struct ivs_device_vector){.source.handle = handle_vector, .device = device};
	result = ivs_loop_add(device->loop, &vector->source, *fd, EPOLLIN);
	if (result)
		return result;
	vector->fd = ivs_fd_take(fd);
	server->vectors_n++;
	return 0;
}

static bool has_vmm(const struct ivs_device *device)
{
	return device->session && ivs_vfio_user_is_connected(device->session);
}

static void log_id(struct ivs_device *device, int id)
{
	int last = device->server.last_id;

	if (last >= 0 && last != id && ivs_log_allows(&device->server.limit))
		ivs_log(IVS_LOG_WARNING,
			"%s: the device's id was %d and is %d now; the guest may have stored the "
			"old one",
			device->name, last, id);
}

static void log_lost_role(struct ivs_device *device)
{
	if (device->opts.role == IVS_DEVICE_MASTER && device->session &&
	    !ivs_device_is_master(device) && ivs_log_allows(&device->server.limit))
		ivs_log(IVS_LOG_WARNING,
			"%s: a master must be its server's first client, and the device is peer "
			"%d: it cannot be migrated",
			device->name, device->server.last_id);
}

/* The pending connection becomes the present one. */
static void join_server(struct ivs_device *device)
{
	struct ivs_device_server *server = &device->server;

	for (unsigned int i = 0; i < server->vectors_n; i++)
		poll_vector(&server->vectors[i]);
	close_vectors(device);
	ivs_connection_deinit(&server->connection);
	server->connection = server->pending;
	server->pending = (struct ivs_connection)IVS_CONNECTION_INIT;
	if (device->session) {
		struct ivs_vfio_user_memory memory = ivs_device_bar2_memory(device);

		ivs_vfio_user_set_memory(device->session, &memory);
		ivs_pci_set_id(&device->function, server->connection.id);
	}
	log_id(device, server->connection.id);
	server->last_id = server->connection.id;
	log_lost_role(device);
	server->joins_n++;
	device->vectors_checked = false;
	*server->problem.text = 0;
	enter_state(device, SERVER_JOINED);
}

/*
 * A region that is in use must stay; any other may be replaced. Return: 0, IVS_DEVICE_E_OPTIONS,
 * _OTHER_REGION, -errno.
 */
static int take_region(struct ivs_device *device, int *fd, struct ivs_error *err)
{
	bool in_use = device->memory.fd >= 0 && has_vmm(device);
	int result = 0;

	if (!in_use)
		result = ivs_device_bar2_take(device, fd, err);
	else if (!ivs_device_bar2_is(device, *fd))
		result = ivs_error_set(err, IVS_DEVICE_E_OTHER_REGION,
				       "the server at %s has another region than the VM: restart "
				       "the VM to use it",
				       device->opts.server);
	if (!result)
		join_server(device);
	return result;
}

/* The codes of a connection as those of a device. */
static int connection_result(int result)
{
	switch (result) {
	case IVS_CONNECTION_E_ADDRESS:
		return IVS_DEVICE_E_OPTIONS;
	case IVS_CONNECTION_E_AGAIN:
		return IVS_DEVICE_E_AGAIN;
	default:
		return result > 0 ? IVS_DEVICE_E_SERVER : result;
	}
}

/* Return: 0; else the server cannot be used, and @err says why. */
static int take_event(struct ivs_device *device, struct ivs_connection_event *event,
		      struct ivs_error *err)
{
	IVS_OWNED_FD fd = event->fd;
	int result;

	if (event->type == IVS_CONNECTION_REGION)
		return take_region(device, &fd, err);
	if (event->type != IVS_CONNECTION_VECTOR)
		return 0;
	result = add_vector(device, &fd);
	return result ? ivs_error_errno(err, -result, "cannot watch a doorbell") : 0;
}

/* Return: 0, IVS_DEVICE_E_AGAIN; else the server cannot be used, and @err says why. */
static int receive_one(struct ivs_device *device, struct ivs_error *err)
{
	struct ivs_device_server *server = &device->server;
	struct ivs_connection *connection = server->state == SERVER_CONNECTED ? &server->pending
									      : &server->connection;
	struct ivs_connection_event event;
	int result;

	result = connection_result(ivs_connection_next(connection, &event, err));
	if (result)
		return result;
	ivs_greeting_note(&server->greeting, connection, &event);
	return take_event(device, &event, err);
}

/* Return: whether the server accepted the connection, and has failed soon after. */
static bool has_failed_early(const struct ivs_device_server *server)
{
	return server->state == SERVER_CONNECTED ||
	       (server->state == SERVER_JOINED && ivs_clock_left_ms(server->useful_ns));
}

/*
 * Log a problem once, however often it is retried. A server that fails early is retried less and less
 * often; to try an absent one costs nothing.
 */
static void lose_server(struct ivs_device *device, enum ivs_device_server_state state,
			const struct ivs_error *err)
{
	struct ivs_device_server *server = &device->server;

	if (strcmp(server->problem.text, err->text) != 0) {
		server->problem = *err;
		if (ivs_log_allows(&server->limit))
			ivs_log(IVS_LOG_WARNING, "%s: %s; %s", device->name, err->text,
				state == SERVER_OTHER_REGION ? "not a peer until then"
							     : "retrying");
	}
	if (!has_failed_early(server)) {
		server->pause_ms = RETRY_MS;
		server->retried_early = false;
	} else if (!server->retried_early) {
		server->pause_ms *= 2;
		if (server->pause_ms > RETRY_MAX_MS)
			server->pause_ms = RETRY_MAX_MS;
	}
	ivs_loop_remove(&server->source);
	if (server->state == SERVER_CONNECTED)
		ivs_connection_deinit(&server->pending);
	else
		ivs_connection_close(&server->connection);
	enter_state(device, state);
}

bool ivs_device_server_receive(struct ivs_device *device)
{
	struct ivs_device_server *server = &device->server;
	uint64_t joins_before_n = server->joins_n;
	int64_t until_ns = ivs_clock_deadline(RECEIVE_MS);
	struct ivs_error err = {0};
	int result = 0;
	bool joined;

	for (unsigned int i = 0; i < RECEIVE_MAX && !result && ivs_clock_ns() < until_ns; i++)
		result = receive_one(device, &err);
	joined = server->joins_n != joins_before_n;
	if (joined && ivs_log_allows(&server->limit))
		ivs_log(IVS_LOG_WARNING, "%s: is peer %d of the server at %s", device->name,
			server->connection.id, device->opts.server);
	if (result && result != IVS_DEVICE_E_AGAIN)
		lose_server(device,
			    result == IVS_DEVICE_E_OTHER_REGION ? SERVER_OTHER_REGION : SERVER_LOST,
			    &err);
	return joined;
}

static int watch_server(struct ivs_device *device, const struct ivs_connection *connection,
			struct ivs_error *err)
{
	int result = ivs_loop_add(device->loop, &device->server.source, connection->sock, EPOLLIN);

	return result ? ivs_error_errno(err, -result, "cannot watch the server") : 0;
}

static void connect_again(struct ivs_device *device)
{
	struct ivs_device_server *server = &device->server;
	struct ivs_error err = {0};
	int result;

	limit_doorbells(device);
	server->greeting = (struct ivs_greeting){.region_only = true};
	result = connection_result(
		ivs_connection_connect(&server->pending, device->opts.server, &err));
	if (!result)
		result = watch_server(device, &server->pending, &err);
	if (!result) {
		enter_state(device, SERVER_CONNECTED);
		return;
	}
	ivs_connection_deinit(&server->pending);
	lose_server(device, SERVER_LOST, &err);
}

static void retry_server(struct ivs_loop_timer *timer)
{
	struct ivs_device *device = IVS_CONTAINER_OF(timer, struct ivs_device, server.retry);
	struct ivs_error err = {0};

	if (device->server.state != SERVER_CONNECTED) {
		device->server.retried_early = false;
		connect_again(device);
		return;
	}
	ivs_greeting_timeout(&device->server.greeting, &device->server.pending, &err);
	lose_server(device, SERVER_LOST, &err);
}

void ivs_device_server_vmm_left(struct ivs_device *device)
{
	if (device->server.state == SERVER_OTHER_REGION)
		connect_again(device);
}

int ivs_device_server_region_due_ms(struct ivs_device *device)
{
	struct ivs_device_server *server = &device->server;
	int left_ms;

	if (server->state == SERVER_LOST && !server->retried_early) {
		connect_again(device);
		server->retried_early = server->state == SERVER_CONNECTED; /* else it is absent */
	}
	if (server->state != SERVER_CONNECTED)
		return 0;
	left_ms = ivs_clock_left_ms(server->retry.at_ns) - (OPEN_MS - REGION_MS);
	return left_ms > 0 ? left_ms : 0;
}

bool ivs_device_server_has_vectors(const struct ivs_device *device)
{
	const struct ivs_device_server *server = &device->server;

	return server->state == SERVER_JOINED && ivs_greeting_is_over(&server->greeting);
}

bool ivs_device_server_is_greeted(const struct ivs_device *device)
{
	return device->server.state == SERVER_CONNECTED;
}

/* A doorbell that blocked is not rung again. */
static void ring_fd(struct ivs_device *device, int *fd)
{
	int result = ivs_eventfd_signal(*fd);

	if (result)
		device->totals.lost++;
	if (result != -EINTR)
		return;
	if (ivs_log_allows(&device->server.limit))
		ivs_log(IVS_LOG_WARNING,
			"%s: a peer has filled a doorbell and made it blocking; it is not rung any "
			"more",
			device->name);
	ivs_fd_close(fd);
}

/* Return: whether there is such a vector. */
static bool ring_other(struct ivs_device *device, unsigned int peer, unsigned int vector)
{
	struct ivs_doorbell_set *set = ivs_doorbells_get(&device->server.connection.doorbells,
							 peer);
	bool exists = set && vector < set->fds_n;

	if (exists)
		ring_fd(device, &set->fds[vector]);
	ivs_doorbell_set_put(set);
	return exists;
}

/* Return: whether there is such a vector. */
static bool ring_peer(struct ivs_device *device, unsigned int peer, unsigned int vector)
{
	const struct ivs_device_server *server = &device->server;

	if ((int)peer != server->last_id || vector >= server->vectors_n)
		return ring_other(device, peer, vector);
	receive_doorbell(device,
			 vector); /* delivered after the guest's write, with what else is due */
	return true;
}

/*
 * The guest may know a peer before the device does, through the memory. Receiving in the middle of a
 * guest's register write cannot re-enter the session: only joining does, and a connection that has
 * joined gets no second region (W-5).
 */
void ivs_device_server_ring(struct ivs_device *device, unsigned int peer, unsigned int vector)
{
	if (ring_peer(device, peer, vector))
		return;
	if (device->server.state == SERVER_JOINED)
		(void)ivs_device_server_receive(device);
	if (!ring_peer(device, peer, vector))
		device->totals.lost++;
}

/* At the start: wait for the region, which comes in one burst with the id. */
static int await_region(struct ivs_device *device, struct ivs_error *err)
{
	struct ivs_device_server *server = &device->server;
	struct ivs_connection_event event;
	int result;

	server->greeting = (struct ivs_greeting){
		.region_only = true,
		.deadline_ns = ivs_clock_deadline(OPEN_MS),
	};
	result = connection_result(ivs_greeting_connect(&server->greeting, &server->pending,
							device->opts.server, err));
	if (!result)
		enter_state(device, SERVER_CONNECTED);
	while (!result && server->state == SERVER_CONNECTED) {
		result = connection_result(
			ivs_greeting_next(&server->greeting, &server->pending, &event, err));
		if (!result)
			result = take_event(device, &event, err);
	}
	return result;
}

void ivs_device_server_init(struct ivs_device *device)
{
	struct ivs_device_server *server = &device->server;

	server->connection = server->pending = (struct ivs_connection)IVS_CONNECTION_INIT;
	server->retry.handle = retry_server;
	server->last_id = -1;
	server->pause_ms = RETRY_MS;
}

int ivs_device_server_open(struct ivs_device *device, struct ivs_error *err)
{
	int result;

	if (!device->opts.server)
		return 0;
	limit_doorbells(device);
	result = await_region(device, err);
	if (!result)
		return watch_server(device, &device->server.connection, err);
	if (!device->opts.late || result == IVS_DEVICE_E_OPTIONS)
		return result;
	lose_server(device, SERVER_LOST, err);
	return 0;
}

void ivs_device_server_close(struct ivs_device *device)
{
	struct ivs_device_server *server = &device->server;

	ivs_loop_remove(&server->source);
	ivs_loop_cancel_timer(&server->retry);
	close_vectors(device);
	ivs_connection_deinit(&server->connection);
	ivs_connection_deinit(&server->pending);
}
