/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/connection.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/error.h"
#include "base/eventfd.h"
#include "base/fd.h"
#include "base/unix_address.h"
#include "protocol/socket.h"

int ivs_connection_connect(struct ivs_connection *connection, const char *path,
			   struct ivs_error *err)
{
	struct sockaddr_un addr;
	struct stat st;

	if (!ivs_unix_address(path, &addr, err))
		return IVS_PEER_E_ADDRESS;
	if (connection->sock < 0)
		connection->sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (connection->sock < 0)
		return ivs_error_errno(err, errno, "cannot make a socket");
	if (!connect(connection->sock, (const struct sockaddr *)&addr, sizeof(addr)))
		return 0;
	if (errno == ECONNREFUSED && !stat(path, &st) && !S_ISSOCK(st.st_mode))
		return ivs_error_set(err, IVS_PEER_E_ABSENT, "%s is no socket", path);
	if (errno == ENOENT || errno == ECONNREFUSED)
		return ivs_error_set(err, IVS_PEER_E_ABSENT,
				     "no server listens at %s: start it with ivshmem-server -S %s",
				     path, path);
	if (errno == EAGAIN || errno == EINTR)
		return ivs_error_set(err, IVS_PEER_E_TIMEOUT,
				     "the server at %s does not accept connections", path);
	if (errno == EACCES)
		return ivs_error_set(err, -EACCES,
				     "cannot connect to %s: Permission denied: who may write to it "
				     "may connect (ivshmem-server --socket-mode, --socket-group)",
				     path);
	return ivs_error_errno(err, errno, "cannot connect to %s", path);
}

/* Why a message could not be had. */
static int refuse(const struct ivs_connection *connection, int result, const char *path,
		  struct ivs_error *err)
{
	switch (result) {
	case IVS_SOCKET_E_AGAIN:
		return IVS_PEER_E_TIMEOUT;
	case IVS_SOCKET_E_GONE:
		return ivs_error_set(err, IVS_PEER_E_SERVER_LOST,
				     "the server at %s closed the connection: its log says why",
				     path);
	case IVS_SOCKET_E_TRUNCATED:
		return ivs_error_set(err, -EMFILE,
				     "out of file descriptors: each vector of each peer needs one; "
				     "raise the limit (ulimit -n)");
	case IVS_SOCKET_E_FDS:
		return ivs_error_set(
			err, IVS_PEER_E_PROTOCOL,
			"what listens at %s is no ivshmem-server: several fds came with "
			"one message",
			path);
	case IVS_SOCKET_E_GARBAGE:
		return ivs_error_set(err, IVS_PEER_E_PROTOCOL,
				     "what listens at %s is no ivshmem-server of protocol 0: %s",
				     path, ivs_v0_why(&connection->decoder));
	default:
		return ivs_error_errno(err, -result, "cannot hear the server at %s", path);
	}
}

/* Somebody's next doorbell; one's own go to the caller. */
static int take_vector(struct ivs_connection *connection, struct ivs_v0_message *msg,
		       struct ivs_error *err)
{
	int result;

	if (!ivs_eventfd_is(msg->fd))
		return ivs_error_set(err, IVS_PEER_E_PROTOCOL,
				     "what listens is no ivshmem-server: vector of peer %u "
				     "is no eventfd",
				     msg->id);
	if (msg->id == (unsigned int)connection->id)
		return 0;
	result = ivs_doorbells_add(&connection->doorbells, msg->id, &msg->fd);
	if (result)
		ivs_error_errno(err, -result, "cannot take a vector of peer %u", msg->id);
	return result;
}

int ivs_connection_next(struct ivs_connection *connection, const char *path,
			struct ivs_v0_message *msg, struct ivs_error *err)
{
	int result;

	result = ivs_socket_recv_message(connection->sock, &connection->decoder, msg);
	if (result)
		return refuse(connection, result, path, err);
	if (msg->type == IVS_V0_ID)
		connection->id = (int)msg->id;
	else if (msg->type == IVS_V0_LEAVE)
		ivs_doorbells_remove(&connection->doorbells, msg->id);
	else if (msg->type == IVS_V0_VECTOR)
		result = take_vector(connection, msg, err);
	if (result)
		ivs_fd_close(&msg->fd);
	return result;
}

void ivs_connection_close(struct ivs_connection *connection)
{
	int left = ivs_v0_release(&connection->decoder);

	ivs_fd_close(&left);
	ivs_fd_close(&connection->sock);
	connection->decoder = (struct ivs_v0_decoder)IVS_V0_DECODER_INIT;
}

void ivs_connection_deinit(struct ivs_connection *connection)
{
	ivs_connection_close(connection);
	ivs_doorbells_deinit(&connection->doorbells);
}
