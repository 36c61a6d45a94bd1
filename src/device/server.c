/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation. The device is a client of an ivshmem-server, and survives its loss:
 *
 *   LOST         -> a server accepts one of the repeated attempts to connect: CONNECTED
 *   CONNECTED    -> the region arrives, and the VMM has mapped the same region or none: JOINED
 *                -> the region arrives, and the VMM has mapped another region: OTHER_REGION
 *                -> the connection fails, or no region arrives within 5 s: LOST
 *   JOINED       -> the connection fails: LOST. Known doorbells continue to work in both directions
 *   OTHER_REGION -> the VMM leaves: connect immediately, as in LOST. Until then an attempt is made
 *                   only every 300 s, because each attempt is a join for all other clients
 *
 * A new connection is pending until the region has arrived. Only then are the doorbells of the old
 * connection closed and replaced. Doorbells that have been received by then are delivered first.
 *
 * Each attempt that a server accepts is a join, so if the connection does not last, the pause
 * before the next attempt doubles. In the state LOST a VMM that connects causes an extra attempt,
 * because otherwise its VM would keep using the memory of a server that no longer exists. At most
 * one extra attempt is made between two regular ones, so VMMs that reconnect all the time can at
 * most double the number of joins.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/error.h"
#include "base/fd.h"
#include "device/private.h"

IVS_SYSCALLS(ivs_device_server_syscalls,
	     {"socket", {IVS_ARG_IS(1, AF_UNIX), IVS_ARG_HAS(2, 0xf, SOCK_STREAM)}}, {"connect"},
	     {"setsockopt", {IVS_ARG_IS(2, SOL_SOCKET), IVS_ARG_IS(3, SO_OOBINLINE)}},
	     {"bind", {IVS_ARG_IS(3, sizeof(sa_family_t))}}, {"close"}, IVS_CALL_LSTAT, {"stat"},
	     {"stat64"});

#define GREETING_MS 5000
#define REGION_MS 2000 /* how long a VMM waits for the region; VMMs give up after 5 s or more */
#define RETRY_MS 1000
#define RETRY_MAX_MS 300000
#define STABLE_MS 2000
/* Limits of one round, so that other devices are served, too. */
#define RECEIVE_MAX 256
#define RECEIVE_MS 10
#define KEPT_RETRY_MS 10

static void set_state(struct ivs_device *device, enum ivs_device_server_state state)
{
	struct ivs_device_server *server = &device->server;
	int slow_ms = ivs_slow_pause_ms(&server->slow);
	int64_t retry_ns = IVS_CLOCK_NEVER;

	server->state = state;
	server->since_ms = ivs_clock_wall_ms();
	server->stable_ns = ivs_clock_deadline(STABLE_MS);
	if (state == SERVER_LOST)
		retry_ns = ivs_clock_deadline(
			slow_ms > (int)server->pause_ms ? slow_ms : (int)server->pause_ms);
	else if (state == SERVER_CONNECTED)
		retry_ns = ivs_clock_deadline(GREETING_MS);
	else if (state == SERVER_OTHER_REGION)
		retry_ns = ivs_clock_deadline(RETRY_MAX_MS);
	ivs_loop_set_timer(device->loop, &server->retry_timer, retry_ns);
}

/* Only the device with id 0 can be a master, so that a guest has the same id after migration. */
bool ivs_device_is_master(const struct ivs_device *device)
{
	if (device->opts.role == IVS_DEVICE_PEER || device->server.last_id > 0 ||
	    device->opts.access != IVS_DEVICE_WRITES)
		return false;
	return device->opts.role == IVS_DEVICE_MASTER || !device->opts.server ||
	       device->server.last_id == 0;
}

static bool has_vmm(const struct ivs_device *device)
{
	return device->session && ivs_vfio_user_is_connected(device->session);
}

static void log_other_id(const struct ivs_device *device, int id)
{
	int last_id = device->server.last_id;

	if (last_id >= 0 && last_id != id)
		ivs_log(IVS_LOG_WARNING,
			"%s: the id of the device changed from %d to %d; the guest may still use "
			"the old one",
			device->name, last_id, id);
}

static void log_not_master(struct ivs_device *device)
{
	if (device->opts.role == IVS_DEVICE_MASTER && device->session &&
	    !ivs_device_is_master(device) && ivs_log_allows(&device->server.limit))
		ivs_log(IVS_LOG_WARNING,
			"%s: cannot be migrated: a master must be the first client of its server, "
			"and this device is peer %d",
			device->name, device->server.last_id);
}

