/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation. A connection either listens or answers, and the epoll watches for that alone:
 *
 *   listening  EPOLLIN: bytes are taken until they hold a line
 *   answering  EPOLLOUT: the reply to that line leaves; then the next line is answered if it is
 *              there already, in the next round; else it listens, or is gone at the end of input
 *
 * So a connection that does not read costs one reply, and no system call until it does. A slot keeps
 * a file descriptor while nobody is connected: when others have taken all that there are, an
 * operator can still ask why.
 */
#include "daemon/control.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "daemon/close.h"

IVS_SYSCALLS(ivs_control_syscalls, {"accept4"}, {"sendto"}, {"send"}, {"epoll_ctl"}, {"close"},
	     IVS_CALL_DUPFD_CLOEXEC);

/* When the kernel lacks something, and no event will tell when it no longer does. */
#define RETRY_MS 50

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
	char line[IVS_CONTROL_LINE_MAX + 1]; /* with its newline */
};

/**
 * struct ivs_control - the socket and its connections
 * @epoll_fd:    the owner's; so are @tag, of the listener, @answer and @context
 * @deadline: when to accept again; IVS_CLOCK_NEVER: accepting
 * @pending:  somebody may wait to be accepted
 * @clock:    what the next to move gets as @used
 */
struct ivs_control {
	struct ivs_listener listener;
	int epoll_fd;
	uint32_t tag;
	int (*answer)(void *context, const char *line, size_t len, char **text, size_t *text_len);
	void *context;
	int64_t deadline;
	bool pending;
	uint64_t clock;
	struct control_peer peers[IVS_CONTROL_PEERS_MAX];
};

/* The epoll's own fd once more: that can be had without a path. */
static void keep_fd(struct ivs_control *control, struct control_peer *peer)
{
	peer->fd = fcntl(control->epoll_fd, F_DUPFD_CLOEXEC, 0);
}

/* Nobody and nothing is in it afterwards. */
static void clear(struct control_peer *peer)
{
	free(peer->reply);
	if (peer->connected)
		ivs_socket_discard(&peer->fd);
	ivs_fd_close(&peer->fd); /* nobody else has it, so that its events end */
	*peer = (struct control_peer){.fd = -1};
}

/* Return: whether a line is here, or as much as a line may have. */
static bool has_line(const struct control_peer *peer)
{
	return peer->line_len > IVS_CONTROL_LINE_MAX || (peer->line_len && peer->ended) ||
	       memchr(peer->line, '\n', peer->line_len);
}

/* The functions below return whether the connection is still good. */

static bool receive(struct ivs_control *control, struct control_peer *peer)
{
	ssize_t n = ivs_socket_take(peer->fd, peer->line + peer->line_len,
				    sizeof(peer->line) - peer->line_len);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	peer->used = ++control->clock;
	peer->ended = n == 0;
	peer->line_len += (size_t)n;
	return true;
}

/* Of one line, of which there may be only a part: it is the last, or it is too long. */
static bool take_line(struct ivs_control *control, struct control_peer *peer)
{
	const char *end = memchr(peer->line, '\n', peer->line_len);
	size_t len = end ? (size_t)(end - peer->line) : peer->line_len;
	bool good = peer->skipping || !control->answer(control->context, peer->line, len,
						       &peer->reply, &peer->reply_len);

	peer->skipping = !end;
	len += end ? 1 : 0;
	peer->line_len -= len;
	memmove(peer->line, peer->line + len, peer->line_len);
	return good;
}

static bool send_reply(struct ivs_control *control, struct control_peer *peer)
{
	ssize_t n = send(peer->fd, peer->reply + peer->sent, peer->reply_len - peer->sent,
			 MSG_DONTWAIT | MSG_NOSIGNAL);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	peer->used = ++control->clock;
	peer->sent += (size_t)n;
	if (peer->sent < peer->reply_len)
		return true;
	free(peer->reply);
	peer->reply = NULL;
	peer->reply_len = peer->sent = 0;
	return true;
}

/* What to wait for now. */
static bool watch(struct ivs_control *control, struct control_peer *peer)
{
	uint32_t events = peer->reply || has_line(peer) ? EPOLLOUT : EPOLLIN;
	struct epoll_event event = {
		.events = events,
		.data.u32 = control->tag + 1 + (uint32_t)(peer - control->peers),
	};

	if (events == EPOLLIN && peer->ended)
		return false; /* everything asked for is done */
	if (events == peer->watched)
		return true;
	if (epoll_ctl(control->epoll_fd, peer->watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, peer->fd,
		      &event))
		return false;
	peer->watched = events;
	return true;
}

