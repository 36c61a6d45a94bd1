/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation. One thread, one epoll. In each round, in this order:
 *
 *   1. clients that closed, spoke or can be written to again
 *   2. new connections: after step 1, so that an event of a client that left can never be taken for
 *      one of another that got its id
 *   3. telling: as long as the roster changes, every client whose socket is not full is told what
 * it does not know. What does not fit waits in the roster.
 *
 * Client sockets are edge-triggered: a full one costs nothing until it is not full any more.
 */
#include "server/server.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>

#include "server/client.h"
#include "server/listener.h"
#include "server/roster.h"
#include "util/clock.h"
#include "util/error.h"
#include "util/fd.h"
#include "util/log.h"

#define IDS_MAX (IVS_WIRE_ID_MAX + 1)
#define EVENTS_MAX 64
#define OWN_FDS 16u    /* besides those of clients, and a few to spare */
#define ACCEPTS_MAX 64 /* per round, so that those who are there are not forgotten */
#define RETRY_MS 50    /* when the kernel lacks something, and no event will tell */
#define WAITING_LOG_NS (2 * IVS_NS_PER_S)

/* What an epoll event is about: a client's id, or one of these. */
#define TAG_LISTENER (IDS_MAX + 0)
#define TAG_STOP (IDS_MAX + 1)

/**
 * struct ivs_server - see the top of this file
 * @spare:    an fd to give up when there are none left, so that a connection can be accepted and
 *            closed: a client that is kept waiting hangs (QEMU does, with its whole VM)
 * @clients:  by id
 * @ids_end:  all ids in use are below it
 * @changed:  the roster has changed: everybody may have something to be told
 * @tell_at:   when to tell again what the kernel had no room for; IVS_CLOCK_NEVER: there is nothing
 * @tell_since: when that began
 * @accept_at: when to accept again; IVS_CLOCK_NEVER: accepting
 * @refusals:  whoever connects in a loop must not fill the log
 */
struct ivs_server {
	struct ivs_listener listener;
	const struct ivs_region *region;
	struct ivs_admission admission;
	unsigned int vectors_n;
	struct ivs_roster *roster;
	int epoll;
	int spare;
	struct ivs_client *clients[IDS_MAX];
	unsigned int ids_end;
	bool changed;
	int64_t tell_at;
	int64_t tell_since;
	int64_t accept_at;
	struct ivs_log_limit refusals;
};

static int watch(struct ivs_server *server, int fd, uint32_t tag, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.u32 = tag};

	return epoll_ctl(server->epoll, EPOLL_CTL_ADD, fd, &event) ? -errno : 0;
}

static int open_spare(struct ivs_server *server)
{
	server->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
	return server->spare < 0 ? -errno : 0;
}

/* Each client costs 1 + vectors fds, and the soft limit is what the kernel allows in flight. */
static void raise_fd_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur == limit.rlim_max)
		return;
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit))
		ivs_log(IVS_LOG_WARNING, "cannot raise the limit of open files to %llu",
			(unsigned long long)limit.rlim_max);
}

/* If the clients that may come all come, there must be fds for them. */
static int check_fd_limit(const struct ivs_server_options *opts, struct ivs_error *err)
{
	unsigned long long peers = opts->admission.peers_max;
	unsigned long long each = 1ULL + opts->vectors_n;
	struct rlimit limit;

	if (!peers || getrlimit(RLIMIT_NOFILE, &limit) || peers * each + OWN_FDS <= limit.rlim_cur)
		return 0;
	return ivs_error_set(err, IVS_SERVER_E_LIMIT,
			     "%llu clients with %u vectors need %llu x (1 + %u) + %u = %llu file "
			     "descriptors, and %llu are allowed: raise the limit (ulimit -n, "
			     "LimitNOFILE=) or use --max-peers %llu",
			     peers, opts->vectors_n, peers, opts->vectors_n, OWN_FDS,
			     peers * each + OWN_FDS, (unsigned long long)limit.rlim_cur,
			     limit.rlim_cur > OWN_FDS + each
				     ? ((unsigned long long)limit.rlim_cur - OWN_FDS) / each
				     : 1);
}

int ivs_server_new(const struct ivs_server_options *opts, struct ivs_server **out,
		   struct ivs_error *err)
{
	struct ivs_server *server = calloc(1, sizeof(*server));
	int result = -ENOMEM;