/* Make the pending connection the current one. */
static void join_server(struct ivs_device *device)
{
	struct ivs_device_server *server = &device->server;
	int id = server->pending.id;

	ivs_device_doorbells_replace(device);
	ivs_connection_deinit(&server->connection);
	server->connection = server->pending;
	server->pending = (struct ivs_connection)IVS_CONNECTION_INIT;
	if (device->session) {
		struct ivs_vfio_user_memory memory = ivs_device_bar2_memory(device);

		ivs_vfio_user_set_memory(device->session, &memory);
		ivs_pci_set_id(&device->function, id);
	}
	if (ivs_log_allows(&server->limit))
		log_other_id(device, id);
	server->last_id = id;
	log_not_master(device);
	server->joins++;
	device->vectors_checked = false;
	*server->problem.text = 0;
	set_state(device, SERVER_JOINED);
}

/* Called before any request to the region's file system, which could delay its reply. */
static int check_region(const struct ivs_device *device, int fd, struct ivs_error *err)
{
	struct ivs_received received;

	ivs_received_look(&device->server.mounts, fd, &received);
	if (received.kind != IVS_RECEIVED_OTHER || device->opts.any_file_system)
		return 0;
	return ivs_error_set(
		err, IVS_DEVICE_E_LOST,
		"the region of the server at %s is neither memory nor a file on a local "
		"disk (file system: %s), so it can make this process wait forever: start "
		"the server with memfd: or shm:, or use --any-file-system",
		device->opts.server, received.file_system);
}

/* The region cannot be replaced while a VMM has it mapped. */
static int receive_region(struct ivs_device *device, int *fd, struct ivs_error *err)
{
	bool in_use = device->bar2.fd >= 0 && has_vmm(device);
	int result = check_region(device, *fd, err);

	if (result)
		return result;
	if (!in_use)
		result = ivs_device_bar2_replace(device, fd, err);
	else if (!ivs_device_bar2_shows(device, *fd))
		result = ivs_error_set(err, IVS_DEVICE_E_SERVER,
				       "the server at %s has a different region from the VM's: "
				       "restart the VM to use it",
				       device->opts.server);
	if (!result)
		join_server(device);
	return result;
}

static int translate_connection_result(int result)
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

/* Return: 0; otherwise the connection has to be closed, for the reason in @err. */
static int handle_event(struct ivs_device *device, struct ivs_connection_event *event,
			struct ivs_error *err)
{
	int result = 0;

	if (event->type == IVS_CONNECTION_REGION) {
		result = receive_region(device, &event->fd, err);
	} else if (event->type == IVS_CONNECTION_VECTOR) {
		result = ivs_device_doorbells_add(device, &event->fd);
		if (result)
			ivs_error_errno(err, -result, "cannot watch a doorbell");
	}
	ivs_dispose(&device->server.disposal, &event->fd);
	return result;
}

/* Return: 0; IVS_DEVICE_E_AGAIN: there is nothing more to read; otherwise like handle_event(). */
static int receive_event(struct ivs_device *device, struct ivs_error *err)
{
	struct ivs_device_server *server = &device->server;
	struct ivs_connection *connection = server->state == SERVER_CONNECTED ? &server->pending
									      : &server->connection;
	struct ivs_connection_event event;
	int result;

	ivs_slow_begin(&server->slow);
	result = ivs_connection_next(connection, &event, err);
	if (ivs_slow_check(&server->slow)) {
		if (!result)
			ivs_dispose(&server->disposal, &event.fd);
		return ivs_error_set(err, IVS_DEVICE_E_LOST,
				     "each message from the server at %s takes too long, because "
				     "too many epoll instances watch its socket",
				     device->opts.server);
	}
	if (result)
		return translate_connection_result(result);
	ivs_greeting_note(&server->greeting, connection, &event);
	return handle_event(device, &event, err);
}

/* Return: whether a connection that is lost now has used up an id without having become stable. */
static bool ends_early(const struct ivs_device_server *server)
{
	return server->state == SERVER_CONNECTED ||
	       (server->state == SERVER_JOINED && ivs_clock_left_ms(server->stable_ns));
}

/* Log a problem only once, even if further attempts to connect fail for the same reason. */
static void log_problem(struct ivs_device *device, enum ivs_device_server_state state,
			const struct ivs_error *err)
{
	struct ivs_device_server *server = &device->server;

	if (!strcmp(server->problem.text, err->text))
		return;
	server->problem = *err;
	if (ivs_log_allows(&server->limit))
		ivs_log(IVS_LOG_WARNING, "%s: %s; %s", device->name, err->text,
			state == SERVER_OTHER_REGION ? "until then the device is not a peer"
						     : "trying again");
}

/* An attempt uses up an id if the connection ends early, but not if the server is absent. */
static void set_pause(struct ivs_device_server *server)
{
	if (!ends_early(server)) {
		server->pause_ms = RETRY_MS;
		server->retried_early = false;
	} else if (!server->retried_early) {
		server->pause_ms = server->pause_ms * 2 < RETRY_MAX_MS ? server->pause_ms * 2
								       : RETRY_MAX_MS;
	}
}

