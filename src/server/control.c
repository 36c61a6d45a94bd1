/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation. A connection either listens or answers, and the epoll watches for that alone:
 *
 *   listening  EPOLLIN: bytes are taken until they hold a line
 *   answering  EPOLLOUT: the reply to that line leaves; then the next line is answered if it is
 *              there already, in the next round; else it listens, or is gone at the end of input
 *
 * So a connection that does not read costs one reply, and no system call until it does. A slot keeps
 * a file descriptor while nobody is connected: when clients have taken all that there are, an
 * operator can still ask why.
 */
#include "server/control.h"

#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "server/request.h"
#include "server/status.h"
#include "util/error.h"
#include "util/fd.h"

IVS_SYSCALLS(ivs_control_syscalls, {"accept4"}, {"recvfrom"}, {"recv"}, {"sendto"}, {"send"},
	     {"epoll_ctl"}, {"close"}, IVS_CALL_DUPFD_CLOEXEC);

/**
 * struct control_peer - one connection, or the room for it
 * @fd:        the connection's; else one in reserve, or -1
 * @connected: which of the two
 * @events:    of this round
 * @watched:   what the epoll watches for
 * @used:      the higher, the later something moved here
 * @ended:     no more input will come
 * @skipping:  in a line that was too long, which has been answered
 * @line_len:  bytes taken and not yet answered: a part of a line, or several
 * @reply:     or NULL
 * @sent:      bytes of it that have left
 */
struct control_peer {
	int fd;
	bool connected;
	uint32_t events;
	uint32_t watched;
	uint64_t used;
	bool ended;
	bool skipping;
	size_t line_len;
	char *reply;
	size_t reply_len;
	size_t sent;
	char line[IVS_REQUEST_LINE_MAX + 1]; /* with its newline */
};

/**
 * struct ivs_control - the socket and its connections
 * @pending: somebody may wait to be accepted
 * @clock:   what the next to move gets as @used
 */
struct ivs_control {
	struct ivs_listener listener;
	bool pending;
	uint64_t clock;
	struct control_peer peers[IVS_CONTROL_PEERS_MAX];
};

/* The epoll's own fd once more: that can be had without a path. */
static void keep_fd(struct ivs_server *server, struct control_peer *peer)
{
	peer->fd = fcntl(server->epoll, F_DUPFD_CLOEXEC, 0);
}

/* Nobody and nothing is in it afterwards. */
static void clear(struct control_peer *peer)
{
	free(peer->reply);
	ivs_fd_close(&peer->fd); /* nobody else has it, so that its events end */
	*peer = (struct control_peer){.fd = -1};
}

/* Return: whether a line is here, or as much as a line may have. */
static bool has_line(const struct control_peer *peer)
{
	return peer->line_len > IVS_REQUEST_LINE_MAX || (peer->line_len && peer->ended) ||
	       memchr(peer->line, '\n', peer->line_len);
}

/* The functions below return whether the connection is still good. */

static bool receive(struct ivs_server *server, struct control_peer *peer)
{
	ssize_t n = recv(peer->fd, peer->line + peer->line_len, sizeof(peer->line) - peer->line_len,
			 MSG_DONTWAIT);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	peer->used = ++server->control->clock;
	peer->ended = n == 0;
	peer->line_len += (size_t)n;
	return true;
}

static bool answer(struct ivs_server *server, struct control_peer *peer, size_t len)
{
	struct ivs_request request;
	struct ivs_error err;

	if (ivs_control_parse(peer->line, len, &request, &err))
		return !ivs_status_error(err.text, &peer->reply, &peer->reply_len);
	return !ivs_status_reply(server, &request, &peer->reply, &peer->reply_len);
}

/* Of one line, of which there may be only a part: it is the last, or it is too long. */
static bool take_line(struct ivs_server *server, struct control_peer *peer)
{
	const char *end = memchr(peer->line, '\n', peer->line_len);
	size_t len = end ? (size_t)(end - peer->line) : peer->line_len;
	bool good = peer->skipping || answer(server, peer, len);

	peer->skipping = !end;
	len += end ? 1 : 0;
	peer->line_len -= len;
	memmove(peer->line, peer->line + len, peer->line_len);
	return good;
}

static bool send_reply(struct ivs_server *server, struct control_peer *peer)
{
	ssize_t n = send(peer->fd, peer->reply + peer->sent, peer->reply_len - peer->sent,
			 MSG_DONTWAIT | MSG_NOSIGNAL);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	peer->used = ++server->control->clock;
	peer->sent += (size_t)n;
	if (peer->sent < peer->reply_len)
		return true;
	free(peer->reply);
	peer->reply = NULL;
	peer->reply_len = peer->sent = 0;
	return true;
}

/* What to wait for now. */
static bool watch(struct ivs_server *server, struct control_peer *peer)
{
	uint32_t events = peer->reply || has_line(peer) ? EPOLLOUT : EPOLLIN;
	struct epoll_event event = {
		.events = events,
		.data.u32 = TAG_CONTROL_PEER + (uint32_t)(peer - server->control->peers),
	};

	if (events == EPOLLIN && peer->ended)
		return false; /* everything asked for is done */
	if (events == peer->watched)
		return true;
	if (epoll_ctl(server->epoll, peer->watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, peer->fd,
		      &event))
		return false;
	peer->watched = events;
	return true;
}

