/* SPDX-License-Identifier: BSD-3-Clause */
#include "vfio_user/connection.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/fdpass.h"
#include "daemon/close.h"

#define RECEIVES_MAX 64 /* maximum number of system calls per ivs_vfu_connection_receive() */

/* Return: false if out of memory. */
static bool body_alloc(struct ivs_vfu_body *body, size_t len)
{
	body->bytes = body->small;
	body->room = sizeof(body->small);
	if (len > body->room) {
		body->bytes = malloc(len);
		body->room = len;
	}
	body->len = body->bytes ? len : 0;
	return body->bytes;
}

static void body_free(struct ivs_vfu_body *body)
{
	if (body->bytes != body->small)
		free(body->bytes);
	body->bytes = NULL;
	body->len = body->room = 0;
}

void ivs_vfu_connection_init(struct ivs_vfu_connection *connection, struct ivs_slow *slow)
{
	memset(connection, 0, sizeof(*connection));
	connection->slow = slow;
	connection->sock_fd = connection->out_fd = -1;
}

void ivs_vfu_connection_drop_fds(struct ivs_vfu_connection *connection, unsigned int keep_n)
{
	while (connection->fds_n > keep_n)
		connection->has_socket |= ivs_fd_discard(&connection->fds[--connection->fds_n]) ==
					  IVS_CLOSE_E_SOCKET;
}

void ivs_vfu_connection_finish(struct ivs_vfu_connection *connection)
{
	ivs_vfu_connection_drop_fds(connection, 0);
	connection->lost_fds = false;
	connection->have = 0;
	body_free(&connection->in);
}

void ivs_vfu_connection_drop_reply(struct ivs_vfu_connection *connection)
{
	body_free(&connection->out);
	connection->sent = 0;
	ivs_fd_close(&connection->out_fd);
}

void ivs_vfu_connection_close(struct ivs_vfu_connection *connection)
{
	ivs_vfu_connection_finish(connection);
	ivs_vfu_connection_drop_reply(connection);
	ivs_socket_discard(&connection->sock_fd);
	connection->has_socket = connection->unread_fd = false;
}

/* Take ownership of all fds. Return: false if there were too many; the surplus is closed. */
static bool keep_fds(struct ivs_vfu_connection *connection, struct ivs_fdpass_fds *fds)
{
	bool fit = true;

	for (unsigned int i = 0; i < fds->n; i++) {
		if (connection->fds_n < IVS_VFU_FDS_MAX) {
			connection->fds[connection->fds_n++] = fds->fds[i];
			continue;
		}
		fit = false;
		(void)ivs_fd_discard(&fds->fds[i]); /* the caller disconnects the client anyway */
	}
	return fit;
}

/* Check how long the call on the socket has taken. Return: 0, IVS_VFU_CONNECTION_E_FRAMING. */
static int check_slow(struct ivs_vfu_connection *connection, struct ivs_error *err)
{
	if (!ivs_slow_check(connection->slow))
		return 0;
	return ivs_error_set(err, IVS_VFU_CONNECTION_E_FRAMING,
			     "each message takes too long, because too many epoll instances watch "
			     "the client's socket");
}

static int receive_result(const struct ivs_vfu_connection *connection, ssize_t n, int errnum,
			  struct ivs_error *err)
{
	if (n < 0 && errnum == EAGAIN)
		return IVS_VFU_CONNECTION_E_AGAIN;
	if (n < 0 && errnum != ECONNRESET)
		return ivs_error_errno(err, errnum, "cannot receive from the client");
	return connection->have ? IVS_VFU_CONNECTION_E_CUT : IVS_VFU_CONNECTION_E_GONE;
}

/* Receive up to @len bytes of the current message, and the fds that are attached to them. */
static int receive_bytes(struct ivs_vfu_connection *connection, uint8_t *to, size_t len,
			 struct ivs_error *err)
{
	struct ivs_fdpass_fds fds;
	ssize_t n;

	ivs_slow_begin(connection->slow);
	fds.max = IVS_FDPASS_MAX; /* accept all: if the kernel closes surplus fds, it may block */
	do {
		n = ivs_fdpass_recv(connection->sock_fd, to, len, &fds);
	} while (n == -EINTR);
	if (n <= 0)
		return receive_result(connection, n, (int)-n, err);
	connection->have += (size_t)n;
	if (!keep_fds(connection, &fds))
		return ivs_error_set(err, IVS_VFU_CONNECTION_E_FRAMING,
				     "the client passed more than %u fds with a message",
				     IVS_VFU_FDS_MAX);
	/* This process has run out of fds. Do not disconnect the client, which is not at fault. */
	if (fds.truncated)
		connection->lost_fds = true;
	return check_slow(connection, err);
}

