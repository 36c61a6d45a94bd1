/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A client's socket: receives messages with their fds, and sends replies. No function blocks.
 *
 * No receive crosses the end of a request, so that fds can be attributed to their request. No
 * request is read before the reply to the previous one has been sent, so memory is bounded by one
 * request and one reply.
 */
#ifndef IVS_VFIO_USER_CONNECTION_H
#define IVS_VFIO_USER_CONNECTION_H

#include "daemon/slow.h"
#include "vfio_user/codec.h"

#define IVS_VFU_SMALL_LEN 256 /* bodies up to this length do not need an allocation */

/**
 * struct ivs_vfu_body - the body of a request, or a whole reply
 * @bytes: points to @small or is allocated
 * @room:  size of @bytes
 */
struct ivs_vfu_body {
	uint8_t *bytes;
	size_t len;
	size_t room;
	uint8_t small[IVS_VFU_HEADER_LEN + IVS_VFU_SMALL_LEN];
};

/**
 * struct ivs_vfu_connection - one client
 * @slow:     accounts for calls on the socket that the client slows down
 * @sock_fd:  the connected socket; -1: none
 * @have:     number of bytes received of the current request, including its header
 * @header:   header of the current request, once @raw is complete
 * @raw:      the encoded header
 * @fds:      fds of the current request; a handler that takes one replaces it with -1
 * @lost_fds: more fds were sent than this process could open
 * @has_socket: a request had a socket among its fds: see ivs_fd_discard()
 * @in:       the body of the current request
 * @out:      the reply, with its header; empty: none
 * @sent:     number of bytes of @out that have been sent
 * @out_fd:   an fd that is sent with @out and then closed; -1: none
 * @unread_fd: an fd was sent, and the client had not read it when that was last checked
 */
struct ivs_vfu_connection {
	struct ivs_slow *slow;
	int sock_fd;
	size_t have;
	struct ivs_vfu_header header;
	uint8_t raw[IVS_VFU_HEADER_LEN];
	int fds[IVS_VFU_FDS_MAX];
	unsigned int fds_n;
	bool lost_fds;
	bool has_socket;
	struct ivs_vfu_body in;
	struct ivs_vfu_body out;
	size_t sent;
	int out_fd;
	bool unread_fd;
};

enum ivs_vfu_connection_error {
	IVS_VFU_CONNECTION_E_AGAIN = 1, /* there is nothing to receive, or the socket is full */
	IVS_VFU_CONNECTION_E_GONE,	/* the client closed the connection between two messages */
	IVS_VFU_CONNECTION_E_CUT,	/* the connection was closed in the middle of a message */
	IVS_VFU_CONNECTION_E_FRAMING,	/* the client violated the protocol, or slows calls down */
	/*
	 * Memory is short, or the user has too many fds in flight. Retry after a delay, because no
	 * event reports when to send again.
	 */
	IVS_VFU_CONNECTION_E_LATER,
	IVS_VFU_CONNECTION_E_UNREAD, /* the client must read the last fd before the next one */
};

/** ivs_vfu_connection_init() - initialise without a client; @slow must outlive the connection */
void ivs_vfu_connection_init(struct ivs_vfu_connection *connection, struct ivs_slow *slow);

/** ivs_vfu_connection_close() - close the socket and all fds; no-op without a client */
void ivs_vfu_connection_close(struct ivs_vfu_connection *connection);

/**
 * ivs_vfu_connection_receive() - receive the next request: sets @header, @in and @fds
 *
 * Return: 0; IVS_VFU_CONNECTION_E_*, of which only _FRAMING sets @err; -errno.
 */
IVS_MUST_USE int ivs_vfu_connection_receive(struct ivs_vfu_connection *connection,
					    struct ivs_error *err);

/** ivs_vfu_connection_drop_fds() - close all fds of the request except the first @keep_n */
void ivs_vfu_connection_drop_fds(struct ivs_vfu_connection *connection, unsigned int keep_n);

/** ivs_vfu_connection_finish() - free the request and close the fds that no handler took */
void ivs_vfu_connection_finish(struct ivs_vfu_connection *connection);

/**
 * ivs_vfu_connection_reply() - allocate the reply to the current request, with a body of zeroes
 * @error: an errno, or 0
 *
 * Return: the body of the reply; NULL if out of memory.
 */
uint8_t *ivs_vfu_connection_reply(struct ivs_vfu_connection *connection, size_t body_len,
				  uint32_t error);

/** ivs_vfu_connection_is_pending() - whether a reply still has to be sent */
static inline bool ivs_vfu_connection_is_pending(const struct ivs_vfu_connection *connection)
{
	return connection->out.len > 0;
}

/** ivs_vfu_connection_has_unread_fd() - whether an fd may be in flight to the client (flight.h) */
bool ivs_vfu_connection_has_unread_fd(struct ivs_vfu_connection *connection);

/** ivs_vfu_connection_awaits_reader() - whether the last result was IVS_VFU_CONNECTION_E_UNREAD */
static inline bool ivs_vfu_connection_awaits_reader(const struct ivs_vfu_connection *connection)
{
	return connection->out_fd >= 0 && connection->unread_fd;
}

/** ivs_vfu_connection_drop_reply() - free the reply without sending it */
void ivs_vfu_connection_drop_reply(struct ivs_vfu_connection *connection);

/**
 * ivs_vfu_connection_send() - send the reply
 *
 * Return: 0, IVS_VFU_CONNECTION_E_AGAIN, _CUT, _FRAMING, _LATER, _UNREAD, -errno.
 */
IVS_MUST_USE int ivs_vfu_connection_send(struct ivs_vfu_connection *connection,
					 struct ivs_error *err);

#endif
