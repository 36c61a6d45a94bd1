/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/connection.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/error.h"
#include "base/eventfd.h"
#include "base/unix_address.h"
#include "protocol/socket.h"

static int connection_connect_error(const char *path, int errnum, struct ivs_error *err)
{
	struct stat st;

	if (errnum == ECONNREFUSED && !stat(path, &st) && !S_ISSOCK(st.st_mode))
		return ivs_error_set(err, IVS_CONNECTION_E_ABSENT, "%s is not a socket", path);
	if (errnum == ENOENT || errnum == ECONNREFUSED)
		return ivs_error_set(
			err, IVS_CONNECTION_E_ABSENT,
			"no server is listening at %s: start it with ivshmem-server -S %s", path,
			path);
	if (errnum == EAGAIN || errnum == EINTR)
		return ivs_error_set(err, IVS_CONNECTION_E_BUSY,
				     "the server at %s is not accepting connections", path);
	if (errnum == EACCES)
		return ivs_error_set(err, -EACCES,
				     "cannot connect to %s: Permission denied: connecting needs "
				     "write permission (ivshmem-server --socket-mode, "
				     "--socket-group)",
				     path);
	return ivs_error_errno(err, errnum, "cannot connect to %s", path);
}

/*
 * Receive out-of-band bytes inline, like all others. Otherwise the kernel would discard these bytes
 * in recvmsg(2) and close their fds, which may block.
 *
 * Bind the socket to an address that the kernel chooses: from this, ivshmem-server knows that the
 * client is not a QEMU, and may be sent the leaves of other peers. Return: 0; -1 with errno.
 */
static int connection_make_socket(struct ivs_connection *connection)
{
	const struct sockaddr_un any = {.sun_family = AF_UNIX};
	const int on = 1;

	connection->doorbells.disposal = connection->disposal;
	connection->sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (connection->sock < 0)
		return -1;
	if (!setsockopt(connection->sock, SOL_SOCKET, SO_OOBINLINE, &on, sizeof(on)) &&
	    !bind(connection->sock, (const struct sockaddr *)&any, sizeof(any.sun_family)))
		return 0;
	ivs_fd_close(&connection->sock);
	return -1;
}

int ivs_connection_connect(struct ivs_connection *connection, const char *path,
			   struct ivs_error *err)
{
	struct sockaddr_un *addr = &connection->addr;

	if (!ivs_unix_address(path, addr, err))
		return IVS_CONNECTION_E_ADDRESS;
	if (connection->sock < 0 && connection_make_socket(connection))
		return ivs_error_errno(err, errno, "cannot create a socket");
	if (!connect(connection->sock, (const struct sockaddr *)addr, sizeof(*addr)))
		return 0;
	return connection_connect_error(path, errno, err);
}

static int connection_receive_error(const struct ivs_connection *connection, int result,
				    struct ivs_error *err)
{
	const char *path = connection->addr.sun_path;

	switch (result) {
	case IVS_SOCKET_E_AGAIN:
		return IVS_CONNECTION_E_AGAIN;
	case IVS_SOCKET_E_GONE:
		return ivs_error_set(err, IVS_CONNECTION_E_LOST,
				     "the server at %s closed the connection: its log says why",
				     path);
	case IVS_SOCKET_E_TRUNCATED:
		return ivs_error_set(err, -EMFILE,
				     "out of file descriptors: each vector of each peer needs one; "
				     "raise the limit (ulimit -n)");
	case IVS_SOCKET_E_FDS:
		return ivs_error_set(err, IVS_CONNECTION_E_PROTOCOL,
				     "the process that listens at %s is not an ivshmem-server: "
				     "several fds came with one message",
				     path);
	case IVS_SOCKET_E_GARBAGE:
		return ivs_error_set(err, IVS_CONNECTION_E_PROTOCOL,
				     "the process that listens at %s is not an ivshmem-server of "
				     "protocol 0: %s",
				     path, ivs_v0_why(&connection->decoder));
	default:
		return ivs_error_errno(err, -result, "cannot receive from the server at %s", path);
	}
}

/* Store the next doorbell of another peer; pass a doorbell of the client itself to the caller. */
static int connection_take_vector(struct ivs_connection *connection,
				  struct ivs_connection_event *event, struct ivs_error *err)
{
	int result;

	if (!ivs_eventfd_is(event->fd))
		return ivs_error_set(err, IVS_CONNECTION_E_PROTOCOL,
				     "the process that listens at %s is not an ivshmem-server: a "
				     "vector of peer %u is not an eventfd",
				     connection->addr.sun_path, event->id);
	if (event->id == (unsigned int)connection->id) {
		event->type = IVS_CONNECTION_VECTOR;
		return 0;
	}
	result = ivs_doorbells_add(&connection->doorbells, event->id, &event->fd);
	if (result)
		ivs_error_errno(err, -result, "cannot store a vector of peer %u", event->id);
	return result;
}

static int connection_take_message(struct ivs_connection *connection,
				   const struct ivs_v0_message *msg,
				   struct ivs_connection_event *event, struct ivs_error *err)
{
	*event = (struct ivs_connection_event){IVS_CONNECTION_PEER, msg->id, msg->fd};
	switch (msg->type) {
	case IVS_V0_VERSION:
		break; /* no other value is possible: the decoder has checked it */
	case IVS_V0_ID:
		connection->id = (int)msg->id;
		event->type = IVS_CONNECTION_ID;
		break;
	case IVS_V0_MEMORY:
		event->type = IVS_CONNECTION_REGION;
		break;
	case IVS_V0_LEAVE:
		ivs_doorbells_remove(&connection->doorbells, msg->id);
		break;
	case IVS_V0_VECTOR:
		return connection_take_vector(connection, event, err);
	}
	return 0;
}

int ivs_connection_next(struct ivs_connection *connection, struct ivs_connection_event *event,
			struct ivs_error *err)
{
	struct ivs_v0_message msg;
	int result;

	do {
		result = ivs_socket_recv_message(connection->sock, &connection->decoder, &msg,
						 connection->disposal);
	} while (!result && msg.type == IVS_V0_VERSION);
	if (result)
		return connection_receive_error(connection, result, err);
	result = connection_take_message(connection, &msg, event, err);
	if (result)
		ivs_dispose(connection->disposal, &event->fd);
	return result;
}

void ivs_connection_close(struct ivs_connection *connection)
{
	int left = ivs_v0_release(&connection->decoder);

	ivs_dispose(connection->disposal, &left);
	/* The socket may be closed later. The server sees the shutdown, and no more fds arrive. */
	if (connection->sock >= 0)
		(void)shutdown(connection->sock, SHUT_RDWR);
	ivs_dispose(connection->disposal, &connection->sock);
	connection->decoder = (struct ivs_v0_decoder)IVS_V0_DECODER_INIT;
}

void ivs_connection_deinit(struct ivs_connection *connection)
{
	ivs_connection_close(connection);
	ivs_doorbells_deinit(&connection->doorbells);
}
