/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A client's socket: messages with their fds in, replies out. Nothing waits.
 *
 * A request is read to its end and not one byte further, so that fds stay with their message. While
 * a reply has not left no further request is read; so there is one body at a time, and it is bounded.
 */
#ifndef IVS_VFIO_USER_CONNECTION_H
#define IVS_VFIO_USER_CONNECTION_H

#include "vfio_user/codec.h"

#define IVS_VFU_SMALL_LEN 256 /* bodies up to that need no allocation */

/**
 * struct ivs_vfu_body - of a request or a reply
 * @bytes: @small, or memory of its own
 * @room:  bytes that are at @bytes
 */
struct ivs_vfu_body {
	uint8_t *bytes;
	size_t len;
	size_t room;
	uint8_t small[IVS_VFU_HEADER_LEN + IVS_VFU_SMALL_LEN];
};

/**
 * struct ivs_vfu_connection - one client
 * @sock:   -1: none
 * @have:   bytes of the present request that came, its header included
 * @header: of the present request, once it is here
 * @raw:    the same, as it comes
 * @fds:    that came with the present request; whoever uses one sets it to -1
 * @lost_fds: more came, for which this process has no room
 * @bad_fds: a socket was among those of a former request, see ivs_fd_discard()
 * @in:     its body
 * @out:    the reply, with its header; empty: there is none
 * @sent:   bytes of it that have left
 * @out_fd: goes with it, and is closed then; -1: none
 */
struct ivs_vfu_connection {
	int sock;
	size_t have;
	struct ivs_vfu_header header;
	uint8_t raw[IVS_VFU_HEADER_LEN];
	int fds[IVS_VFU_FDS_MAX];
	unsigned int fds_n;
	bool lost_fds;
	bool bad_fds;
	struct ivs_vfu_body in;
	struct ivs_vfu_body out;
	size_t sent;
	int out_fd;
};

enum ivs_vfu_connection_error {
	IVS_VFU_CONNECTION_E_AGAIN = 1, /* nothing there, or the socket is full */
	IVS_VFU_CONNECTION_E_GONE,	/* it closed between two messages */
	IVS_VFU_CONNECTION_E_CUT,	/* in the middle of one */
	IVS_VFU_CONNECTION_E_FRAMING,	/* against the protocol */
};

/** ivs_vfu_connection_init() - without a client */
void ivs_vfu_connection_init(struct ivs_vfu_connection *connection);

/** ivs_vfu_connection_close() - and every fd; also without a client */
void ivs_vfu_connection_close(struct ivs_vfu_connection *connection);

/**
 * ivs_vfu_connection_receive() - the next whole request: @header, @in, @fds
 *
 * Return: 0; IVS_VFU_CONNECTION_E_*, with the reason if it is _FRAMING; -errno.
 */
IVS_MUST_USE int ivs_vfu_connection_receive(struct ivs_vfu_connection *connection,
					    struct ivs_error *err);

/** ivs_vfu_connection_drop_fds() - of the fds of the request only the first @keep_n stay */
void ivs_vfu_connection_drop_fds(struct ivs_vfu_connection *connection, unsigned int keep_n);

/** ivs_vfu_connection_finish() - the request is done with: its body and the fds that nobody took go */
void ivs_vfu_connection_finish(struct ivs_vfu_connection *connection);

/**
 * ivs_vfu_connection_reply() - make the reply to the present request, all zero, to be filled
 * @error: an errno, or 0
 *
 * Return: its body; NULL: no memory.
 */
uint8_t *ivs_vfu_connection_reply(struct ivs_vfu_connection *connection, size_t body_len,
				  uint32_t error);

/** ivs_vfu_connection_is_pending() - whether a reply has not left */
static inline bool ivs_vfu_connection_is_pending(const struct ivs_vfu_connection *connection)
{
	return connection->out.len > 0;
}

/** ivs_vfu_connection_drop_reply() - nobody wants it */
void ivs_vfu_connection_drop_reply(struct ivs_vfu_connection *connection);

/** ivs_vfu_connection_send() - the reply. Return: 0, IVS_VFU_CONNECTION_E_AGAIN, _CUT, -errno. */
IVS_MUST_USE int ivs_vfu_connection_send(struct ivs_vfu_connection *connection,
					 struct ivs_error *err);

#endif
