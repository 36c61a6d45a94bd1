/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/service_manager.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/fd.h"

#define STORE_RETRY_MS 5
#define STORE_RETRY_SLOW_MS 100
#define STORE_PATIENCE_NS (2 * IVS_NS_PER_S)
#define REPORT_NS (10 * IVS_NS_PER_S)
#define REPORT_RETRY_MS 50

/* Return: whether the manager has not read for so long that clients no longer wait for it. */
static bool is_deaf(const struct ivs_server *server)
{
	return server->store_since != IVS_CLOCK_NEVER &&
	       ivs_clock_ns() - server->store_since > STORE_PATIENCE_NS;
}

static void store_later(struct ivs_server *server)
{
	int retry_ms = is_deaf(server) ? STORE_RETRY_SLOW_MS : STORE_RETRY_MS;

	if (server->store_since == IVS_CLOCK_NEVER)
		server->store_since = ivs_clock_ns();
	if (!ivs_loop_timer_is_set(&server->store_timer))
		ivs_loop_set_timer(&server->loop, &server->store_timer,
				   ivs_clock_deadline(retry_ms));
}

/* Have the manager store a client's fds. Return: false if the manager's socket is full. */
static bool store_client(struct ivs_server *server, struct ivs_client *client)
{
	int result = ivs_handover_store_client(server->handover, client);

	if (result > 0)
		return false;
	if (!result)
		server->store_since = IVS_CLOCK_NEVER;
	/* A client is served even if the manager does not store its fds. */
	if (result < 0 && ivs_log_allows(&server->others))
		ivs_log(IVS_LOG_WARNING,
			"the service manager does not store client %u: a crash will cost the "
			"client its connection: %s",
			client->id, strerrordesc_np(-result));
	client->stored_n = 1 + client->vectors_n;
	server->unstored_n--;
	return true;
}

static void stop_waiting_for(struct ivs_server *server, struct ivs_client *client)
{
	if (!client->unawaited && ivs_log_allows(&server->others))
		ivs_log(IVS_LOG_WARNING,
			"the service manager is not reading: until it does, a crash will cost "
			"client %u its connection",
			client->id);
	client->unawaited = true;
}

void ivs_server_store_clients(struct ivs_server *server)
{
	bool full = false;

	if (!server->changed || !server->unstored_n)
		return;
	for (unsigned int id = 0; id < server->ids_end; id++) {
		struct ivs_client *client = server->clients[id];

		if (!client || ivs_client_is_stored(client))
			continue;
		full = full || !store_client(server, client);
		if (full && is_deaf(server))
			stop_waiting_for(server, client);
	}
	if (full)
		store_later(server);
}

static void set_dropping(struct ivs_server *server, enum ivs_client_dropping from,
			 enum ivs_client_dropping to)
{
	for (struct ivs_client *client = server->departed; client; client = client->next) {
		if (client->dropping == from)
			client->dropping = to;
	}
	server->departed_due = true;
}

static void handle_barrier(struct ivs_loop_source *source, uint32_t events)
{
	struct ivs_server *server = IVS_CONTAINER_OF(source, struct ivs_server, barrier_source);

	(void)events;
	ivs_loop_remove(source);
	ivs_fd_close(&source->fd);
	set_dropping(server, IVS_CLIENT_DROP_ASKED, IVS_CLIENT_DROPPED);
	ivs_server_update_store(server); /* more clients may have left in the meantime */
}

static bool is_drop_due(const struct ivs_server *server)
{
	for (const struct ivs_client *client = server->departed; client; client = client->next) {
		if (client->dropping == IVS_CLIENT_DROP_DUE)
			return true;
	}
	return false;
}

/*
 * Ask to be notified when all requests so far have been carried out. Return: 0,
 * IVS_SERVICE_E_LATER, -errno.
 */
static int set_barrier(struct ivs_server *server)
{
	struct ivs_loop_source *source = &server->barrier_source;
	int fd = -1;
	int result;

	if (source->loop || !is_drop_due(server))
		return 0;
	result = ivs_service_barrier(&server->handover->service, &fd);
	if (result)
		return result;
	source->handle = handle_barrier;
	result = ivs_loop_add(&server->loop, source, fd, 0); /* EPOLLHUP is always reported */
	if (result) {
		ivs_fd_close(&fd);
		return IVS_SERVICE_E_LATER;
	}
	set_dropping(server, IVS_CLIENT_DROP_DUE, IVS_CLIENT_DROP_ASKED);
	return 0;
}

/* The service manager cannot be reached, so do not wait for it. */
static void give_up_drops(struct ivs_server *server, int errnum)
{
	set_dropping(server, IVS_CLIENT_DROP_DUE, IVS_CLIENT_DROPPED);
	if (ivs_log_allows(&server->others))
		ivs_log(IVS_LOG_WARNING,
			"cannot have the service manager drop the fds of clients that have left: "
			"%s",
			strerrordesc_np(errnum));
}

void ivs_server_update_store(struct ivs_server *server)
{
	int result;

	if (!ivs_service_exists(&server->handover->service))
		return;
	result = ivs_handover_retry_store(server->handover);
	if (!result && !server->unstored_n)
		server->store_since = IVS_CLOCK_NEVER;
	if (!result)
		result = set_barrier(server);
	if (result > 0)
		store_later(server);
	else if (result < 0)
		give_up_drops(server, -result);
}

void ivs_server_store_again(struct ivs_loop_timer *timer)
{
	struct ivs_server *server = IVS_CONTAINER_OF(timer, struct ivs_server, store_timer);

	ivs_server_update_store(server);
	server->changed = true; /* this makes the round store and announce new clients */
}

void ivs_server_notify_manager(struct ivs_loop_timer *timer)
{
	struct ivs_server *server = IVS_CONTAINER_OF(timer, struct ivs_server, notify_timer);
	const struct ivs_service *service = &server->handover->service;
	int64_t every_ns = REPORT_NS;
	char text[128];

	if (!ivs_service_exists(service))
		return;
	/* Report twice as often as the manager requires, as sd_watchdog_enabled(3) recommends. */
	if (service->watchdog_ns && service->watchdog_ns / 2 < every_ns)
		every_ns = service->watchdog_ns / 2;
	snprintf(text, sizeof(text), "%s%sSTATUS=%u clients; %" PRIu64 " joined since startup",
		 server->ready ? "" : "READY=1\n", service->watchdog_ns ? "WATCHDOG=1\n" : "",
		 ivs_roster_peers(server->roster), server->totals.joined);
	if (ivs_service_say(service, text) > 0) {
		/* Retry soon, because the manager kills a service that does not report in time. */
		ivs_loop_set_timer(&server->loop, timer, ivs_clock_deadline(REPORT_RETRY_MS));
		return;
	}
	server->ready = true;
	ivs_loop_set_timer(&server->loop, timer, ivs_clock_ns() + every_ns);
}
