/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/accept.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/un.h>

#include "base/fd.h"
#include "daemon/close.h"
#include "daemon/closer.h"
#include "server/clients.h"
#include "server/departed.h"
#include "server/quiet.h"
#include "server/seats.h"
#include "server/unread.h"

IVS_SYSCALLS(ivs_accept_syscalls, {"accept4"}, {"getsockopt", {IVS_ARG_IS(2, SOL_SOCKET)}},
	     {"eventfd2"}, {"close"}, IVS_CALL_GETRLIMIT);

#define KEPT_MAX 1024  /* maximum number of fds that no helper process has taken */
#define ACCEPTS_MAX 64 /* limit per round; clients are served between rounds */
#define GIVE_UPS_MAX 4 /* maximum number of seats given up for their fds, per connection */

int ivs_server_open_spare(struct ivs_server *server)
{
	/* Use an eventfd: unlike a file, it can be opened again after chroot(2). */
	server->spare_fd = eventfd(0, EFD_CLOEXEC);
	return server->spare_fd < 0 ? -errno : 0;
}

/* Warn when ids run short: an id that was given up stays known to quiet clients (roster.h). */
static void log_ids(struct ivs_server *server, const struct ivs_client *client, bool has_seat)
{
	unsigned int left = ivs_roster_unknown(server->roster);
	unsigned int quiet_n = has_seat ? 0 : ivs_roster_quiet_n(server->roster, client->id);

	if (quiet_n && ivs_log_allows(&server->others))
		ivs_log(IVS_LOG_WARNING,
			"client %u (pid %d, uid %d) is not announced to %u clients that joined "
			"before %s had been used; restart these clients, the oldest first",
			client->id, (int)client->cred.pid, (int)client->cred.uid, quiet_n,
			left ? "its user's share of the ids" : "all ids");
	if ((left == (IVS_ID_MAX + 1) / 2 || left == (IVS_ID_MAX + 1) / 10) &&
	    ivs_log_allows(&server->others))
		ivs_log(IVS_LOG_WARNING,
			"%u of %u ids are left for new clients as long as the oldest clients stay "
			"connected",
			left, (IVS_ID_MAX + 1));
}

/*
 * Set @why if the user may not have another client; otherwise count a join. Return: 0 or -ENOMEM.
 */
static int check_user(struct ivs_server *server, const struct ucred *cred, enum ivs_refusal *why)
{
	unsigned int peers_max = server->admission.user_peers_max;
	int64_t now_ns = ivs_clock_ns();
	struct ivs_user *user;
	int result;

	result = ivs_users_find(&server->users, cred->uid, now_ns, &user);
	if (result)
		return result;
	if (peers_max && user->clients_n >= peers_max)
		ivs_server_update_held(server, user);
	if (peers_max &&
	    user->clients_n >= peers_max + ivs_server_count_held(server, user, cred->pid)) {
		*why = REFUSED_MAX_PEERS_PER_USER;
		return 0;
	}
	if (ivs_users_check(&server->users, user, now_ns) == IVS_USERS_E_SHARE)
		ivs_server_update_held(server, user);
	switch (ivs_users_check(&server->users, user, now_ns)) {
	case IVS_USERS_E_SHARE:
		*why = REFUSED_USER_SHARE;
		break;
	case IVS_USERS_E_JOINS:
		*why = REFUSED_MAX_JOINS_PER_USER;
		break;
	default:
		ivs_users_count_join(&server->users, user, now_ns);
	}
	return 0;
}

/* Return: whether the connecting process is admitted; if not, @why is set to the reason. */
static bool may_join(struct ivs_server *server, int sock, const struct ucred *cred,
		     enum ivs_refusal *why)
{
	const struct ivs_admission *admission = &server->admission;

	if (!ivs_admission_allows(admission, sock, cred))
		*why = REFUSED_NOT_ALLOWED;
	else if (admission->peers_max &&
		 server->users.clients_n - server->users.held_n >= admission->peers_max)
		*why = REFUSED_MAX_PEERS;
	else if (check_user(server, cred, why))
		*why = REFUSED_FAILED;
	return *why == REFUSALS_N;
}

