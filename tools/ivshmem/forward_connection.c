/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/ivshmem/forward_connection.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/fdpass.h"
#include "daemon/close.h"

#define TURN_MAX (256 * 1024) /* in each direction; then it is the next connection's turn */
#define PARTS_MAX 4 /* slots for one system call: a quarter, so that both sides are busy */
#define RETRY_NS (10 * (int64_t)IVS_NS_PER_MS)

/** struct parts - of a stream's memory, @len bytes in all; 0: there are none */
struct parts {
	struct iovec parts[PARTS_MAX];
	unsigned int n;
	size_t len;
};

/**
 * struct forward_connection - a socket and a stream, which bytes enter and leave in place
 * @fd:          -1 while it cannot be connected because the backlog of the target is full
 * @deadline_ns: until when both sides must be connected; IVS_CLOCK_NEVER once they are
 * @is_connecting: connect(2) has not completed
 * @is_readable, @is_writable: the last call for the socket did not find the contrary
 * @hung_up:     poll(2) reports POLLHUP from now on
 * @discards:    the socket takes no more bytes, but may have sent some
 * @has_unsent:  the stream has bytes that the socket has not taken
 * @to_stream_done: the stream knows the end, or takes no more
 * @to_socket_ended: the stream has no more bytes
 * @to_socket_done: the socket knows the end
 * @reset:       one side has failed, so the other is reset
 * @over:        no more turns
 */
struct forward_connection {
	const struct forward_end *end;
	int fd;
	struct ivs_stream *stream;
	int64_t deadline_ns;
	bool is_connecting;
	bool is_readable;
	bool is_writable;
	bool hung_up;
	bool discards;
	bool has_unsent;
	bool to_stream_done;
	bool to_socket_ended;
	bool to_socket_done;
	bool reset;
	bool over;
};

static bool is_unix(const struct forward_connection *connection)
{
	return forward_address_is_unix(&connection->end->address);
}

static void fail(struct forward_connection *connection)
{
	connection->reset = true;
	connection->over = true;
}

/* Opening and closing */

static struct forward_connection *new_connection(const struct forward_end *end, int fd,
						 struct ivs_stream *stream)
{
	struct forward_connection *connection = calloc(1, sizeof(*connection));

	if (!connection)
		return NULL;
	connection->end = end;
	connection->fd = fd;
	connection->stream = stream;
	connection->is_readable = connection->is_writable = true;
	connection->deadline_ns = ivs_clock_deadline(FORWARD_TIMEOUT_S * 1000);
	return connection;
}

struct forward_connection *forward_connection_accepted(const struct forward_end *end, int fd,
						       struct ivs_stream *stream)
{
	return new_connection(end, fd, stream);
}

static void warn_unconnected(const struct forward_end *end, int errnum)
{
	forward_warn("%s: cannot connect to %s: %s", end->name, end->address.text,
		     strerrordesc_np(errnum));
}

struct forward_connection *forward_connection_begin(const struct forward_end *end,
						    struct ivs_stream *stream)
{
	struct forward_connection *connection;
	int fd = forward_address_connect(&end->address);

	/* EAGAIN: too many connections wait until a UNIX server accepts them. */
	if (fd < 0 && fd != -EAGAIN) {
		warn_unconnected(end, -fd);
		return NULL;
	}
	connection = new_connection(end, fd < 0 ? -1 : fd, stream);
	if (!connection) {
		warn_unconnected(end, ENOMEM);
		if (fd >= 0)
			forward_connection_reset(end, &fd);
		return NULL;
	}
	connection->is_connecting = true;
	return connection;
}

void forward_connection_reset(const struct forward_end *end, int *fd)
{
	const struct linger none = {.l_onoff = 1};

	if (forward_address_is_unix(&end->address)) {
		ivs_socket_discard(fd);
		return;
	}
	(void)setsockopt(*fd, SOL_SOCKET, SO_LINGER, &none, sizeof(none));
	ivs_fd_close(fd);
}

