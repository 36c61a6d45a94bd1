/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/service_manager.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "server/announce.h"

#define KEEP_RETRY_MS 5
#define KEEP_RETRY_SLOW_MS 100
#define KEEP_PATIENCE_NS (2 * IVS_NS_PER_S)
#define REPORT_NS (10 * IVS_NS_PER_S)
#define REPORT_RETRY_MS 50

/* Whether the manager has not read for so long that nobody waits for it any more. */
static bool is_deaf(const struct ivs_server *server)
{
	return server->store_since != IVS_CLOCK_NEVER &&
	       ivs_clock_ns() - server->store_since > KEEP_PATIENCE_NS;
}

static void keep_later(struct ivs_server *server)
{
	if (server->store_since == IVS_CLOCK_NEVER)
		server->store_since = ivs_clock_ns();
	if (!ivs_loop_timer_is_set(&server->store_timer))
		ivs_loop_set_timer(
			&server->loop, &server->store_timer,
			ivs_clock_deadline(is_deaf(server) ? KEEP_RETRY_SLOW_MS : KEEP_RETRY_MS));
}

bool ivs_server_store_client(struct ivs_server *server, unsigned int id)
{
	struct ivs_client *client = server->clients[id];
	int result;

	if (client->kept_n == 1 + client->vectors_n)
		return true;
	result = ivs_handover_store_client(server->handover, client);
	if (!result)
		server->store_since = IVS_CLOCK_NEVER;
	if (result > 0) {
		keep_later(server);
		if (is_deaf(server) && ivs_log_allows(&server->refusals))
			ivs_log(IVS_LOG_WARNING,
				"the service manager does not read: until it does, a crash will "
				"cost client %u its connection",
				id);
		return is_deaf(server);
	}
	if (result < 0) {
		/* A manager that is not there is no reason to serve nobody. */
		if (ivs_log_allows(&server->refusals))
			ivs_log(IVS_LOG_WARNING,
				"the service manager does not keep client %u: a crash will cost it "
				"its connection: %s",
				id, strerrordesc_np(-result));
		client->kept_n = 1 + client->vectors_n;
	}
	return true;
}

/* Whether the manager still has to be given a client. */
static bool is_waited_for(const struct ivs_server *server)
{
	for (unsigned int id = 0; id < server->ids_end; id++) {
		const struct ivs_client *client = server->clients[id];

		if (client && client->kept_n != 1 + client->vectors_n)
			return true;
	}
	return false;
}

/* What the manager is owed. */
static void catch_up(struct ivs_server *server)
{
	int result;

	if (!ivs_service_exists(&server->handover->service))
		return;
	result = ivs_handover_retry_store(server->handover);
	if (!result && !is_waited_for(server))
		server->store_since = IVS_CLOCK_NEVER;
	if (result > 0)
		keep_later(server);
	else if (result < 0 && ivs_log_allows(&server->refusals))
		ivs_log(IVS_LOG_WARNING, "the service manager cannot be told who left: %s",
			strerrordesc_np(-result));
}

void ivs_server_forget_client(struct ivs_server *server, struct ivs_client *client)
{
	ivs_client_close(client);
	ivs_handover_forget_client(server->handover, client);
	ivs_client_free(client);
	catch_up(server);
}

void ivs_server_store_again(struct ivs_loop_timer *timer)
{
	struct ivs_server *server = IVS_CONTAINER_OF(timer, struct ivs_server, store_timer);

	catch_up(server);
	server->changed = true; /* those who are kept now may be told */
}

void ivs_server_notify_manager(struct ivs_loop_timer *timer)
{
	struct ivs_server *server = IVS_CONTAINER_OF(timer, struct ivs_server, notify_timer);
	const struct ivs_service *service = &server->handover->service;
	int64_t every = REPORT_NS;
	char text[128];

	if (!ivs_service_exists(service))
		return;
	/* Twice as often as it wants, as sd_watchdog_enabled(3) recommends. */
	if (service->watchdog_ns && service->watchdog_ns / 2 < every)
		every = service->watchdog_ns / 2;
	snprintf(text, sizeof(text), "%s%sSTATUS=%u clients; %" PRIu64 " joined since the start",
		 server->ready ? "" : "READY=1\n", service->watchdog_ns ? "WATCHDOG=1\n" : "",
		 ivs_roster_peers(server->roster), server->totals.joined);
	if (ivs_service_say(service, text) > 0) {
		/* It gives up on a service of which it does not hear. */
		ivs_loop_set_timer(&server->loop, timer, ivs_clock_deadline(REPORT_RETRY_MS));
		return;
	}
	server->ready = true;
	ivs_loop_set_timer(&server->loop, timer, ivs_clock_ns() + every);
}