/* Return: the reason for the refusal. @result: the result of join_client() */
static enum ivs_refusal refusal_of(int result)
{
	switch (result) {
	case IVS_ROSTER_E_FULL:
		return REFUSED_NO_ID;
	case -EMFILE:
	case -ENFILE:
		return REFUSED_NO_FD;
	default:
		return REFUSED_FAILED;
	}
}

/* Describe the refusal @why for the log. @result: the error that caused the refusal; 0: none */
static const char *refusal_text(enum ivs_refusal why, int result, char *text, size_t text_len)
{
	static const char *const reasons[REFUSALS_N] = {
		[REFUSED_NOT_ALLOWED] = "neither its user nor any of its groups is allowed",
		[REFUSED_MAX_PEERS] = "the maximum number of clients is connected (--max-peers)",
		[REFUSED_MAX_PEERS_PER_USER] = ("the maximum number of its user's clients is "
						"connected (--max-peers-per-user)"),
		[REFUSED_MAX_JOINS_PER_USER] = ("its user's clients have used up the joins allowed "
						"per minute (--max-joins-per-user)"),
		[REFUSED_NO_ID] = "all ids are in use",
	};
	struct rlimit limit = {0};

	if (reasons[why])
		return reasons[why];
	if ((result != -EMFILE && why != REFUSED_USER_SHARE) || getrlimit(RLIMIT_NOFILE, &limit))
		return strerrordesc_np(-result);
	if (why == REFUSED_USER_SHARE)
		snprintf(text, text_len,
			 "its user already has 15/16 of the clients that a limit of %llu file "
			 "descriptors allows: raise the limit (ulimit -n, LimitNOFILE=), or use "
			 "--max-peers or --max-peers-per-user",
			 (unsigned long long)limit.rlim_cur);
	else
		snprintf(text, text_len,
			 "out of file descriptors (%llu are allowed): raise the limit (ulimit -n, "
			 "LimitNOFILE=)",
			 (unsigned long long)limit.rlim_cur);
	return text;
}

/* @cred: credentials of the process that connected, or NULL if they are unknown */
static void refuse_client(struct ivs_server *server, enum ivs_refusal why, int result,
			  const struct ucred *cred)
{
	char text[256];
	const char *reason = refusal_text(why, result, text, sizeof(text));

	server->totals.refused[why]++;
	if (!ivs_log_allows(&server->refusals[why]))
		return;
	if (cred)
		ivs_log(IVS_LOG_WARNING, "refused a client (pid %d, uid %d): %s", (int)cred->pid,
			(int)cred->uid, reason);
	else
		ivs_log(IVS_LOG_WARNING, "refused a client: %s", reason);
}

/* Processes that open the region by name may get a different one from this client's. */
static void log_region(struct ivs_server *server, const struct ivs_client *client)
{
	unsigned int changes = ivs_region_watch_look(&server->watch);
	char texts[512] = "";
	size_t len = 0;

	if (!changes || !ivs_log_allows(&server->changes))
		return;
	for (unsigned int i = 0; i < IVS_REGION_CHANGES_N; i++) {
		if (changes & 1U << i)
			len += (size_t)snprintf(texts + len, sizeof(texts) - len, "%s%s",
						len ? "; " : "", ivs_region_change_text(i));
	}
	ivs_log(IVS_LOG_WARNING,
		"client %u gets a region that has changed since the server opened it: %s; restart "
		"the server and all clients to share one region again (%s)",
		client->id, texts, server->region_address);
}

/* Return: the lowest id for a client of user @uid: 1 if id 0 is kept for other clients. */
static unsigned int lowest_id(const struct ivs_server *server, uid_t uid, bool quiet)
{
	const struct ivs_admission *admission = &server->admission;

	return admission->keeps_first && (!quiet || uid != admission->first_user);
}

/* Return: 0, IVS_ROSTER_E_FULL, -ENOMEM. */
static int join_roster(struct ivs_server *server, struct ivs_client *client, bool has_seat)
{
	struct ivs_roster_newcomer newcomer = {
		.vectors_n = server->vectors_n,
		.quiet = client->quiet,
		.lowest = lowest_id(server, client->cred.uid, client->quiet),
		.owner = &client->user->ids,
		.share = IVS_USERS_SHARE,
	};
	int result;

	if (has_seat)
		return ivs_roster_join_seat(server->roster, &newcomer, client->id);
	result = ivs_roster_join(server->roster, &newcomer, &client->id);
	if (result != IVS_ROSTER_E_FULL || !ivs_server_give_up_seat(server))
		return result;
	/* Finding the user of the seat may have freed the client's user, if it was idle. */
	result = ivs_users_find(&server->users, client->cred.uid, ivs_clock_ns(), &client->user);
	newcomer.owner = &client->user->ids;
	return result ? result : ivs_roster_join(server->roster, &newcomer, &client->id);
}

