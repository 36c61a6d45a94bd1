/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/announce.h"

#include "protocol/socket.h"
#include "server/publish.h"
#include "server/service_manager.h"

#define WAITING_LOG_NS (2 * IVS_NS_PER_S)

void ivs_server_drop(struct ivs_server *server, unsigned int id, enum ivs_drop why)
{
	static const char *const reasons[DROPS_N] = {
		[DROP_CLOSED] = "it closed the connection",
		[DROP_SPOKE] = "it sent data, which clients must not",
		[DROP_FAILED] = "its socket failed",
	};
	struct ivs_client *client = server->clients[id];
	enum ivs_log_level level = why == DROP_CLOSED ? IVS_LOG_INFO : IVS_LOG_WARNING;

	ivs_loop_remove(&client->source);
	server->clients[id] = NULL;
	while (server->ids_end && !server->clients[server->ids_end - 1])
		server->ids_end--;
	ivs_roster_leave(server->roster, id);
	if (server->page)
		ivs_roster_page_writer_leave(server->page, id);
	server->changed = true;
	if (level == IVS_LOG_INFO || ivs_log_allows(&server->drops))
		ivs_log(level, "client %u left (pid %d, uid %d): %s; %u connected", id,
			(int)client->cred.pid, (int)client->cred.uid, reasons[why],
			ivs_roster_peers(server->roster));
	server->totals.left[why]++;
	ivs_server_forget_client(server, client);
}

/* Whether the kernel refuses to take messages; then all wait for the timer. */
bool ivs_server_is_waiting(const struct ivs_server *server)
{
	return ivs_loop_timer_is_set(&server->announce_timer);
}

static void tell_later(struct ivs_server *server)
{
	if (ivs_server_is_waiting(server))
		return;
	server->totals.waits++;
	ivs_loop_set_timer(&server->loop, &server->announce_timer, ivs_clock_deadline(RETRY_MS));
	if (server->announce_since == IVS_CLOCK_NEVER)
		server->announce_since = ivs_clock_ns();
}

static int message_fd(const struct ivs_server *server, const struct ivs_v0_message *msg)
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

/* One batch of what @id does not know yet. Whether to go on. */
static bool tell_batch(struct ivs_server *server, unsigned int id)
{
	struct ivs_v0_message msgs[IVS_SOCKET_BATCH];
	struct ivs_client *client = server->clients[id];
	bool greeted = ivs_roster_greeted(server->roster, id);
	unsigned int msgs_n;
	unsigned int sent_n;
	int result;

	msgs_n = ivs_roster_due(server->roster, id, msgs, IVS_SOCKET_BATCH);
	if (!msgs_n)
		return false;
	for (unsigned int i = 0; i < msgs_n; i++)
		msgs[i].fd = message_fd(server, &msgs[i]);
	ivs_roster_telling(server->roster, id);
	result = ivs_socket_send(client->sock, msgs, msgs_n, &sent_n);
	ivs_roster_told(server->roster, id, msgs, sent_n);
	server->totals.messages += sent_n;
	if (!greeted && ivs_roster_greeted(server->roster, id)) {
		server->changed = true;
		ivs_server_list_client(server, id);
	}

	switch (result) {
	case 0:
		return true;
	case IVS_SOCKET_E_AGAIN:
		client->blocked = true;
		return false;
	case IVS_SOCKET_E_LATER:
		tell_later(server);
		return false;
	case IVS_SOCKET_E_GONE:
		ivs_server_drop(server, id, DROP_CLOSED);
		return false;
	default:
		ivs_server_drop(server, id, DROP_FAILED);
		return false;
	}
}

void ivs_server_announce_to(struct ivs_server *server, unsigned int id)
{
	if (!ivs_server_store_client(server, id))
		return;
	while (!server->clients[id]->blocked && tell_batch(server, id))
		;
}

void ivs_server_handle_client(struct ivs_loop_source *source, uint32_t events)
{
	struct ivs_server *server = IVS_CONTAINER_OF(source->loop, struct ivs_server, loop);
	unsigned int id = IVS_CONTAINER_OF(source, struct ivs_client, source)->id;
	int result;

	if (events & EPOLLPRI) {
		ivs_server_drop(server, id, DROP_SPOKE);
		return;
	}
	if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) {
		result = ivs_client_check(server->clients[id]);
		if (result) {
			ivs_server_drop(server, id,
					result == IVS_CLIENT_E_CLOSED  ? DROP_CLOSED
					: result == IVS_CLIENT_E_SPOKE ? DROP_SPOKE
								       : DROP_FAILED);
			return;
		}
	}
	if (events & EPOLLOUT) {
		server->clients[id]->blocked = false;
		/* A message that the kernel refused makes such an event too: that way lies a spin. */
		if (!ivs_server_is_waiting(server))
			ivs_server_announce_to(server, id);
	}
}

/* A client that has been greeted, or that left, is news for all. */
void ivs_server_announce(struct ivs_server *server)
{
	while (server->changed) {
		server->changed = false;
		for (unsigned int n = server->ids_end; n; n--) {
			unsigned int id;

			if (server->announce_next >= server->ids_end)
				server->announce_next = 0;
			id = server->announce_next++;
			if (server->clients[id])
				ivs_server_announce_to(server, id);
			/* What the kernel refuses to one it refuses to all; later from here on. */
			if (ivs_server_is_waiting(server))
				return;
		}
	}
}

/* The client that has not read for lack of whose reading others wait: as good a guess as any. */
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
		/* The kernel counts by user, and root without capabilities is no exception. */
		ivs_log(IVS_LOG_WARNING,
			"clients wait for doorbells because other processes of this server's user "
			"have too many file descriptors on their way: give the server a user of "
			"its own (--user), or raise the limit (LimitNOFILE=)");
		return;
	}
	ivs_log(IVS_LOG_WARNING,
		"clients wait for doorbells because too many are on their way to %u that do not "
		"read, such as client %u (pid %d, uid %d)",
		blocked_n, first, (int)server->clients[first]->cred.pid,
		(int)server->clients[first]->cred.uid);
}

void ivs_server_announce_again(struct ivs_loop_timer *timer)
{
	struct ivs_server *server = IVS_CONTAINER_OF(timer, struct ivs_server, announce_timer);
	int64_t now = ivs_clock_ns();

	server->changed = true;
	ivs_server_announce(server);
	if (!ivs_server_is_waiting(server)) {
		server->announce_since = IVS_CLOCK_NEVER;
	} else if (now - server->announce_since > WAITING_LOG_NS) {
		log_waiting(server);
		server->announce_since = now;
	}
}