void forward_connection_close(struct forward_connection *connection)
{
	bool resets;

	if (!connection)
		return;
	resets = connection->reset || !connection->to_stream_done || !connection->to_socket_done;
	ivs_stream_close(connection->stream);
	if (connection->fd >= 0 && (resets || is_unix(connection)))
		forward_connection_reset(connection->end, &connection->fd);
	ivs_fd_close(&connection->fd);
	free(connection);
}

/* Connecting */

static void expire(struct forward_connection *connection)
{
	const struct forward_end *end = connection->end;

	if (ivs_clock_ns() < connection->deadline_ns)
		return;
	if (connection->is_connecting)
		warn_unconnected(end, connection->fd < 0 ? EAGAIN : ETIMEDOUT);
	else
		forward_warn("%s: no peer has accepted the stream within %d s: start the peer that "
			     "serves it, or check the name",
			     end->name, FORWARD_TIMEOUT_S);
	fail(connection);
}

static void continue_socket(struct forward_connection *connection)
{
	struct pollfd look = {.events = POLLOUT};
	int errnum = 0;
	socklen_t len = sizeof(errnum);

	if (connection->fd < 0) {
		look.fd = forward_address_connect(&connection->end->address);
		if (look.fd == -EAGAIN)
			return;
		errnum = look.fd < 0 ? -look.fd : 0;
		connection->fd = look.fd < 0 ? -1 : look.fd;
	}
	look.fd = connection->fd;
	if (!errnum && poll(&look, 1, 0) < 1)
		return;
	if (!errnum)
		(void)getsockopt(connection->fd, SOL_SOCKET, SO_ERROR, &errnum, &len);
	connection->is_connecting = false;
	if (!errnum)
		return;
	warn_unconnected(connection->end, errnum);
	fail(connection);
}