/**
 * struct newcomer - a connection that is about to become a client
 * @sock:  the connection; set to -1 once the client owns it
 * @bound: the socket at the other end is bound to an address
 */
struct newcomer {
	int *sock;
	bool bound;
	struct ucred cred;
};

/* Create a client, with the eventfds and the id of a vacant seat if there is one for it. */
static int create_client(struct ivs_server *server, const struct newcomer *newcomer, bool *has_seat,
			 struct ivs_client **out)
{
	const struct ucred *cred = &newcomer->cred;
	bool quiet = ivs_quiet_is(newcomer->bound, server->proc_self_fd, cred);
	struct ivs_client *seat;
	struct ivs_user *user;
	int result;

	result = ivs_users_find(&server->users, cred->uid, ivs_clock_ns(), &user);
	if (result)
		return result;
	seat = ivs_server_find_seat(server, user, cred->pid, lowest_id(server, cred->uid, quiet));
	result = ivs_client_new(newcomer->sock, cred, server->vectors_n, seat, out);
	if (result)
		return result;
	*has_seat = seat;
	(*out)->quiet = quiet;
	(*out)->user = user;
	if (!seat)
		return 0;
	(*out)->id = seat->id;
	ivs_server_seat_taken(server, seat);
	return 0;
}

static void note_client(struct ivs_server *server, struct ivs_client *client)
{
	struct ivs_roster *roster = server->roster;
	uint64_t process = (uint64_t)client->cred.pid << 32 | client->cred.uid;

	client->serial = ivs_roster_serial(roster, client->id);
	client->seat_serial = ivs_roster_seat_serial(roster, client->id);
	ivs_roster_set_note(roster, client->id, NOTE_SINCE, (uint64_t)client->since_ms);
	ivs_roster_set_note(roster, client->id, NOTE_PROCESS, process);
	ivs_roster_set_note(roster, client->id, NOTE_HELD, true); /* in case the server crashes */
}

static void log_join(struct ivs_server *server, const struct ivs_client *client, bool has_seat)
{
	if (ivs_log_allows(&server->progress))
		ivs_log(IVS_LOG_INFO, "client %u joined (pid %d, uid %d), %u connected", client->id,
			(int)client->cred.pid, (int)client->cred.uid,
			ivs_roster_peers(server->roster));
	log_ids(server, client, has_seat);
	log_region(server, client);
}

/* Return: 0, IVS_ROSTER_E_FULL, -errno. */
static int join_client(struct ivs_server *server, const struct newcomer *newcomer)
{
	struct ivs_client *client;
	bool has_seat;
	int result;

	result = create_client(server, newcomer, &has_seat, &client);
	if (result)
		return result;
	result = join_roster(server, client, has_seat);
	if (result) {
		if (has_seat)
			ivs_roster_give_up(server->roster, client->id);
		ivs_server_depart(server, client);
		return result;
	}
	note_client(server, client);
	result = ivs_server_add(server, client);
	if (result)
		return result;
	server->totals.joined++;
	server->changed = true; /* this makes the current round send the client its greeting */
	log_join(server, client, has_seat);
	ivs_server_trim_seats(server);
	ivs_server_await_reading(server, client);
	return 0;
}

static int get_cred(int sock, struct ucred *cred)
{
	socklen_t cred_len = sizeof(*cred);

	return getsockopt(sock, SOL_SOCKET, SO_PEERCRED, cred, &cred_len) ? -errno : 0;
}

/* Close fds of clients that have left, because the server is out of fds. Return: whether it did. */
static bool release_fds(struct ivs_server *server)
{
	return ivs_server_release_departed(server, true) ||
	       (ivs_server_give_up_seat(server) && ivs_server_release_departed(server, true));
}

/*
 * Turn an accepted connection into a client, or refuse it. @bound: the socket at the other end is
 * bound to an address
 */
