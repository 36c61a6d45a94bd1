/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/clients.h"

#include "server/announce.h"
#include "server/departed.h"
#include "server/flight.h"
#include "server/seats.h"
#include "server/service_manager.h"

static void drop_client(struct ivs_server *server, struct ivs_client *client, enum ivs_drop why)
{
	static const char *const reasons[DROPS_N] = {
		[DROP_CLOSED] = "it closed the connection",
		[DROP_SPOKE] = "it sent data, which clients must not do",
		[DROP_FAILED] = "its socket failed",
		[DROP_COSTLY] = "messages to it took too much processor time, because its socket "
				"is watched by too many epoll instances",
	};
	enum ivs_log_level level = why == DROP_CLOSED ? IVS_LOG_INFO : IVS_LOG_WARNING;

	ivs_loop_remove(&client->source);
	server->clients[client->id] = NULL;
	while (server->ids_end && !server->clients[server->ids_end - 1])
		server->ids_end--;
	server->unstored_n -= !ivs_client_is_stored(client);
	/*
	 * A QEMU is not sent leaves, so it may poll the eventfds of this client for as long as it
	 * runs. A client that was dropped may read its doorbells until it notices.
	 */
	client->held = client->quiet || why != DROP_CLOSED;
	ivs_server_leave_roster(server, client);
	if (server->page)
		ivs_roster_page_writer_leave(server->page, client->id);
	ivs_flight_end(server, client);
	server->changed = true;
	server->totals.left[why]++;
	if (ivs_log_allows(level == IVS_LOG_INFO ? &server->progress : &server->drops))
		ivs_log(level, "client %u left (pid %d, uid %d): %s; %u connected", client->id,
			(int)client->cred.pid, (int)client->cred.uid, reasons[why],
			ivs_roster_peers(server->roster));
	ivs_handover_forget_client(server->handover, client);
	ivs_server_depart(server, client);
	ivs_server_sweep_seats(server);
	ivs_server_update_store(server);
}

static void check_client(struct ivs_server *server, struct ivs_client *client)
{
	int result = ivs_client_check(client);

	if (result == IVS_CLIENT_E_CLOSED)
		drop_client(server, client, DROP_CLOSED);
	else if (result == IVS_CLIENT_E_SPOKE)
		drop_client(server, client, DROP_SPOKE);
	else if (result)
		drop_client(server, client, DROP_FAILED);
}

static void handle_client(struct ivs_loop_source *source, uint32_t events)
{
	struct ivs_server *server = IVS_CONTAINER_OF(source->loop, struct ivs_server, loop);
	struct ivs_client *client = IVS_CONTAINER_OF(source, struct ivs_client, source);
	unsigned int id = client->id;

	if (events & EPOLLPRI)
		drop_client(server, client, DROP_SPOKE);
	else if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		check_client(server, client);
	if (!server->clients[id] || !(events & EPOLLOUT))
		return;
	client->blocked = false;
	ivs_flight_update(server, client);
	/*
	 * The call has no effect while the kernel refuses messages, because each refusal also
	 * raises EPOLLOUT.
	 */
	ivs_server_announce_to(server, client);
}

/* Remove @client, which is new or comes from a previous process. Return: @result. */
static int lose_client(struct ivs_server *server, struct ivs_client *client, int result)
{
	ivs_server_leave_roster(server, client);
	ivs_handover_forget_client(server->handover, client);
	ivs_server_depart(server, client);
	return result;
}

int ivs_server_add(struct ivs_server *server, struct ivs_client *client)
{
	int result;

	client->source.handle = handle_client;
	result = ivs_flight_begin(server, client);
	if (result)
		return lose_client(server, client, result);
	result = ivs_loop_add(&server->loop, &client->source, client->sock_fd,
			      EPOLLIN | EPOLLPRI | EPOLLOUT | EPOLLRDHUP | EPOLLET);
	if (result) {
		ivs_flight_end(server, client);
		return lose_client(server, client, result);
	}
	server->clients[client->id] = client;
	if (client->id >= server->ids_end)
		server->ids_end = client->id + 1;
	server->unstored_n += !ivs_client_is_stored(client);
	server->newcomers = true;
	return 0;
}

static enum ivs_drop reason_to_drop(const struct ivs_client *client)
{
	if (client->send_result == IVS_SOCKET_E_GONE)
		return DROP_CLOSED;
	if (client->send_result)
		return DROP_FAILED;
	return client->cost.excessive ? DROP_COSTLY : DROPS_N;
}

bool ivs_server_reap(struct ivs_server *server)
{
	if (!server->lost_n)
		return false;
	server->lost_n = 0;
	for (unsigned int id = server->ids_end; id--;) {
		struct ivs_client *client = server->clients[id];
		enum ivs_drop why = client ? reason_to_drop(client) : DROPS_N;

		if (why != DROPS_N)
			drop_client(server, client, why);
	}
	return true;
}