static bool serve_peer(struct ivs_server *server, struct control_peer *peer)
{
	bool good;

	if (peer->events & (EPOLLHUP | EPOLLERR)) /* nobody is there to read a reply */
		return false;
	if (peer->reply) {
		good = send_reply(server, peer);
	} else {
		good = has_line(peer) || receive(server, peer);
		if (good && has_line(peer))
			good = take_line(server, peer);
	}
	return good && watch(server, peer);
}

/* A free slot, or the one where nothing has moved for longest. */
static struct control_peer *find_slot(struct ivs_control *control)
{
	struct control_peer *oldest = &control->peers[0];

	for (unsigned int i = 0; i < IVS_CONTROL_PEERS_MAX; i++) {
		struct control_peer *peer = &control->peers[i];

		if (!peer->connected)
			return peer;
		if (peer->used < oldest->used)
			oldest = peer;
	}
	return oldest;
}

/* The kernel lacks something, and no event will tell when it no longer does. */
static void accept_later(struct ivs_server *server)
{
	if (!epoll_ctl(server->epoll, EPOLL_CTL_DEL, server->control->listener.fd, NULL))
		server->timers[TIMER_CONTROL] = ivs_clock_deadline(RETRY_MS);
}

/* One, if need be with the fd of the slot that it gets. */
static void accept_one(struct ivs_server *server)
{
	const int flags = SOCK_CLOEXEC | SOCK_NONBLOCK;
	struct ivs_control *control = server->control;
	struct control_peer *peer = find_slot(control);
	int fd = accept4(control->listener.fd, NULL, NULL, flags);

	if (fd >= 0 || errno == EMFILE || errno == ENFILE)
		clear(peer);
	if (fd < 0 && (errno == EMFILE || errno == ENFILE))
		fd = accept4(control->listener.fd, NULL, NULL, flags);
	if (fd < 0) {
		if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
			accept_later(server);
		if (peer->fd < 0)
			keep_fd(server, peer);
		return;
	}
	peer->fd = fd;
	peer->connected = true;
	peer->used = ++control->clock;
	if (!watch(server, peer)) {
		clear(peer);
		keep_fd(server, peer);
	}
}

void ivs_control_accept_again(struct ivs_server *server)
{
	server->timers[TIMER_CONTROL] = IVS_CLOCK_NEVER;
	if (ivs_server_watch(server, server->control->listener.fd, TAG_CONTROL, EPOLLIN))
		server->timers[TIMER_CONTROL] = ivs_clock_deadline(RETRY_MS);
}

void ivs_control_note(struct ivs_server *server, uint32_t tag, uint32_t events)
{
	if (tag == TAG_CONTROL)
		server->control->pending = true;
	else
		server->control->peers[tag - TAG_CONTROL_PEER].events |= events;
}

void ivs_control_serve(struct ivs_server *server)
{
	struct ivs_control *control = server->control;

	if (!control)
		return;
	for (unsigned int i = 0; i < IVS_CONTROL_PEERS_MAX; i++) {
		struct control_peer *peer = &control->peers[i];

		if (!peer->events)
			continue;
		if (!serve_peer(server, peer)) {
			clear(peer);
			keep_fd(server, peer);
		}
		peer->events = 0;
	}
	if (control->pending)
		accept_one(server);
	control->pending = false;
}

/* Where a former program in this process has listened, no other has to. */
static int open_listener(struct ivs_server *server, const struct ivs_listener_options *opts,
			 struct ivs_error *err)
{
	struct ivs_listener *listener = &server->control->listener;
	struct stat name;
	IVS_OWNED_FD fd = ivs_keep_control(server->keep, &name);
	int result;

	if (fd >= 0 &&
	    (!ivs_listener_adopt(listener, &fd, &name) || !ivs_listener_adopt(listener, &fd, NULL)))
		return 0;
	result = ivs_listener_open(listener, opts, err);
	if (!result)
		ivs_keep_note_control(server->keep, &listener->ours);
	return result;
}

int ivs_control_listener(const struct ivs_server *server)
{
	return server->control ? server->control->listener.fd : -1;
}

int ivs_control_open(struct ivs_server *server, const struct ivs_listener_options *opts,
		     struct ivs_error *err)
{
	struct ivs_control *control = calloc(1, sizeof(*control));
	int result;

	if (!control)
		return ivs_error_errno(err, ENOMEM, "cannot make the control socket");
	json_object_seed(0); /* now, because it reads a file */
	server->control = control;
	control->listener.fd = -1;
	for (unsigned int i = 0; i < IVS_CONTROL_PEERS_MAX; i++)
		keep_fd(server, &control->peers[i]);
	result = open_listener(server, opts, err);
	if (result)
		return result;
	result = ivs_server_watch(server, control->listener.fd, TAG_CONTROL, EPOLLIN);
	return result ? ivs_error_errno(err, -result, "cannot watch the control socket") : 0;
}

void ivs_control_close(struct ivs_server *server)
{
	if (!server->control)
		return;
	for (unsigned int i = 0; i < IVS_CONTROL_PEERS_MAX; i++)
		clear(&server->control->peers[i]);
	ivs_listener_close(&server->control->listener);
	free(server->control);
	server->control = NULL;
}
