/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/manager.h"

#include <inttypes.h>
#include <stdio.h>

#include "server/tell.h"

#define KEEP_RETRY_MS 5
#define REPORT_NS (10 * IVS_NS_PER_S)

static void keep_later(struct ivs_server *server)
{
	if (server->timers[TIMER_KEEP] == IVS_CLOCK_NEVER)
		server->timers[TIMER_KEEP] = ivs_clock_deadline(KEEP_RETRY_MS);
}

bool ivs_server_is_kept(struct ivs_server *server, unsigned int id)
{
	struct ivs_client *client = server->clients[id];
	int result;

	if (client->kept_n == 1 + client->vectors_n)
		return true;
	result = ivs_keep_client(server->keep, client);
	if (result > 0) {
		keep_later(server);
		return false;
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

/* Return: whether it is done. */
static bool forget(struct ivs_server *server, struct ivs_client *client)
{
	if (ivs_keep_forget_client(server->keep, client) > 0)
		return false;
	ivs_client_free(client);
	return true;
}

void ivs_server_forget(struct ivs_server *server, struct ivs_client *client)
{
	ivs_client_close(client);
	if (forget(server, client))
		return;
	client->next = server->gone;
	server->gone = client;
	keep_later(server);
}

void ivs_server_keep_again(struct ivs_server *server)
{
	server->timers[TIMER_KEEP] = IVS_CLOCK_NEVER;
	while (server->gone) {
		struct ivs_client *client = server->gone;
		struct ivs_client *next = client->next;

		if (!forget(server, client)) {
			keep_later(server);
			break;
		}
		server->gone = next;
	}
	server->changed = true; /* those who are kept now may be told */
}

void ivs_server_report(struct ivs_server *server)
{
	const struct ivs_service *service = &server->keep->service;
	int64_t every = REPORT_NS;
	char text[128];

	if (!ivs_service_exists(service)) {
		server->timers[TIMER_REPORT] = IVS_CLOCK_NEVER;
		return;
	}
	/* Twice as often as it wants, as sd_watchdog_enabled(3) recommends. */
	if (service->watchdog_ns && service->watchdog_ns / 2 < every)
		every = service->watchdog_ns / 2;
	snprintf(text, sizeof(text), "%sSTATUS=%u clients; %" PRIu64 " joined since the start",
		 service->watchdog_ns ? "WATCHDOG=1\n" : "", ivs_roster_peers(server->roster),
		 server->totals.joined);
	ivs_service_say(service, text);
	server->timers[TIMER_REPORT] = ivs_clock_ns() + every;
}
