/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/announce.h"

#include "protocol/socket.h"
#include "server/flight.h"

#define WAITING_LOG_NS (2 * IVS_NS_PER_S)

bool ivs_server_is_waiting(const struct ivs_server *server)
{
	return ivs_loop_timer_is_set(&server->announce_timer);
}

static void wait_for_kernel(struct ivs_server *server)
{
	server->totals.waits++;
	ivs_loop_set_timer(&server->loop, &server->announce_timer, ivs_clock_deadline(RETRY_MS));
	if (server->announce_since == IVS_CLOCK_NEVER)
		server->announce_since = ivs_clock_ns();
}

static int fd_of_message(const struct ivs_server *server, const struct ivs_v0_message *msg)
{
	switch (msg->type) {
	case IVS_V0_MEMORY:
		return ivs_region_fd(server->region);
	case IVS_V0_VECTOR:
		return server->clients[msg->id]->eventfds[msg->vector];
	default:
		return -1;
	}
}

/* Send messages to a client. Return: as ivs_socket_send(). */
static int send_batch(struct ivs_server *server, struct ivs_client *client,
		      struct ivs_v0_message *msgs, unsigned int msgs_n)
{
	bool greeted = ivs_roster_greeted(server->roster, client->id);
	unsigned int sent_n;
	int result;

	ivs_roster_begin_send(server->roster, client->id);
	result = ivs_socket_send(client->sock_fd, msgs, msgs_n, &sent_n);
	ivs_roster_end_send(server->roster, client->id, msgs, sent_n);
	ivs_flight_sent(server, client, msgs, sent_n);
	server->totals.messages += sent_n;
	/* The greeting is complete: other clients may now be told of this one. */
	if (!greeted && ivs_roster_greeted(server->roster, client->id))
		server->changed = server->greeted = true;
	return result;
}

/* Send the next messages. Return: whether more may be due, and the socket may have room. */
static bool announce_batch(struct ivs_server *server, struct ivs_client *client)
{
	struct ivs_v0_message msgs[IVS_SOCKET_BATCH];
	unsigned int msgs_n = ivs_roster_due(server->roster, client->id, msgs, IVS_SOCKET_BATCH);
	unsigned int allowed_n;
	int result;

	if (!msgs_n)
		return false;
	for (unsigned int i = 0; i < msgs_n; i++)
		msgs[i].fd = fd_of_message(server, &msgs[i]);
	allowed_n = ivs_flight_allows(server, client, msgs, msgs_n);
	result = allowed_n ? send_batch(server, client, msgs, allowed_n) : 0;
	switch (result) {
	case 0:
		/* The client has more to read, and reading it raises EPOLLOUT. */
		client->blocked = allowed_n < msgs_n;
		return !client->blocked;
	case IVS_SOCKET_E_AGAIN:
		client->blocked = true;
		return false;
	case IVS_SOCKET_E_LATER:
		wait_for_kernel(server);
		return false;
	default:
		client->send_result = result;
		server->lost_n++;
		return false;
	}
}

void ivs_server_announce_to(struct ivs_server *server, struct ivs_client *client)
{
	if (!ivs_client_is_stored(client) && !client->unawaited)
		return;
	if (client->send_result || ivs_server_is_waiting(server))
		return;
	while (!client->blocked && announce_batch(server, client))
		;
}

/* Return: false if the kernel refuses messages, which affects all clients alike. */
static bool announce_to_all(struct ivs_server *server)
{
	for (unsigned int n = server->ids_end; n; n--) {
		unsigned int id;

		if (server->announce_next >= server->ids_end)
			server->announce_next = 0;
		id = server->announce_next++;
		if (server->clients[id])
			ivs_server_announce_to(server, server->clients[id]);
		if (ivs_server_is_waiting(server))
			return false;
	}
	return true;
}

/* Log why clients wait. The cause may be any client that does not drain its socket: name one. */
static void log_waiting(const struct ivs_server *server)
{
	unsigned int blocked_n = 0;
	unsigned int first = 0;

	for (unsigned int id = server->ids_end; id--;) {
		if (server->clients[id] && server->clients[id]->blocked) {
			blocked_n++;
			first = id;
		}
	}
	if (!blocked_n) {
		/* The limit of fds in flight is per user, also for root without capabilities. */
		ivs_log(IVS_LOG_WARNING,
			"clients wait for doorbells because other processes of this server's user "
			"have too many file descriptors in flight, and this server at most %u: "
			"give "
			"the server a user of its own (--user), or raise the limit (LimitNOFILE=)",
			ivs_flight_total(server));
		return;
	}
	ivs_log(IVS_LOG_WARNING,
		"clients wait for doorbells because this server's user has too many file "
		"descriptors in flight: this server at most %u, to %u clients that do not read, "
		"such as client %u (pid %d, uid %d); the rest is of other processes of the user",
		ivs_flight_total(server), blocked_n, first, (int)server->clients[first]->cred.pid,
		(int)server->clients[first]->cred.uid);
}

static void log_long_wait(struct ivs_server *server)
{
	int64_t now_ns = ivs_clock_ns();

	if (now_ns - server->announce_since <= WAITING_LOG_NS)
		return;
	log_waiting(server);
	server->announce_since = now_ns;
}

void ivs_server_announce(struct ivs_server *server)
{
	if (!server->changed || ivs_server_is_waiting(server))
		return;
	while (server->changed) {
		server->changed = false;
		if (!announce_to_all(server)) {
			log_long_wait(server);
			return;
		}
	}
	server->announce_since = IVS_CLOCK_NEVER;
}

void ivs_server_announce_again(struct ivs_loop_timer *timer)
{
	IVS_CONTAINER_OF(timer, struct ivs_server, announce_timer)->changed = true;
}
