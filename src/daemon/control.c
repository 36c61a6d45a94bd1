/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation. A connection is in one of two states, and is watched for only one event:
 *
 *   listening  EPOLLIN: bytes are received until a line is complete
 *   answering  EPOLLOUT: the reply to that line is sent. If the next line has already been
 *              received, it is answered in the next round; otherwise the connection listens, or is
 *              closed at the end of input
 *
 * So a client that does not read costs the memory of one reply, and no system calls until it reads.
 * Handlers only record events; a step at the end of the round serves the connections. Each unused
 * connection holds an fd in reserve: if the process runs out of fds, an operator can still connect
 * and find out why.
 */
#include "daemon/control.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/fdpass.h"
#include "daemon/close.h"

IVS_SYSCALLS(ivs_control_syscalls, {"accept4"}, {"sendto"}, {"send"}, {"close"},
	     IVS_CALL_DUPFD_CLOEXEC);

/* Delay before accepting again after a failure: no event reports when accept4() can succeed. */
#define RETRY_MS 50

/**
 * struct control_connection - a connection, or an unused entry
 * @fd:        the connection, if @connected; otherwise the fd held in reserve, or -1
 * @connected: false: the entry is unused
 * @events:    EPOLL* bits recorded in this round, not yet served
 * @watched:   events for which @fd is watched
 * @used:      value of the control socket's @clock when bytes were last sent or received
 * @ended:     the client will send nothing more
 * @skipping:  the line was too long and has been answered; its rest is being skipped
 * @line_len:  number of bytes received and not yet answered: part of a line, or several lines
 * @reply:     the reply being sent, or NULL
 * @sent:      number of bytes of @reply that have been sent
 */
struct control_connection {
	struct ivs_loop_source source;
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
	char line[IVS_CONTROL_LINE_MAX + 1]; /* a line includes its newline */
};

/**
 * struct ivs_control - the socket and its connections
 * @retry:   a timer, set while accepting is paused; otherwise the listener is watched
 * @pending: a connection may be waiting to be accepted
 * @clock:   counts uses of all connections, to find the one that has been idle for longest
 */
struct ivs_control {
	struct ivs_listener listener;
	struct ivs_loop *loop;
	struct ivs_loop_source source;
	struct ivs_loop_timer retry;
	struct ivs_loop_step step;
	int (*answer)(void *context, const char *line, size_t len, char **text, size_t *text_len);
	void *context;
	bool pending;
	uint64_t clock;
	struct control_connection connections[IVS_CONTROL_CONNECTIONS_MAX];
};

static void connection_note(struct ivs_loop_source *source, uint32_t events)
{
	IVS_CONTAINER_OF(source, struct control_connection, source)->events = events;
}

/* Any fd can be held in reserve. Duplicate the epoll fd, so that no file has to be opened. */
static void connection_reserve(struct ivs_control *control, struct control_connection *connection)
{
	connection->fd = fcntl(control->loop->epoll_fd, F_DUPFD_CLOEXEC, 0);
}

static void connection_close(struct control_connection *connection)
{
	ivs_loop_remove(&connection->source);
	free(connection->reply);
	if (connection->connected)
		ivs_socket_discard(&connection->fd);
	ivs_fd_close(&connection->fd);
	*connection = (struct control_connection){.source.handle = connection_note, .fd = -1};
}

/* Return: whether a line has been received: complete, too long, or cut off by the end of input. */
static bool has_line(const struct control_connection *connection)
{
	return connection->line_len > IVS_CONTROL_LINE_MAX ||
	       (connection->line_len && connection->ended) ||
	       memchr(connection->line, '\n', connection->line_len);
}

/* The following functions return false if the connection has to be closed. */

static bool receive_bytes(struct ivs_control *control, struct control_connection *connection)
{
	ssize_t n = ivs_socket_take(connection->fd, connection->line + connection->line_len,
				    sizeof(connection->line) - connection->line_len);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	connection->used = ++control->clock;
	connection->ended = n == 0;
	connection->line_len += (size_t)n;
	return true;
}

/* A line without a newline is either too long or the last line before the end of input. */
static bool answer_line(struct ivs_control *control, struct control_connection *connection)
{
	const char *end = memchr(connection->line, '\n', connection->line_len);
	size_t len = end ? (size_t)(end - connection->line) : connection->line_len;
	bool good = connection->skipping ||
		    !control->answer(control->context, connection->line, len, &connection->reply,
				     &connection->reply_len);

	connection->skipping = !end;
	len += end ? 1 : 0;
	connection->line_len -= len;
	memmove(connection->line, connection->line + len, connection->line_len);
	return good;
}

