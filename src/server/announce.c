/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/announce.h"

#include "server/flight.h"
#include "server/send.h"

#define WAITING_LOG_NS (2 * IVS_NS_PER_S)
#define PHASE_NS (2 * IVS_NS_PER_MS) /* duration of a phase of a round: see begin_phase() */

bool ivs_server_is_waiting(const struct ivs_server *server)
{
	return ivs_loop_timer_is_set(&server->announce_timer);
}

/* Return: whether the client may be sent messages now, if any are due. */
static bool is_served(const struct ivs_server *server, const struct ivs_client *client)
{
	if (!ivs_client_is_stored(client) && !client->unawaited)
		return false;
	return !client->blocked && !client->send_result && !client->cost.excessive &&
	       !ivs_server_is_waiting(server);
}

/* Send a client that is not slow all messages that are due, until its socket is full. */
static void announce_all(struct ivs_server *server, struct ivs_client *client)
{
	while (is_served(server, client) && !ivs_cost_is_slow(&client->cost) &&
	       ivs_server_send_due(server, client))
		;
}

/*
 * A round has four phases: client events, newcomers, all clients, slow clients. Once a phase has
 * taken PHASE_NS, the next one begins. Messages to clients that are not slow can still be expensive
 * if there are many such clients. With phases, such messages do not delay newcomers for long.
 */
static void begin_phase(struct ivs_server *server)
{
	server->phase_ns = ivs_clock_ns();
}

static bool is_phase_over(const struct ivs_server *server)
{
	return ivs_clock_ns() - server->phase_ns > PHASE_NS;
}

void ivs_server_announce_to(struct ivs_server *server, struct ivs_client *client)
{
	if (!server->phase_ns)
		begin_phase(server);
	if (ivs_cost_is_slow(&client->cost))
		server->slow_due = true;
	else if (is_phase_over(server))
		server->changed = true;
	else
		announce_all(server, client);
}

/* Return: the next client in turn, or NULL. @next: the id from which to continue */
static struct ivs_client *next_client(const struct ivs_server *server, unsigned int *next)
{
	if (*next >= server->ids_end)
		*next = 0;
	return server->clients[(*next)++];
}

/*
 * Greet clients that have just joined before any other client is sent anything, because QEMU waits
 * for the greeting and does nothing else until it arrives.
 */
static void announce_to_newcomers(struct ivs_server *server)
{
	bool left = false;
	unsigned int n;

	if (!server->newcomers)
		return;
	begin_phase(server);
	for (n = server->ids_end; n && !is_phase_over(server); n--) {
		struct ivs_client *client = next_client(server, &server->newcomers_next);

		if (!client || ivs_roster_greeted(server->roster, client->id))
			continue;
		announce_all(server, client);
		left |= !ivs_roster_greeted(server->roster, client->id) &&
			!ivs_cost_is_slow(&client->cost);
	}
	server->newcomers = left || n;
}

/*
 * Return: false if time ran out, or the kernel refused messages, before every client had its turn.
 */
static bool announce_to_all(struct ivs_server *server)
{
	for (unsigned int n = server->ids_end; n; n--) {
		struct ivs_client *client = next_client(server, &server->announce_next);

		if (client && ivs_cost_is_slow(&client->cost))
			server->slow_due = true;
		else if (client)
			announce_all(server, client);
		if (ivs_server_is_waiting(server) || (n > 1 && is_phase_over(server)))
			return false;
	}
	return true;
}

/* Send one message to each slow client, until a send is slow again. */
static void announce_to_slow(struct ivs_server *server)
{
	unsigned int n;

	if (!server->slow_due || ivs_loop_timer_is_set(&server->slow_timer))
		return;
	begin_phase(server);
	server->slow_due = false;
	for (n = server->ids_end; n && !is_phase_over(server); n--) {
		struct ivs_client *client = next_client(server, &server->slow_next);

		if (!client || !ivs_cost_is_slow(&client->cost) || !is_served(server, client))
			continue;
		server->slow_due |= ivs_server_send_due(server, client);
		/*
		 * A client that is no longer slow is sent the rest in the usual way.
		 */
		server->changed |= !ivs_cost_is_slow(&client->cost);
		if (ivs_loop_timer_is_set(&server->slow_timer))
			return;
	}
	server->slow_due |= n > 0;
}

/*
 * Log why clients are waiting. The cause may be any client that does not drain its socket, so name
 * one of them.
 */
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
		/*
		 * The limit on fds in flight is per user; it applies even to root if root has no
		 * capabilities.
		 */
		ivs_log(IVS_LOG_WARNING,
			"clients wait for doorbells because other processes of this server's user "
			"have too many file descriptors in flight, and this server has at most %u: "
			"give the server a user of its own (--user), or raise the limit "
			"(LimitNOFILE=)",
			ivs_flight_total(server));
		return;
	}
	ivs_log(IVS_LOG_WARNING,
		"clients wait for doorbells because this server's user has too many file "
		"descriptors in flight: at most %u are this server's, sent to %u clients that are "
		"not reading, such as client %u (pid %d, uid %d); the rest belong to other "
		"processes of the user",
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

/* Send messages until all have been sent or time runs out. */
static void announce_changes(struct ivs_server *server)
{
	begin_phase(server);
	while (server->changed) {
		server->changed = false;
		if (announce_to_all(server))
			continue;
		if (ivs_server_is_waiting(server))
			log_long_wait(server);
		else
			server->changed = true;
		return;
	}
	server->announce_since = IVS_CLOCK_NEVER;
}

void ivs_server_announce(struct ivs_server *server)
{
	if (ivs_server_is_waiting(server))
		return;
	announce_to_newcomers(server);
	if (server->changed)
		announce_changes(server);
	announce_to_slow(server);
	if (server->changed || (server->slow_due && !ivs_loop_timer_is_set(&server->slow_timer)))
		ivs_loop_set_timer(&server->loop, &server->rest_timer, ivs_clock_ns());
}

void ivs_server_announce_end(struct ivs_server *server)
{
	server->phase_ns = 0;
	server->mark.now_ns = 0;
}

void ivs_server_announce_again(struct ivs_loop_timer *timer)
{
	IVS_CONTAINER_OF(timer, struct ivs_server, announce_timer)->changed = true;
}

/* There is nothing to do here: the round that the timer starts continues with what is left. */
void ivs_server_announce_rest(struct ivs_loop_timer *timer)
{
	(void)timer;
}