/* The header is complete: decode it and allocate the body. */
static int begin_body(struct ivs_vfu_connection *connection, struct ivs_error *err)
{
	int result = ivs_vfu_get_header(connection->raw, &connection->header, err);

	if (result)
		return IVS_VFU_CONNECTION_E_FRAMING;
	if (!body_alloc(&connection->in, connection->header.size - IVS_VFU_HEADER_LEN))
		return ivs_error_errno(err, ENOMEM, "cannot receive a message of %u bytes",
				       connection->header.size);
	return 0;
}

/* Receive the missing part of the header or, if that is complete, of the body. */
static int receive_more(struct ivs_vfu_connection *connection, struct ivs_error *err)
{
	size_t have = connection->have;
	int result;

	if (have >= IVS_VFU_HEADER_LEN)
		return receive_bytes(connection, connection->in.bytes + have - IVS_VFU_HEADER_LEN,
				     connection->header.size - have, err);
	result = receive_bytes(connection, connection->raw + have, IVS_VFU_HEADER_LEN - have, err);
	if (!result && connection->have == IVS_VFU_HEADER_LEN)
		result = begin_body(connection, err);
	return result;
}

static bool is_complete(const struct ivs_vfu_connection *connection)
{
	return connection->have >= IVS_VFU_HEADER_LEN &&
	       connection->have == connection->header.size;
}

int ivs_vfu_connection_receive(struct ivs_vfu_connection *connection, struct ivs_error *err)
{
	/* A client that sends single bytes as fast as we read them must not hold up others. */
	for (unsigned int i = 0; i < RECEIVES_MAX; i++) {
		int result = receive_more(connection, err);

		if (result)
			return result;
		if (is_complete(connection))
			return 0;
	}
	return IVS_VFU_CONNECTION_E_AGAIN;
}

uint8_t *ivs_vfu_connection_reply(struct ivs_vfu_connection *connection, size_t body_len,
				  uint32_t error)
{
	if (!body_alloc(&connection->out, IVS_VFU_HEADER_LEN + body_len))
		return NULL;
	ivs_vfu_put_reply(&connection->header, body_len, error, connection->out.bytes);
	memset(connection->out.bytes + IVS_VFU_HEADER_LEN, 0, body_len);
	return connection->out.bytes + IVS_VFU_HEADER_LEN;
}

/* Called if nothing could be sent. Return: @result, unless the client has hung up. */
static int unsent_result(const struct ivs_vfu_connection *connection, int result)
{
	struct pollfd pfd = {.fd = connection->sock_fd};

	if (poll(&pfd, 1, 0) == 1 && pfd.revents & (POLLHUP | POLLERR))
		return IVS_VFU_CONNECTION_E_CUT;
	return result;
}

bool ivs_vfu_connection_has_unread_fd(struct ivs_vfu_connection *connection)
{
	connection->unread_fd = connection->unread_fd && ivs_fdpass_unread(connection->sock_fd);
	return connection->unread_fd;
}

/* Send as much of the reply as possible. An fd is sent with the first byte. */
int ivs_vfu_connection_send(struct ivs_vfu_connection *connection, struct ivs_error *err)
{
	struct iovec iov = {connection->out.bytes + connection->sent,
			    connection->out.len - connection->sent};
	struct msghdr hdr = {.msg_iov = &iov, .msg_iovlen = 1};
	union ivs_fdpass_control control;
	ssize_t n;
	int result;

	/* Check before each reply, because an unread reply without an fd would also be counted. */
	if (ivs_vfu_connection_has_unread_fd(connection) && connection->out_fd >= 0)
		return unsent_result(connection, IVS_VFU_CONNECTION_E_UNREAD);
	if (connection->out_fd >= 0)
		ivs_fdpass_attach(&hdr, &control, connection->out_fd);
	ivs_slow_begin(connection->slow);
	do {
		n = sendmsg(connection->sock_fd, &hdr, MSG_DONTWAIT | MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	if (n < 0 && errno == EAGAIN)
		return IVS_VFU_CONNECTION_E_AGAIN;
	if (n < 0 && (errno == EPIPE || errno == ECONNRESET))
		return IVS_VFU_CONNECTION_E_CUT;
	/* The kernel refuses to send before it checks whether the client has hung up. */
	if (n < 0 && (errno == ETOOMANYREFS || errno == ENOBUFS || errno == ENOMEM))
		return unsent_result(connection, IVS_VFU_CONNECTION_E_LATER);
	if (n < 0)
		return ivs_error_errno(err, errno, "cannot send a reply");
	if (connection->out_fd >= 0)
		connection->unread_fd = true;
	ivs_fd_close(&connection->out_fd);
	connection->sent += (size_t)n;
	result = check_slow(connection, err);
	if (result)
		return result;
	if (connection->sent < connection->out.len)
		return IVS_VFU_CONNECTION_E_AGAIN;
	ivs_vfu_connection_drop_reply(connection);
	return 0;
}