static bool send_reply(struct ivs_control *control, struct control_connection *connection)
{
	ssize_t n = send(connection->fd, connection->reply + connection->sent,
			 connection->reply_len - connection->sent, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	connection->used = ++control->clock;
	connection->sent += (size_t)n;
	if (connection->sent < connection->reply_len)
		return true;
	free(connection->reply);
	connection->reply = NULL;
	connection->reply_len = connection->sent = 0;
	return true;
}

static bool connection_watch(struct ivs_control *control, struct control_connection *connection)
{
	uint32_t events = connection->reply || has_line(connection) ? EPOLLOUT : EPOLLIN;
	int result = 0;

	if (events == EPOLLIN && connection->ended)
		return false; /* all requests have been answered */
	if (!connection->watched)
		result = ivs_loop_add(control->loop, &connection->source, connection->fd, events);
	else if (events != connection->watched)
		result = ivs_loop_modify(&connection->source, events);
	connection->watched = events;
	return !result;
}

static bool connection_serve(struct ivs_control *control, struct control_connection *connection)
{
	bool good;

	if (connection->events & (EPOLLHUP | EPOLLERR)) /* the client will not read a reply */
		return false;
	if (connection->reply) {
		good = send_reply(control, connection);
	} else {
		good = has_line(connection) || receive_bytes(control, connection);
		if (good && has_line(connection))
			good = answer_line(control, connection);
	}
	return good && connection_watch(control, connection);
}

/* Find an unused connection, or the one that has been idle for longest. */
static struct control_connection *find_connection(struct ivs_control *control)
{
	struct control_connection *oldest = &control->connections[0];

	for (unsigned int i = 0; i < IVS_CONTROL_CONNECTIONS_MAX; i++) {
		struct control_connection *connection = &control->connections[i];

		if (!connection->connected)
			return connection;
		if (connection->used < oldest->used)
			oldest = connection;
	}
	return oldest;
}

static void pause_accepting(struct ivs_control *control)
{
	ivs_loop_remove(&control->source);
	ivs_loop_set_timer(control->loop, &control->retry, ivs_clock_deadline(RETRY_MS));
}

/* If the process is out of fds, close the fd that the connection holds in reserve, and retry. */
static void accept_one(struct ivs_control *control)
{
	const int flags = SOCK_CLOEXEC | SOCK_NONBLOCK;
	struct control_connection *connection = find_connection(control);
	int fd = accept4(control->listener.fd, NULL, NULL, flags);

	if (fd >= 0 || errno == EMFILE || errno == ENFILE)
		connection_close(connection);
	if (fd < 0 && (errno == EMFILE || errno == ENFILE))
		fd = accept4(control->listener.fd, NULL, NULL, flags);
	if (fd < 0) {
		if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
			pause_accepting(control);
		if (connection->fd < 0)
			connection_reserve(control, connection);
		return;
	}
	connection->fd = fd;
	connection->connected = true;
	connection->used = ++control->clock;
	if (ivs_fdpass_take_urgent(fd) || !connection_watch(control, connection)) {
		connection_close(connection);
		connection_reserve(control, connection);
	}
}

static void note_pending(struct ivs_loop_source *source, uint32_t events)
{
	(void)events;
	IVS_CONTAINER_OF(source, struct ivs_control, source)->pending = true;
}

static int watch_listener(struct ivs_control *control)
{
	return ivs_loop_add(control->loop, &control->source, control->listener.fd, EPOLLIN);
}

static void resume_accepting(struct ivs_loop_timer *timer)
{
	struct ivs_control *control = IVS_CONTAINER_OF(timer, struct ivs_control, retry);

	if (watch_listener(control))
		pause_accepting(control);
}

static void serve_noted(struct ivs_loop_step *step)
{
	struct ivs_control *control = IVS_CONTAINER_OF(step, struct ivs_control, step);

	for (unsigned int i = 0; i < IVS_CONTROL_CONNECTIONS_MAX; i++) {
		struct control_connection *connection = &control->connections[i];

		if (!connection->events)
			continue;
		if (!connection_serve(control, connection)) {
			connection_close(connection);
			connection_reserve(control, connection);
		}
		connection->events = 0;
	}
	if (control->pending)
		accept_one(control);
	control->pending = false;
}

/* Prefer the listening socket that was inherited across execve(2). */
static int open_listener(struct ivs_listener *listener, const struct ivs_control_options *opts,
			 struct ivs_error *err)
{
	int *fd = opts->inherited_fd;
	int result;

	if (fd && *fd >= 0 &&
	    (!ivs_listener_adopt(listener, fd, opts->name) ||
	     !ivs_listener_adopt(listener, fd, NULL)))
		return 0;
	result = ivs_listener_open(listener, opts->listener, err);
	return result > 0 ? IVS_CONTROL_E_SOCKET : result;
}

static int open_control(struct ivs_control *control, const struct ivs_control_options *opts,
			struct ivs_error *err)
{
	int result;

	for (unsigned int i = 0; i < IVS_CONTROL_CONNECTIONS_MAX; i++)
		connection_reserve(control, &control->connections[i]);
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
		return ivs_error_errno(err, ENOMEM, "cannot create the control socket");
	control->listener.fd = -1;
	control->loop = opts->loop;
	control->source.handle = note_pending;
	control->retry.handle = resume_accepting;
	control->step.run = serve_noted;
	control->answer = opts->answer;
	control->context = opts->context;
	for (unsigned int i = 0; i < IVS_CONTROL_CONNECTIONS_MAX; i++)
		control->connections[i].source.handle = connection_note;
	ivs_loop_add_step(control->loop, &control->step);
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
	for (unsigned int i = 0; i < IVS_CONTROL_CONNECTIONS_MAX; i++)
		connection_close(&control->connections[i]);
	ivs_loop_remove_step(control->loop, &control->step);
	ivs_loop_cancel_timer(&control->retry);
	ivs_loop_remove(&control->source);
	ivs_listener_close(&control->listener);
	free(control);
}