	if (!server)
		return ivs_error_errno(err, ENOMEM, "cannot start");
	server->listener.fd = -1;
	server->epoll = server->spare = -1;
	server->tell_at = server->tell_since = server->accept_at = IVS_CLOCK_NEVER;
	server->region = opts->region;
	server->vectors_n = opts->vectors_n;
	server->admission = opts->admission;
	raise_fd_limit();
	result = check_fd_limit(opts, err);
	if (result)
		goto fail;
	server->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (server->epoll < 0) {
		result = ivs_error_errno(err, errno, "cannot make an epoll");
		goto fail;
	}
	if (ivs_roster_new(IDS_MAX, &server->roster)) {
		result = ivs_error_errno(err, ENOMEM, "cannot start");
		goto fail;
	}
	result = open_spare(server);
	if (result) {
		ivs_error_errno(err, -result, "cannot open /dev/null");
		goto fail;
	}
	result = ivs_listener_open(&server->listener, &opts->socket, err);
	if (result)
		goto fail;
	result = watch(server, server->listener.fd, TAG_LISTENER, EPOLLIN);
	if (result) {
		ivs_error_errno(err, -result, "cannot watch the socket");
		goto fail;
	}
	*out = server;
	return 0;

fail:
	ivs_server_free(server);
	return result;
}

void ivs_server_free(struct ivs_server *server)
{
	if (!server)
		return;
	ivs_listener_close(&server->listener);
	for (unsigned int id = 0; id < server->ids_end; id++)
		ivs_client_free(server->clients[id]);
	ivs_roster_free(server->roster);
	ivs_fd_close(&server->epoll);
	ivs_fd_close(&server->spare);
	free(server);
}

static void drop(struct ivs_server *server, unsigned int id, const char *why)
{
	struct ivs_client *client = server->clients[id];

	server->clients[id] = NULL;
	while (server->ids_end && !server->clients[server->ids_end - 1])
		server->ids_end--;
	ivs_roster_leave(server->roster, id);
	server->changed = true;
	ivs_log(IVS_LOG_INFO, "client %u left (pid %d, uid %d): %s; %u connected", id,
		(int)client->cred.pid, (int)client->cred.uid, why,
		ivs_roster_peers(server->roster));
	ivs_client_free(client);
}

/* Whether the kernel refuses to take messages; then all wait for the timer. */
static bool is_waiting(const struct ivs_server *server)
{
	return server->tell_at != IVS_CLOCK_NEVER;
}

static void tell_later(struct ivs_server *server)
{
	if (is_waiting(server))
		return;
	server->tell_at = ivs_clock_deadline(RETRY_MS);
	if (server->tell_since == IVS_CLOCK_NEVER)
		server->tell_since = ivs_clock_ns();
}

static int message_fd(const struct ivs_server *server, const struct ivs_wire_message *msg)
{
	switch (msg->type) {
	case IVS_WIRE_MEMORY:
		return ivs_region_fd(server->region);
	case IVS_WIRE_VECTOR:
		return server->clients[msg->id]->eventfds[msg->vector];
	default:
		return -1;
	}
}

/* One batch of what @id does not know yet. Whether to go on. */
static bool tell_batch(struct ivs_server *server, unsigned int id)
{
	struct ivs_wire_message msgs[IVS_SOCKET_BATCH];
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
	result = ivs_socket_send(client->sock, msgs, msgs_n, &sent_n);
	ivs_roster_told(server->roster, id, msgs, sent_n);
	if (!greeted && ivs_roster_greeted(server->roster, id))
		server->changed = true;

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
		drop(server, id, "it closed the connection");
		return false;
	default:
		drop(server, id, "its socket failed");
		return false;
	}
}

static void tell(struct ivs_server *server, unsigned int id)
{
	while (!server->clients[id]->blocked && tell_batch(server, id))
		;
}

/* A client that has been greeted, or that left, is news for all. */
static void tell_all(struct ivs_server *server)
{
	while (server->changed) {
		server->changed = false;
		for (unsigned int id = 0; id < server->ids_end; id++) {
			if (server->clients[id])
				tell(server, id);
		}
	}
}

