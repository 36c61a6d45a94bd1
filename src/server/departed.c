/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/departed.h"

#include "daemon/closer.h"

#define RELEASE_AGAIN_MS 2
#define RELEASED_IN_A_MS 4096 /* examining this many clients takes a small fraction of a ms */
#define STUCK_NS IVS_NS_PER_S

/* If removing the source from the loop has failed, the open socket may still report events. */
static void ignore_event(struct ivs_loop_source *source, uint32_t events)
{
	(void)source;
	(void)events;
}

/* Set whether @client, which has left, is still counted as one of its user's clients (users.h). */
static void count_leaving(struct ivs_server *server, struct ivs_client *client, bool leaving)
{
	struct ivs_users *users = &server->users;

	if (client->leaving == leaving)
		return;
	/* The user is valid as long as anything is counted for it. */
	if (leaving && ivs_users_find(users, client->cred.uid, ivs_clock_ns(), &client->user))
		return;
	client->leaving = leaving;
	if (leaving)
		ivs_users_leave(users, client->user);
	else
		ivs_users_left(users, client->user);
}

void ivs_server_depart(struct ivs_server *server, struct ivs_client *client)
{
	client->source.handle = ignore_event;
	ivs_client_hang_up(client);
	client->dropping = ivs_service_exists(&server->handover->service) ? IVS_CLIENT_DROP_DUE
									  : IVS_CLIENT_DROPPED;
	client->left_ns = ivs_clock_ns();
	client->next = NULL;
	*server->departed_end = client;
	server->departed_end = &client->next;
	server->departed_n++;
	server->departed_due = true;
	count_leaving(server, client, true);
}

/* Return: whether all clients that must be sent the client's leave have been sent it. */
static bool is_announced(const struct ivs_server *server, const struct ivs_client *client)
{
	return !client->vectors_n || !ivs_roster_leaves_due_n(server->roster, client->id) ||
	       server->departed_n > IVS_DEPARTED_MAX;
}

/* Return: whether the client's fds are still open although its leave has been sent to all. */
static bool is_stuck(const struct ivs_server *server, const struct ivs_client *client,
		     int64_t now_ns)
{
	return now_ns - client->left_ns > STUCK_NS &&
	       (client->dropping != IVS_CLIENT_DROPPED || is_announced(server, client));
}

static void log_stuck(struct ivs_server *server, const struct ivs_client *client)
{
	if (is_stuck(server, client, ivs_clock_ns()) && ivs_log_allows(&server->drops))
		ivs_log(IVS_LOG_WARNING,
			"the file descriptors of %u clients that have left stay open, such as "
			"those of client %u (pid %d, uid %d): closing those of clients that left "
			"earlier is blocked by other processes",
			server->departed_n, client->id, (int)client->cred.pid,
			(int)client->cred.uid);
}

/* The helper processes are busy or blocked. No event reports when that changes. */
static void retry_later(struct ivs_server *server, const struct ivs_client *client)
{
	log_stuck(server, client);
	ivs_loop_set_timer(
		&server->loop, &server->departed_timer,
		ivs_clock_deadline(RELEASE_AGAIN_MS + (int)server->departed_n / RELEASED_IN_A_MS));
}

/* Retry passing on the sockets of refused connections that no helper process has taken yet. */
static void release_kept(struct ivs_server *server)
{
	if (ivs_closer_kept_n() && !ivs_loop_timer_is_set(&server->departed_timer) &&
	    ivs_closer_take_kept())
		ivs_loop_set_timer(&server->loop, &server->departed_timer,
				   ivs_clock_deadline(RELEASE_AGAIN_MS));
}

/*
 * @blocked: the last client whose fds could not be released in this turn, or NULL. Other clients of
 * its user are skipped. Return: whether @client was released, and so no longer exists.
 */
static bool release(struct ivs_server *server, struct ivs_client *client, bool all,
		    const struct ivs_client **blocked)
{
	if (client->dropping != IVS_CLIENT_DROPPED)
		return false;
	if (!all && !is_announced(server, client)) {
		/* The leave waits for other clients, which is not the fault of this user. */
		if (ivs_closer_accepts(client->cred.uid))
			count_leaving(server, client, false);
		return false;
	}
	if (*blocked && (*blocked)->cred.uid == client->cred.uid)
		return false;
	ivs_loop_remove(&client->source); /* this is a second attempt if the first one failed */
	count_leaving(server, client, false);
	if (ivs_client_release(client))
		return true;
	count_leaving(server, client, true);
	retry_later(server, client);
	*blocked = client;
	return false;
}

bool ivs_server_release_departed(struct ivs_server *server, bool all)
{
	struct ivs_client **link = &server->departed;
	const struct ivs_client *blocked = NULL;
	bool released = false;

	release_kept(server);
	if (!all && !server->departed_due && server->departed_messages == server->totals.messages)
		return false;
	if (!all && ivs_loop_timer_is_set(&server->departed_timer))
		return false;
	server->departed_due = false;
	server->departed_messages = server->totals.messages;
	while (*link) {
		struct ivs_client *client = *link;
		struct ivs_client *next = client->next;

		if (!release(server, client, all, &blocked)) {
			link = &client->next;
			continue;
		}
		*link = next;
		if (!next)
			server->departed_end = link;
		server->departed_n--;
		released = true;
	}
	return released;
}

void ivs_server_release_again(struct ivs_loop_timer *timer)
{
	IVS_CONTAINER_OF(timer, struct ivs_server, departed_timer)->departed_due = true;
}
