/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Messages and fds over a UNIX stream socket, sent in batches. No function blocks or raises
 * SIGPIPE; received fds are close-on-exec.
 */
#ifndef IVS_PROTOCOL_SOCKET_H
#define IVS_PROTOCOL_SOCKET_H

#include "base/disposal.h"
#include "protocol/v0.h"

enum ivs_socket_error {
	IVS_SOCKET_E_AGAIN = 1, /* the socket is full, or empty */
	IVS_SOCKET_E_GONE,	/* the other side closed the connection */
	IVS_SOCKET_E_LATER,	/* out of memory, or the user has too many fds in flight: retry
				 * after a delay, as no event reports when sending is possible */
	IVS_SOCKET_E_TRUNCATED, /* an fd was discarded: this process is out of fds */
	IVS_SOCKET_E_FDS,	/* a message had several fds */
	IVS_SOCKET_E_GARBAGE,	/* a message violates the protocol; ivs_v0_why() says why */
};

/** The maximum number of messages per ivs_socket_send(). */
#define IVS_SOCKET_BATCH 32

/**
 * ivs_socket_send() - send messages, in order
 * @msgs:   the messages, whose fds the caller keeps
 * @msgs_n: at most IVS_SOCKET_BATCH
 * @sent_n: set to the number of messages sent, even if the result is not 0
 *
 * A message is sent completely or not at all.
 *
 * Return: 0: all were sent; IVS_SOCKET_E_AGAIN, _GONE, _LATER; -errno.
 */
IVS_MUST_USE int ivs_socket_send(int sock, const struct ivs_v0_message *msgs, unsigned int msgs_n,
				 unsigned int *sent_n);

/**
 * ivs_socket_recv_bytes() - receive at most @len bytes and the fd that came with the first of them
 * @got: set to the number of bytes, at least 1 if 0 is returned
 * @fd:  set to the fd, owned by the caller, or -1
 * @disposal: closes all other fds; NULL: close(2)
 *
 * To receive each fd with its own message, request only the missing bytes of the current message.
 *
 * Return: 0, IVS_SOCKET_E_AGAIN, _GONE, _TRUNCATED, _FDS (after the last two, all fds are closed);
 * -errno.
 */
IVS_MUST_USE int ivs_socket_recv_bytes(int sock, uint8_t *buf, size_t len, size_t *got, int *fd,
				       struct ivs_disposal *disposal);

/**
 * ivs_socket_recv_message() - receive the next complete message
 * @disposal: closes fds that belong to no message; NULL: close(2)
 *
 * Return: 0, IVS_SOCKET_E_AGAIN, _GONE, _TRUNCATED, _FDS, _GARBAGE; -errno.
 */
IVS_MUST_USE int ivs_socket_recv_message(int sock, struct ivs_v0_decoder *dec,
					 struct ivs_v0_message *out, struct ivs_disposal *disposal);

#endif