static void admit_client(struct ivs_server *server, int *sock, bool bound)
{
	struct newcomer newcomer = {.sock = sock, .bound = bound};
	enum ivs_refusal why = REFUSALS_N;
	int result;

	result = get_cred(*sock, &newcomer.cred);
	if (result) {
		refuse_client(server, REFUSED_FAILED, result, NULL);
		return;
	}
	if (!may_join(server, *sock, &newcomer.cred, &why)) {
		refuse_client(server, why, -ENOMEM, &newcomer.cred);
		return;
	}
	result = join_client(server, &newcomer);
	for (unsigned int i = 0; i < GIVE_UPS_MAX && result == -EMFILE && release_fds(server); i++)
		result = join_client(server, &newcomer);
	if (result)
		refuse_client(server, refusal_of(result), result, &newcomer.cred);
}

/*
 * Pass the socket to the helper processes even if the client's user blocks some of them: the
 * sockets of refused connections are not charged to the user, so the server must not keep them.
 */
static void discard_refused(int *sock)
{
	struct ucred cred;

	if (*sock < 0)
		return;
	ivs_closer_set_owner(get_cred(*sock, &cred) ? IVS_CLOSER_ANYBODY
						    : IVS_CLOSER_ALWAYS | cred.uid);
	ivs_socket_discard(sock);
	ivs_closer_set_owner(IVS_CLOSER_ANYBODY);
}

static void pause_accepting(struct ivs_server *server)
{
	ivs_loop_remove(&server->listener_source);
	ivs_loop_set_timer(&server->loop, &server->accept_timer, ivs_clock_deadline(RETRY_MS));
}

/* When out of fds, release the spare one, so that a connection can be accepted and closed. */
static bool refuse_with_spare(struct ivs_server *server, int errnum)
{
	IVS_OWNED_FD sock = -1;
	struct ucred cred;
	bool refused;

	ivs_fd_close(&server->spare_fd);
	sock = accept4(server->listener.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	refused = sock >= 0; /* accept4() reports EMFILE even if no connection is waiting */
	if (refused)
		refuse_client(server, REFUSED_NO_FD, -errnum, get_cred(sock, &cred) ? NULL : &cred);
	discard_refused(&sock);
	if (!ivs_server_open_spare(server))
		return refused;
	pause_accepting(server);
	return false;
}

static void note_pending(struct ivs_loop_source *source, uint32_t events)
{
	(void)events;
	IVS_CONTAINER_OF(source, struct ivs_server, listener_source)->pending = true;
}

int ivs_server_watch_listener(struct ivs_server *server)
{
	server->listener_source.handle = note_pending;
	return ivs_loop_add(&server->loop, &server->listener_source, server->listener.fd, EPOLLIN);
}

void ivs_server_accept_again(struct ivs_loop_timer *timer)
{
	struct ivs_server *server = IVS_CONTAINER_OF(timer, struct ivs_server, accept_timer);

	if ((server->spare_fd < 0 && ivs_server_open_spare(server)) ||
	    ivs_server_watch_listener(server))
		pause_accepting(server);
}

/* Return: whether more connections may be waiting. */
static bool accept_one(struct ivs_server *server)
{
	struct sockaddr_un addr;
	socklen_t addr_len = sizeof(addr);
	IVS_OWNED_FD sock = accept4(server->listener.fd, (struct sockaddr *)&addr, &addr_len,
				    SOCK_CLOEXEC | SOCK_NONBLOCK);
	int errnum;

	if (sock >= 0) {
		admit_client(server, &sock, addr_len > sizeof(addr.sun_family));
		discard_refused(&sock);
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
		errnum = errno;
		return release_fds(server) || refuse_with_spare(server, errnum);
	default:
		refuse_client(server, REFUSED_FAILED, -errno, NULL);
		pause_accepting(server);
		return false;
	}
}

void ivs_server_accept(struct ivs_server *server)
{
	if (!server->pending)
		return;
	/* Each refused connection could leave one more fd open. */
	if (ivs_closer_kept_n() > KEPT_MAX) {
		pause_accepting(server);
		return;
	}
	server->pending = false;
	for (unsigned int i = 0; i < ACCEPTS_MAX && accept_one(server); i++)
		;
}
