/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/flight.h"

#include <limits.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "base/fd.h"
#include "base/fdpass.h"
#include "daemon/close.h"
#include "daemon/closer.h"

IVS_SYSCALLS(ivs_flight_syscalls,
	     {"getsockopt", {IVS_ARG_IS(2, SOL_SOCKET), IVS_ARG_IS(3, SO_MEMINFO)}}, /* fdpass.c */
	     IVS_CALL_DUPFD_CLOEXEC, IVS_CALL_GETRLIMIT, {"shutdown"});

/* This fraction of RLIMIT_NOFILE is left for fds in flight to the service manager. */
#define OTHERS_DIVISOR 16

/**
 * struct ivs_kept - the socket of a former client that has not read everything
 * @link: the pointer that points to this structure
 */
struct ivs_kept {
	struct ivs_loop_source source;
	int sock_fd;
	struct ivs_user *user;
	unsigned int flight_n;
	struct ivs_kept *next;
	struct ivs_kept **link;
};

void ivs_flight_init(struct ivs_server *server, unsigned int own_fds)
{
	const struct ivs_admission *admission = &server->admission;
	struct ivs_users *users = &server->users;
	struct rlimit limit;
	uint64_t fds_n;
	uint64_t places;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		return;
	fds_n = limit.rlim_cur < UINT_MAX ? limit.rlim_cur : UINT_MAX;
	server->fds_max = fds_n > own_fds ? (unsigned int)fds_n - own_fds : 0;
	places = (fds_n > own_fds ? fds_n - own_fds : 0) / (1 + server->vectors_n);
	users->extra_max = (unsigned int)(fds_n - fds_n / OTHERS_DIVISOR -
					  fds_n / (1 + server->vectors_n));
	if (users->extra_max > fds_n || !users->extra_max)
		users->extra_max = 1; /* without vectors, only greetings carry an fd */
	users->joins_max = admission->user_joins_max;
	users->share = IVS_USERS_SHARE;
	if (admission->user_peers_max || places < IVS_USERS_SHARED_MIN)
		users->share = UINT_MAX;
	if (!admission->peers_max)
		users->clients_max = places < IVS_ID_MAX + 1 ? (unsigned int)places
							     : IVS_ID_MAX + 1;
}

static void update_count(struct ivs_server *server, int sock, struct ivs_user *user,
			 unsigned int *flight_n)
{
	unsigned int unread_n = *flight_n ? ivs_fdpass_unread(sock) : 0;

	if (unread_n < *flight_n)
		ivs_users_set_flight(&server->users, user, flight_n, unread_n);
}

void ivs_flight_update(struct ivs_server *server, struct ivs_client *client)
{
	unsigned int before_n = client->flight_n;

	update_count(server, client->sock_fd, client->user, &client->flight_n);
	if (client->flight_n < before_n)
		client->read_by_ns = 0;
	if (client->user->held && client->user->extra_n < server->users.extra_max / 4)
		client->user->held = false;
}

/* Return: how many messages, starting with the first, have at most @fds_max fds in total. */
static unsigned int count_messages(const struct ivs_v0_message *msgs, unsigned int msgs_n,
				   unsigned int fds_max)
{
	unsigned int fds_n = 0;
	unsigned int n = 0;

	for (; n < msgs_n; n++) {
		fds_n += msgs[n].fd >= 0;
		if (fds_n > fds_max)
			break;
	}
	return n;
}

static void log_held(struct ivs_server *server, const struct ivs_client *client)
{
	if (client->user->held)
		return;
	client->user->held = true;
	if (ivs_log_allows(&server->others))
		ivs_log(IVS_LOG_WARNING,
			"as many file descriptors as one user may have are in flight to clients of "
			"uid %d, such as client %u (pid %d): each is sent the next message only "
			"after it has read the previous one",
			(int)client->cred.uid, client->id, (int)client->cred.pid);
}

int ivs_flight_begin(struct ivs_server *server, struct ivs_client *client)
{
	int result = ivs_users_find(&server->users, client->cred.uid, ivs_clock_ns(),
				    &client->user);

	if (result)
		return result;
	ivs_users_add(&server->users, client->user);
	ivs_users_set_flight(&server->users, client->user, &client->flight_n,
			     ivs_fdpass_unread(client->sock_fd));
	ivs_roster_set_owner(server->roster, client->id, &client->user->ids);
	return 0;
}