static bool serve_peer(struct ivs_control *control, struct control_peer *peer)
{
	bool good;

	if (peer->events & (EPOLLHUP | EPOLLERR)) /* nobody is there to read a reply */
		return false;
	if (peer->reply) {
		good = send_reply(control, peer);
	} else {
		good = has_line(peer) || receive(control, peer);
		if (good && has_line(peer))
			good = take_line(control, peer);
	}
	return good && watch(control, peer);
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
static void accept_later(struct ivs_control *control)
{
	if (!epoll_ctl(control->epoll_fd, EPOLL_CTL_DEL, control->listener.fd, NULL))
		control->deadline = ivs_clock_deadline(RETRY_MS);
}

/* One, if need be with the fd of the slot that it gets. */
static void accept_one(struct ivs_control *control)
{
	const int flags = SOCK_CLOEXEC | SOCK_NONBLOCK;
	struct control_peer *peer = find_slot(control);
	int fd = accept4(control->listener.fd, NULL, NULL, flags);

	if (fd >= 0 || errno == EMFILE || errno == ENFILE)
		clear(peer);
	if (fd < 0 && (errno == EMFILE || errno == ENFILE))
		fd = accept4(control->listener.fd, NULL, NULL, flags);
	if (fd < 0) {
		if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
			accept_later(control);
		if (peer->fd < 0)
			keep_fd(control, peer);
		return;
	}
	peer->fd = fd;
	peer->connected = true;
	peer->used = ++control->clock;
	if (!watch(control, peer)) {
		clear(peer);
		keep_fd(control, peer);
	}
}

static int watch_listener(const struct ivs_control *control)
{
	struct epoll_event event = {.events = EPOLLIN, .data.u32 = control->tag};

	return epoll_ctl(control->epoll_fd, EPOLL_CTL_ADD, control->listener.fd, &event) ? -errno
											 : 0;
}

int64_t ivs_control_deadline(const struct ivs_control *control)
{
	return control->deadline;
}

void ivs_control_accept_again(struct ivs_control *control)
{
	control->deadline = IVS_CLOCK_NEVER;
	if (watch_listener(control))
		control->deadline = ivs_clock_deadline(RETRY_MS);
}

void ivs_control_note(struct ivs_control *control, uint32_t tag, uint32_t events)
{
	if (tag == control->tag)
		control->pending = true;
	else
		control->peers[tag - control->tag - 1].events |= events;
}

void ivs_control_serve(struct ivs_control *control)
{
	for (unsigned int i = 0; i < IVS_CONTROL_PEERS_MAX; i++) {
		struct control_peer *peer = &control->peers[i];

		if (!peer->events)
			continue;
		if (!serve_peer(control, peer)) {
			clear(peer);
			keep_fd(control, peer);
		}
		peer->events = 0;
	}
	if (control->pending)
		accept_one(control);
	control->pending = false;
}

/* Where a former program in this process has listened, no other has to. */
static int open_listener(struct ivs_listener *listener, const struct ivs_control_options *opts,
			 struct ivs_error *err)
{
	int *fd = opts->inherited;

	if (fd && *fd >= 0 &&
	    (!ivs_listener_adopt(listener, fd, opts->name) ||
	     !ivs_listener_adopt(listener, fd, NULL)))
		return 0;
	return ivs_listener_open(listener, opts->listener, err);
}

static int open_control(struct ivs_control *control, const struct ivs_control_options *opts,
			struct ivs_error *err)
{
	int result;

	for (unsigned int i = 0; i < IVS_CONTROL_PEERS_MAX; i++)
		keep_fd(control, &control->peers[i]);
	result = open_listener(&control->listener, opts, err);
	if (result)
		return result;
	ivs_listener_refuse_fds(&control->listener);
	result = watch_listener(control);
	return result ? ivs_error_errno(err, -result, "cannot watch the control socket") : 0;
}

int ivs_control_open(const struct ivs_control_options *opts, struct ivs_control **out,
		     struct ivs_error *err)
{
	struct ivs_control *control = calloc(1, sizeof(*control));
	int result;

	if (!control)
		return ivs_error_errno(err, ENOMEM, "cannot make the control socket");
	control->listener.fd = -1;
	control->epoll_fd = opts->epoll_fd;
	control->tag = opts->tag;
	control->answer = opts->answer;
	control->context = opts->context;
	control->deadline = IVS_CLOCK_NEVER;
	result = open_control(control, opts, err);
	if (result)
		ivs_control_close(control);
	else
		*out = control;
	return result;
}

const struct ivs_listener *ivs_control_listener(const struct ivs_control *control)
{
	return &control->listener;
}

void ivs_control_close(struct ivs_control *control)
{
	if (!control)
		return;
	for (unsigned int i = 0; i < IVS_CONTROL_PEERS_MAX; i++)
		clear(&control->peers[i]);
	ivs_listener_close(&control->listener);
	free(control);
}