/* Ids are used up by clients that come and go while others stay: see roster.h. */
static void log_ids(const struct ivs_server *server, unsigned int id)
{
	unsigned int left = ivs_roster_unheard(server->roster);

	if (!left)
		ivs_log(IVS_LOG_WARNING,
			"client %u is not seen by those who were here before all ids had been "
			"used; restart these, the oldest first",
			id);
	else if (left == IDS_MAX / 2 || left == IDS_MAX / 10)
		ivs_log(IVS_LOG_WARNING,
			"%u of %u ids are left for clients to come, as long as those who have "
			"been here longest stay",
			left, IDS_MAX);
}

static unsigned int count_user(const struct ivs_server *server, uid_t uid)
{
	unsigned int n = 0;

	for (unsigned int id = 0; id < server->ids_end; id++)
		n += server->clients[id] && server->clients[id]->cred.uid == uid;
	return n;
}

/* Return: NULL, or why who is at the other end must not be a client. */
static const char *why_refuse(const struct ivs_server *server, int sock, const struct ucred *cred)
{
	const struct ivs_admission *admission = &server->admission;

	if (!ivs_admission_allows(admission, sock, cred))
		return "neither its user nor any of its groups is allowed";
	if (admission->peers_max && ivs_roster_peers(server->roster) >= admission->peers_max)
		return "as many clients as allowed are connected (--max-peers)";
	if (admission->user_peers_max && count_user(server, cred->uid) >= admission->user_peers_max)
		return "as many clients of its user as allowed are connected "
		       "(--max-peers-per-user)";
	return NULL;
}

/* Refusing by the rules is no failure. Return: 0 or what stood in the way. */
static int admit(struct ivs_server *server, int *sock)
{
	struct ivs_client *client;
	struct ucred cred;
	socklen_t cred_len = sizeof(cred);
	const char *why;
	unsigned int id;
	int result;

	if (getsockopt(*sock, SOL_SOCKET, SO_PEERCRED, &cred, &cred_len))
		return -errno;
	why = why_refuse(server, *sock, &cred);
	if (why && !ivs_log_allows(&server->refusals))
		return 0;
	if (why) {
		ivs_log(IVS_LOG_WARNING, "refused a client (pid %d, uid %d): %s", (int)cred.pid,
			(int)cred.uid, why);
		return 0;
	}
	result = ivs_client_new(sock, &cred, server->vectors_n, &client);
	if (result)
		return result;
	result = ivs_roster_join(server->roster, server->vectors_n, &id);
	if (result) {
		ivs_client_free(client);
		return result;
	}
	result = watch(server, client->sock, id,
		       EPOLLIN | EPOLLPRI | EPOLLOUT | EPOLLRDHUP | EPOLLET);
	if (result) {
		ivs_roster_leave(server->roster, id);
		ivs_client_free(client);
		return result;
	}
	server->clients[id] = client;
	if (id >= server->ids_end)
		server->ids_end = id + 1;
	ivs_log(IVS_LOG_INFO, "client %u joined (pid %d, uid %d), %u connected", id,
		(int)client->cred.pid, (int)client->cred.uid, ivs_roster_peers(server->roster));
	log_ids(server, id);
	tell(server, id);
	return 0;
}

static void log_refusal(struct ivs_server *server, int result)
{
	struct rlimit limit = {0};

	if (!ivs_log_allows(&server->refusals))
		return;
	if (result == IVS_ROSTER_E_FULL) {
		ivs_log(IVS_LOG_WARNING, "refused a client: all %u ids are in use", IDS_MAX);
		return;
	}
	if (result == -EMFILE && !getrlimit(RLIMIT_NOFILE, &limit)) {
		ivs_log(IVS_LOG_WARNING,
			"refused a client: out of file descriptors, of which %llu are allowed: "
			"raise the limit (ulimit -n, LimitNOFILE=)",
			(unsigned long long)limit.rlim_cur);
		return;
	}
	ivs_log(IVS_LOG_WARNING, "refused a client: %s", strerrordesc_np(-result));
}

static void pause_accepting(struct ivs_server *server)
{
	if (!epoll_ctl(server->epoll, EPOLL_CTL_DEL, server->listener.fd, NULL))
		server->accept_at = ivs_clock_deadline(RETRY_MS);
}