static bool has_bytes(const struct forward_connection *connection)
{
	uint8_t byte;

	return recv(connection->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

/*
 * The socket was accepted. If its other side has hung up, and has sent nothing, it needs no stream
 * any more.
 */
static void continue_stream(struct forward_connection *connection)
{
	size_t written;
	int result = ivs_stream_write(connection->stream, NULL, 0, &written, 0);

	if (ivs_stream_is_connected(connection->stream))
		return;
	if (result != IVS_CHANNEL_E_TIMEOUT)
		forward_warn("%s: cannot connect the stream: %s", connection->end->name,
			     ivs_channel_strerror(result));
	if (result != IVS_CHANNEL_E_TIMEOUT || (connection->hung_up && !has_bytes(connection)))
		fail(connection);
}

/* Return: whether both sides are connected. */
static bool is_ready(struct forward_connection *connection, bool *moved)
{
	if (connection->deadline_ns == IVS_CLOCK_NEVER)
		return true;
	if (connection->is_connecting)
		continue_socket(connection);
	else
		continue_stream(connection);
	if (connection->over)
		return false;
	if (connection->is_connecting || !ivs_stream_is_connected(connection->stream)) {
		expire(connection);
		return false;
	}
	connection->deadline_ns = IVS_CLOCK_NEVER;
	*moved = true;
	ivs_log(IVS_LOG_INFO, "%s: connected with a socket of %s", connection->end->name,
		connection->end->address.text);
	return true;
}

/* From the socket to the stream */

/* Return: the number of bytes, 0 at the end, -errno. */
static ssize_t receive(struct forward_connection *connection, struct parts *room)
{
	struct msghdr message = {.msg_iov = room->parts, .msg_iovlen = room->n};
	struct ivs_fdpass_fds fds;
	ssize_t n;

	if (!is_unix(connection)) {
		n = recvmsg(connection->fd, &message, MSG_DONTWAIT);
		return n < 0 ? -errno : n;
	}
	fds.max = IVS_FDPASS_MAX;
	n = ivs_fdpass_recv_parts(connection->fd, room->parts, room->n, &fds);
	if (!fds.n && !fds.truncated)
		return n;
	ivs_fds_discard(fds.fds, fds.n);
	forward_warn("%s: a program has sent file descriptors over a socket of %s, and a stream "
		     "carries only bytes: its connection was closed",
		     connection->end->name, connection->end->address.text);
	return -EPROTO;
}

static void fail_stream(struct forward_connection *connection, int result)
{
	forward_warn("%s: a stream was reset: %s", connection->end->name,
		     ivs_channel_strerror(result));
	fail(connection);
}

/* Leave out what is more than a turn's. */
static void count_parts(struct parts *parts)
{
	unsigned int n = parts->n;

	parts->len = 0;
	for (parts->n = 0; parts->n < n && parts->len < TURN_MAX; parts->n++) {
		struct iovec *part = &parts->parts[parts->n];

		if (part->iov_len > TURN_MAX - parts->len)
			part->iov_len = TURN_MAX - parts->len;
		parts->len += part->iov_len;
	}
}

/*
 * The stream takes no more. That is an error only if the program sends more; what the other side
 * has written can still be read.
 */
static void end_to_stream(struct forward_connection *connection)
{
	uint8_t byte;
	ssize_t n = recv(connection->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);

	if (n < 0 && errno == EAGAIN) {
		connection->is_readable = false;
		return;
	}
	connection->to_stream_done = true;
	connection->reset = connection->reset || n;
}

/* Find room in the stream; none, if there is none now, or no more. */
static void find_room(struct forward_connection *connection, struct parts *room)
{
	int result;

	room->n = PARTS_MAX;
	result = ivs_stream_reserve(connection->stream, room->parts, &room->n, 0);
	if (!result) {
		count_parts(room);
		return;
	}
	room->len = 0;
	if (result == IVS_CHANNEL_E_ENDED)
		end_to_stream(connection);
	else if (result != IVS_CHANNEL_E_TIMEOUT)
		fail_stream(connection, result);
}

/* Return: the number of bytes that were passed on; 0: none can be now. */
static size_t step_to_stream(struct forward_connection *connection, bool *moved)
{
	struct parts room;
	ssize_t n;

	if (!connection->is_readable)
		return 0;
	find_room(connection, &room);
	*moved = *moved || connection->to_stream_done;
	if (!room.len)
		return 0;
	n = receive(connection, &room);
	if (n > 0)
		ivs_stream_commit(connection->stream, (size_t)n);
	else if (n == -EAGAIN)
		connection->is_readable = false;
	else if (n < 0 && n != -EINTR)
		fail(connection);
	if (!n) {
		ivs_stream_shutdown(connection->stream);
		connection->to_stream_done = true;
	}
	*moved = *moved || n >= 0;
	return n < 0 ? 0 : (size_t)n;
}

/* From the stream to the socket */

/*
 * The other side has ended its direction. If it has left, died or closed the stream, it does not
 * read, either: then the end of its bytes is not where its program has ended them.
 */
static void end_from_stream(struct forward_connection *connection)
{
	size_t written;

	connection->to_socket_ended = true;
	if (!ivs_stream_is_complete(connection->stream)) {
		fail(connection);
		return;
	}
	if (!connection->to_stream_done &&
	    ivs_stream_write(connection->stream, NULL, 0, &written, 0) == IVS_CHANNEL_E_ENDED)
		connection->to_stream_done = connection->reset = true;
	if (connection->to_stream_done && connection->reset)
		connection->over = true;
}

/* Find bytes in the stream, or its end. */
static void find_bytes(struct forward_connection *connection, struct parts *bytes, bool *moved)
{
	int result;

	bytes->n = PARTS_MAX;
	result = ivs_stream_peek(connection->stream, bytes->parts, &bytes->n, 0);
	if (!result) {
		count_parts(bytes);
		connection->has_unsent = true;
		return;
	}
	bytes->len = 0;
	if (result == IVS_CHANNEL_E_TIMEOUT)
		return;
	*moved = true;
	if (result == IVS_CHANNEL_E_ENDED)
		end_from_stream(connection);
	else
		fail_stream(connection, result);
}

/* Return: the number of bytes that the socket has taken. */
static size_t send_bytes(struct forward_connection *connection, struct parts *bytes)
{
	struct msghdr message = {.msg_iov = bytes->parts, .msg_iovlen = bytes->n};
	ssize_t n = connection->discards
			    ? (ssize_t)bytes->len
			    : sendmsg(connection->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (n >= 0)
		return (size_t)n;
	if (errno == EAGAIN) {
		connection->is_writable = false;
	} else if (errno == EPIPE || errno == ECONNRESET) {
		/* The socket may still have bytes, and has an end, or an error. */
		connection->discards = connection->reset = true;
		connection->is_readable = true;
	} else if (errno != EINTR) {
		fail(connection);
	}
	return 0;
}

/* Return: the number of bytes that were passed on; 0: none can be now. */
static size_t step_to_socket(struct forward_connection *connection, bool *moved)
{
	struct parts bytes = {.len = 0};
	size_t n = 0;

	if (!connection->is_writable && connection->has_unsent)
		return 0;
	if (!connection->to_socket_ended)
		find_bytes(connection, &bytes, moved);
	if (connection->over)
		return 0;
	if (bytes.len && connection->is_writable) {
		n = send_bytes(connection, &bytes);
		connection->has_unsent = n < bytes.len;
		/* After an error, the other direction goes on. */
		*moved = *moved || n || connection->discards;
		/* The bytes may have been others, and the socket has them. */
		if (ivs_stream_release(connection->stream, n))
			fail(connection);
	}
	if (connection->to_socket_ended) {
		(void)shutdown(connection->fd, SHUT_WR);
		connection->to_socket_done = true;
	}
	return n;
}

/* Turns */

bool forward_connection_turn(struct forward_connection *connection, bool *moved)
{
	size_t left = TURN_MAX;
	size_t n;

	if (!is_ready(connection, moved)) {
		ivs_stream_set_reading(connection->stream, false);
		return !connection->over;
	}
	while (!connection->over && !connection->to_stream_done && left) {
		n = step_to_stream(connection, moved);
		left = n && n < left ? left - n : 0;
	}
	left = TURN_MAX;
	while (!connection->over && !connection->to_socket_done && left) {
		n = step_to_socket(connection, moved);
		left = n && n < left ? left - n : 0;
	}
	if (connection->to_stream_done && (connection->to_socket_done || connection->discards))
		connection->over = true;
	ivs_stream_set_reading(connection->stream,
			       !connection->has_unsent && !connection->to_socket_ended);
	return !connection->over;
}

int64_t forward_connection_poll(const struct forward_connection *connection, struct pollfd *out)
{
	bool is_set_up = connection->deadline_ns == IVS_CLOCK_NEVER;

	*out = (struct pollfd){.fd = connection->fd};
	if (connection->is_connecting ||
	    (is_set_up && connection->has_unsent && !connection->is_writable))
		out->events |= POLLOUT;
	if (is_set_up && !connection->to_stream_done && !connection->is_readable)
		out->events |= POLLIN;
	if (!out->events && connection->hung_up)
		out->fd = -1; /* poll(2) would not wait */
	if (connection->is_connecting && connection->fd < 0)
		return ivs_clock_ns() + RETRY_NS;
	return connection->deadline_ns;
}

void forward_connection_polled(struct forward_connection *connection, short events)
{
	int errnum = 0;
	socklen_t len = sizeof(errnum);

	if (events & (POLLIN | POLLHUP | POLLERR))
		connection->is_readable = true;
	if (events & (POLLOUT | POLLHUP | POLLERR))
		connection->is_writable = true;
	if (events & POLLHUP)
		connection->hung_up = true;
	if (!(events & POLLERR) || connection->is_connecting)
		return;
	connection->hung_up = true;
	if (!getsockopt(connection->fd, SOL_SOCKET, SO_ERROR, &errnum, &len) && errnum)
		fail(connection);
}