unsigned int ivs_flight_allows(struct ivs_server *server, struct ivs_client *client,
			       const struct ivs_v0_message *msgs, unsigned int msgs_n)
{
	unsigned int room = ivs_users_room(&server->users, client->user, client->flight_n);
	unsigned int n;

	if (room >= msgs_n)
		return msgs_n;
	ivs_flight_update(server, client);
	room = ivs_users_room(&server->users, client->user, client->flight_n);
	n = count_messages(msgs, msgs_n, room);
	if (!n)
		log_held(server, client);
	return n;
}

void ivs_flight_sent(struct ivs_server *server, struct ivs_client *client,
		     const struct ivs_v0_message *msgs, unsigned int msgs_n)
{
	unsigned int flight_n = client->flight_n;

	for (unsigned int i = 0; i < msgs_n; i++)
		flight_n += msgs[i].fd >= 0;
	ivs_users_set_flight(&server->users, client->user, &client->flight_n, flight_n);
}

static void discard_socket(struct ivs_kept *kept)
{
	ivs_closer_set_owner(IVS_CLOSER_ALWAYS | kept->user->uid);
	ivs_socket_discard(&kept->sock_fd);
	ivs_closer_set_owner(IVS_CLOSER_ANYBODY);
}

static void release_kept(struct ivs_server *server, struct ivs_kept *kept)
{
	ivs_loop_remove(&kept->source);
	discard_socket(kept);
	ivs_users_set_flight(&server->users, kept->user, &kept->flight_n, 0);
	ivs_users_remove(&server->users, kept->user);
	server->users.kept_n--;
	*kept->link = kept->next;
	if (kept->next)
		kept->next->link = kept->link;
	free(kept);
}

static void handle_kept(struct ivs_loop_source *source, uint32_t events)
{
	struct ivs_server *server = IVS_CONTAINER_OF(source->loop, struct ivs_server, loop);
	struct ivs_kept *kept = IVS_CONTAINER_OF(source, struct ivs_kept, source);

	(void)events;
	update_count(server, kept->sock_fd, kept->user, &kept->flight_n);
	if (!kept->flight_n)
		release_kept(server, kept);
}

/* Return: a copy of the socket, or the socket itself if no fd is free for a copy. */
static int take_socket(struct ivs_client *client)
{
	int fd = fcntl(client->sock_fd, F_DUPFD_CLOEXEC, 0);

	if (fd >= 0)
		return fd;
	(void)shutdown(client->sock_fd, SHUT_RDWR);
	return ivs_fd_take(&client->sock_fd);
}

void ivs_flight_end(struct ivs_server *server, struct ivs_client *client)
{
	struct ivs_kept *kept;

	update_count(server, client->sock_fd, client->user, &client->flight_n);
	if (!client->flight_n) {
		ivs_users_remove(&server->users, client->user);
		return;
	}
	server->users.kept_n++;
	kept = malloc(sizeof(*kept));
	if (!kept)
		return; /* the fds in flight to the client stay counted forever */
	*kept = (struct ivs_kept){.source.handle = handle_kept,
				  .sock_fd = take_socket(client),
				  .user = client->user,
				  .flight_n = client->flight_n,
				  .next = server->kept,
				  .link = &server->kept};
	if (server->kept)
		server->kept->link = &kept->next;
	server->kept = kept;
	/* Without the event, the fds in flight would be counted forever. */
	if (ivs_loop_add(&server->loop, &kept->source, kept->sock_fd, EPOLLOUT | EPOLLET))
		discard_socket(kept);
}

unsigned int ivs_flight_total(const struct ivs_server *server)
{
	unsigned int n = 0;

	for (unsigned int id = 0; id < server->ids_end; id++)
		n += server->clients[id] ? server->clients[id]->flight_n : 0;
	for (const struct ivs_kept *kept = server->kept; kept; kept = kept->next)
		n += kept->flight_n;
	return n;
}

void ivs_flight_deinit(struct ivs_server *server)
{
	while (server->kept)
		release_kept(server, server->kept);
	ivs_users_free(&server->users);
}