static void lose_server(struct ivs_device *device, enum ivs_device_server_state state,
			const struct ivs_error *err)
{
	struct ivs_device_server *server = &device->server;

	log_problem(device, state, err);
	set_pause(server);
	ivs_loop_remove(&server->source);
	if (server->state == SERVER_CONNECTED)
		ivs_connection_deinit(&server->pending);
	else
		ivs_connection_close(&server->connection);
	set_state(device, state);
}

/*
 * If doorbells of peers that have left cannot be closed (daemon/closer.h), do not receive more
 * doorbells: they would use up the fds of this process. Return: whether receiving is paused.
 */
static bool pause_receiving(struct ivs_device *device)
{
	struct ivs_device_server *server = &device->server;

	if (!ivs_device_discard_retry(device))
		return false;
	if (ivs_log_allows(&server->limit))
		ivs_log(IVS_LOG_WARNING,
			"%s: not receiving from the server at %s, because closing fds that it sent "
			"is blocked by other processes, and %u are still open",
			device->name, device->opts.server, ivs_device_discard_waiting_n(device));
	ivs_loop_remove(&server->source);
	ivs_loop_set_timer(device->loop, &server->pause_timer, ivs_clock_deadline(KEPT_RETRY_MS));
	return true;
}

bool ivs_device_server_receive(struct ivs_device *device)
{
	struct ivs_device_server *server = &device->server;
	uint64_t joins = server->joins;
	int64_t until_ns = ivs_clock_deadline(RECEIVE_MS);
	struct ivs_error err = {0};
	int result = 0;

	if (pause_receiving(device))
		return false;
	ivs_closer_collect(true);
	for (unsigned int i = 0; i < RECEIVE_MAX && !result && ivs_clock_ns() < until_ns &&
				 ivs_device_discard_waiting_n(device) <= IVS_DEVICE_WAITING_MAX;
	     i++)
		result = receive_event(device, &err);
	ivs_closer_collect(false);
	if (joins != server->joins && ivs_log_allows(&server->limit))
		ivs_log(IVS_LOG_WARNING, "%s: is peer %d of the server at %s", device->name,
			server->connection.id, device->opts.server);
	if (result && result != IVS_DEVICE_E_AGAIN)
		lose_server(device,
			    result == IVS_DEVICE_E_SERVER ? SERVER_OTHER_REGION : SERVER_LOST,
			    &err);
	return joins != server->joins;
}

static int watch_server(struct ivs_device *device, int sock, struct ivs_error *err)
{
	int result = ivs_loop_add(device->loop, &device->server.source, sock, EPOLLIN);

	return result ? ivs_error_errno(err, -result, "cannot watch the server's socket") : 0;
}

static void prepare_connection(struct ivs_device *device)
{
	struct ivs_connection *pending = &device->server.pending;

	pending->doorbells.fds_limit = device->opts.remote_fds_limit;
	pending->disposal = &device->server.disposal;
}

static void give_up(struct ivs_device *device)
{
	const struct ivs_error err = {
		.text = "the server sent too many fds that this process cannot close without "
			"blocking: restart this program once the server is fixed",
	};

	log_problem(device, SERVER_LOST, &err);
	set_state(device, SERVER_LOST);
	ivs_loop_cancel_timer(&device->server.retry_timer);
}

static void handle_pause(struct ivs_loop_timer *timer)
{
	struct ivs_device *device = IVS_CONTAINER_OF(timer, struct ivs_device, server.pause_timer);
	struct ivs_device_server *server = &device->server;
	int sock = server->state == SERVER_CONNECTED ? server->pending.sock
						     : server->connection.sock;
	struct ivs_error err = {0};

	if (sock >= 0 && !server->source.loop && !pause_receiving(device) &&
	    watch_server(device, sock, &err))
		lose_server(device, SERVER_LOST, &err);
}

static void connect_server(struct ivs_device *device)
{
	struct ivs_device_server *server = &device->server;
	struct ivs_error err = {0};
	int result;

	if (ivs_device_discard_keeps_many(device)) {
		give_up(device);
		return;
	}
	prepare_connection(device);
	server->greeting = (struct ivs_greeting){.region_only = true};
	ivs_slow_begin(&server->slow);
	result = ivs_connection_connect(&server->pending, device->opts.server, &err);
	(void)ivs_slow_check(&server->slow); /* set_state() calls ivs_slow_pause_ms() */
	if (!result)
		result = watch_server(device, server->pending.sock, &err);
	if (!result) {
		set_state(device, SERVER_CONNECTED);
		return;
	}
	ivs_connection_deinit(&server->pending);
	lose_server(device, SERVER_LOST, &err);
}

