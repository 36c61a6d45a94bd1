/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/unread.h"

#include "server/flight.h"

#define READ_MS 5000
#define PAUSE_MS 1000 /* time between checks of all clients, however many join */

void ivs_server_await_reading(struct ivs_server *server, struct ivs_client *client)
{
	client->read_by_ns = ivs_clock_deadline(READ_MS);
	if (!server->unread_timer.link)
		ivs_loop_set_timer(&server->loop, &server->unread_timer, client->read_by_ns);
}

/* The number of fds in flight goes down only when the client reads (flight.c). */
static void check_client(struct ivs_server *server, struct ivs_client *client)
{
	ivs_flight_update(server, client);
	if (client->read_by_ns && client->flight_n && ivs_log_allows(&server->unread))
		ivs_log(IVS_LOG_WARNING,
			"client %u (pid %d, uid %d) has not read its greeting for %d s; if it is "
			"QEMU, remove reconnect= from its chardev, which makes QEMU wait forever",
			client->id, (int)client->cred.pid, (int)client->cred.uid, READ_MS / 1000);
	client->read_by_ns = 0;
}

void ivs_server_check_reading(struct ivs_loop_timer *timer)
{
	struct ivs_server *server = IVS_CONTAINER_OF(timer, struct ivs_server, unread_timer);
	int64_t now_ns = ivs_clock_ns();
	int64_t pause_ns = ivs_clock_deadline(PAUSE_MS);
	int64_t next_ns = IVS_CLOCK_NEVER;

	for (unsigned int id = 0; id < server->ids_end; id++) {
		struct ivs_client *client = server->clients[id];

		if (!client || !client->read_by_ns)
			continue;
		if (client->read_by_ns <= now_ns)
			check_client(server, client);
		else if (client->read_by_ns < next_ns)
			next_ns = client->read_by_ns;
	}
	if (next_ns != IVS_CLOCK_NEVER)
		ivs_loop_set_timer(&server->loop, timer, next_ns > pause_ns ? next_ns : pause_ns);
}