/* Without room for one more fd a connection can still be ended, at the price of the spare one. */
static bool refuse_with_spare(struct ivs_server *server, int number)
{
	IVS_OWNED_FD sock = -1;
	bool refused;

	ivs_fd_close(&server->spare);
	sock = accept4(server->listener.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	refused = sock >= 0; /* the kernel looks for an fd before it looks for a connection */
	if (refused)
		log_refusal(server, -number);
	ivs_fd_close(&sock);
	if (!open_spare(server))
		return refused;
	pause_accepting(server);
	return false;
}

static void resume_accepting(struct ivs_server *server)
{
	if ((server->spare < 0 && open_spare(server)) ||
	    watch(server, server->listener.fd, TAG_LISTENER, EPOLLIN))
		server->accept_at = ivs_clock_deadline(RETRY_MS);
	else
		server->accept_at = IVS_CLOCK_NEVER;
}

/* Whether there may be more connections to accept. */
static bool accept_one(struct ivs_server *server)
{
	IVS_OWNED_FD sock = accept4(server->listener.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	int result;

	if (sock >= 0) {
		result = admit(server, &sock);
		if (result)
			log_refusal(server, result);
		return true;
	}
	switch (errno) {
	case EAGAIN:
		return false;
	case EINTR:
	case ECONNABORTED:
		return true;
	case EMFILE:
	case ENFILE:
		return refuse_with_spare(server, errno);
	default:
		log_refusal(server, -errno);
		pause_accepting(server);
		return false;
	}
}

static void accept_some(struct ivs_server *server)
{
	for (unsigned int i = 0; i < ACCEPTS_MAX && accept_one(server); i++)
		;
}

static void handle_client(struct ivs_server *server, unsigned int id, uint32_t events)
{
	const char *why;

	if (!server->clients[id])
		return;
	if (events & EPOLLPRI) {
		drop(server, id, IVS_CLIENT_SPOKE);
		return;
	}
	if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) {
		why = ivs_client_hear(server->clients[id]);
		if (why) {
			drop(server, id, why);
			return;
		}
	}
	if (events & EPOLLOUT) {
		server->clients[id]->blocked = false;
		/* A message that the kernel refused makes such an event too, and would at once
		 * again. */
		if (!is_waiting(server))
			tell(server, id);
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
	if (!blocked_n)
		return;
	ivs_log(IVS_LOG_WARNING,
		"clients wait for doorbells because too many are on their way to %u that do not "
		"read, such as client %u (pid %d, uid %d)",
		blocked_n, first, (int)server->clients[first]->cred.pid,
		(int)server->clients[first]->cred.uid);
}

/* What had to wait for something that the kernel lacked. */
static void try_again(struct ivs_server *server)
{
	int64_t now = ivs_clock_ns();

	if (now >= server->accept_at)
		resume_accepting(server);
	if (now < server->tell_at)
		return;
	server->tell_at = IVS_CLOCK_NEVER;
	server->changed = true;
	tell_all(server);
	if (!is_waiting(server)) {
		server->tell_since = IVS_CLOCK_NEVER;
	} else if (now - server->tell_since > WAITING_LOG_NS) {
		log_waiting(server);
		server->tell_since = now;
	}
}

static int64_t next_try(const struct ivs_server *server)
{
	return server->tell_at < server->accept_at ? server->tell_at : server->accept_at;
}

/* One round. Return: 0, 1 to stop, -errno. */
static int serve_round(struct ivs_server *server)
{
	struct epoll_event events[EVENTS_MAX];
	bool connections = false;
	bool stop = false;
	int n;

	n = epoll_wait(server->epoll, events, EVENTS_MAX, ivs_clock_left_ms(next_try(server)));
	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	try_again(server);
	for (int i = 0; i < n; i++) {
		uint32_t tag = events[i].data.u32;

		if (tag == TAG_STOP)
			stop = true;
		else if (tag == TAG_LISTENER)
			connections = true;
		else
			handle_client(server, tag, events[i].events);
	}
	if (stop)
		return 1;
	if (connections && server->accept_at == IVS_CLOCK_NEVER)
		accept_some(server);
	if (!is_waiting(server))
		tell_all(server);
	return 0;
}

int ivs_server_run(struct ivs_server *server, int stop_fd)
{
	int result;

	result = watch(server, stop_fd, TAG_STOP, EPOLLIN);
	while (!result)
		result = serve_round(server);
	return result < 0 ? result : 0;
}