static void handle_retry(struct ivs_loop_timer *timer)
{
	struct ivs_device *device = IVS_CONTAINER_OF(timer, struct ivs_device, server.retry_timer);
	struct ivs_error err = {0};

	if (device->server.state != SERVER_CONNECTED) {
		device->server.retried_early = false;
		connect_server(device);
		return;
	}
	ivs_greeting_timeout(&device->server.greeting, &device->server.pending, &err);
	lose_server(device, SERVER_LOST, &err);
}

void ivs_device_server_vmm_gone(struct ivs_device *device)
{
	if (device->server.state == SERVER_OTHER_REGION)
		connect_server(device);
}

int ivs_device_server_region_due_ms(struct ivs_device *device)
{
	struct ivs_device_server *server = &device->server;
	int left_ms;

	if (server->state == SERVER_LOST && !server->retried_early) {
		connect_server(device);
		/* If the server is absent, the attempt has not used up an id and does not count. */
		server->retried_early = server->state == SERVER_CONNECTED;
	}
	if (server->state != SERVER_CONNECTED)
		return 0;
	left_ms = ivs_clock_left_ms(server->retry_timer.at_ns) - (GREETING_MS - REGION_MS);
	return left_ms > 0 ? left_ms : 0;
}

bool ivs_device_server_has_vectors(const struct ivs_device *device)
{
	const struct ivs_device_server *server = &device->server;

	return server->state == SERVER_JOINED && ivs_greeting_is_over(&server->greeting);
}

bool ivs_device_server_is_connected(const struct ivs_device *device)
{
	return device->server.state == SERVER_CONNECTED;
}

void ivs_device_server_ring(struct ivs_device *device, unsigned int peer, unsigned int vector)
{
	if (ivs_device_doorbells_ring(device, peer, vector))
		return;
	/*
	 * Through the region the guest may have learned of a peer whose join the device has not
	 * received yet. So receive and try again. Receiving is safe during the guest's register
	 * write: only a region or an id changes the session or its function, and a connection in
	 * the state JOINED has already received both.
	 */
	if (device->server.state == SERVER_JOINED)
		(void)ivs_device_server_receive(device);
	if (!ivs_device_doorbells_ring(device, peer, vector))
		device->totals.lost++;
}

/* At startup, wait for the region, which the server sends in one burst with the id. */
static int await_region(struct ivs_device *device, struct ivs_error *err)
{
	struct ivs_device_server *server = &device->server;
	struct ivs_connection_event event;
	int result;

	server->greeting = (struct ivs_greeting){
		.region_only = true,
		.deadline_ns = ivs_clock_deadline(GREETING_MS),
	};
	result = ivs_greeting_connect(&server->greeting, &server->pending, device->opts.server,
				      err);
	if (!result)
		set_state(device, SERVER_CONNECTED);
	result = translate_connection_result(result);
	while (!result && server->state == SERVER_CONNECTED) {
		result = translate_connection_result(
			ivs_greeting_next(&server->greeting, &server->pending, &event, err));
		if (!result)
			result = handle_event(device, &event, err);
	}
	return result;
}

void ivs_device_server_init(struct ivs_device *device,
			    void (*handle)(struct ivs_loop_source *source, uint32_t events))
{
	struct ivs_device_server *server = &device->server;

	server->mounts.fd = -1;
	if (device->opts.server)
		ivs_received_mounts_open(&server->mounts);
	ivs_device_discard_init(device);
	server->connection = server->pending = (struct ivs_connection)IVS_CONNECTION_INIT;
	server->source.handle = handle;
	server->retry_timer.handle = handle_retry;
	server->pause_timer.handle = handle_pause;
	server->last_id = -1;
	server->pause_ms = RETRY_MS;
}

int ivs_device_server_open(struct ivs_device *device, struct ivs_error *err)
{
	struct ivs_device_server *server = &device->server;
	int result;

	if (!device->opts.server)
		return 0;
	prepare_connection(device);
	result = await_region(device, err);
	if (result && device->opts.late && result != IVS_DEVICE_E_OPTIONS) {
		lose_server(device, SERVER_LOST, err);
		return 0;
	}
	if (!result)
		return watch_server(device, server->connection.sock, err);
	return result > 0 && result != IVS_DEVICE_E_OPTIONS ? IVS_DEVICE_E_SERVER : result;
}

void ivs_device_server_close(struct ivs_device *device)
{
	struct ivs_device_server *server = &device->server;

	ivs_loop_cancel_timer(&server->retry_timer);
	ivs_loop_cancel_timer(&server->pause_timer);
	ivs_loop_remove(&server->source);
	ivs_device_doorbells_close(device);
	ivs_connection_deinit(&server->connection);
	ivs_connection_deinit(&server->pending);
	ivs_received_mounts_close(&server->mounts);
}
