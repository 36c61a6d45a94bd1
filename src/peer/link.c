/* SPDX-License-Identifier: BSD-3-Clause */
#include "peer/link.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/error.h"
#include "base/eventfd.h"
#include "base/fd.h"
#include "protocol/socket.h"

int ivs_link_connect(struct ivs_link *link, const char *path, struct ivs_error *err)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	struct stat st;

	if (!*path || strlen(path) >= sizeof(addr.sun_path))
		return ivs_error_set(err, IVS_PEER_E_ADDRESS,
				     "the socket's path has %zu bytes; 1 to %zu are possible",
				     strlen(path), sizeof(addr.sun_path) - 1);
	strcpy(addr.sun_path, path);
	if (link->sock < 0)
		link->sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (link->sock < 0)
		return ivs_error_errno(err, errno, "cannot make a socket");
	if (!connect(link->sock, (const struct sockaddr *)&addr, sizeof(addr)))
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
static int refuse(const struct ivs_link *link, int result, const char *path, struct ivs_error *err)
{
	switch (result) {
	case IVS_SOCKET_E_AGAIN:
		return IVS_PEER_E_TIMEOUT;
	case IVS_SOCKET_E_GONE:
		return ivs_error_set(err, IVS_PEER_E_LOST,
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
				     path, ivs_v0_why(&link->decoder));
	default:
		return ivs_error_errno(err, -result, "cannot hear the server at %s", path);
	}
}

/* Somebody's next doorbell; one's own go to the caller. */
static int take_vector(struct ivs_link *link, struct ivs_v0_message *msg, struct ivs_error *err)
{
	int result;

	if (!ivs_eventfd_is(msg->fd))
		return ivs_error_set(err, IVS_PEER_E_PROTOCOL,
				     "what listens is no ivshmem-server: vector of peer %u "
				     "is no eventfd",
				     msg->id);
	if (msg->id == (unsigned int)link->id)
		return 0;
	result = ivs_remotes_add(&link->remotes, msg->id, &msg->fd);
	if (result)
		ivs_error_errno(err, -result, "cannot take a vector of peer %u", msg->id);
	return result;
}

int ivs_link_next(struct ivs_link *link, const char *path, struct ivs_v0_message *msg,
		  struct ivs_error *err)
{
	int result;

	result = ivs_socket_recv_message(link->sock, &link->decoder, msg);
	if (result)
		return refuse(link, result, path, err);
	if (msg->type == IVS_V0_ID)
		link->id = (int)msg->id;
	else if (msg->type == IVS_V0_LEAVE)
		ivs_remotes_remove(&link->remotes, msg->id);
	else if (msg->type == IVS_V0_VECTOR)
		result = take_vector(link, msg, err);
	if (result)
		ivs_fd_close(&msg->fd);
	return result;
}

void ivs_link_close(struct ivs_link *link)
{
	int left = ivs_v0_release(&link->decoder);

	ivs_fd_close(&left);
	ivs_fd_close(&link->sock);
	link->decoder = (struct ivs_v0_decoder)IVS_V0_DECODER_INIT;
}

void ivs_link_deinit(struct ivs_link *link)
{
	ivs_link_close(link);
	ivs_remotes_deinit(&link->remotes);
}
