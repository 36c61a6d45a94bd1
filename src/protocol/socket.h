/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Messages and fds over a UNIX stream socket, in batches where several are to leave. Never blocks,
 * never raises SIGPIPE, every received fd is close-on-exec.
 */
#ifndef IVS_PROTOCOL_SOCKET_H
#define IVS_PROTOCOL_SOCKET_H

#include "protocol/v0.h"

enum ivs_socket_error {
	IVS_SOCKET_E_AGAIN = 1, /* full, or nothing there */
	IVS_SOCKET_E_GONE,	/* the other side closed */
	IVS_SOCKET_E_LATER,	/* the kernel lacks something (our user has too many fds in flight,
				 * no memory): nobody's fault, no event will tell, try later */
	IVS_SOCKET_E_TRUNCATED, /* an fd was lost on the way in (this process is out of fds) */
	IVS_SOCKET_E_FDS,	/* several fds with one message */
	IVS_SOCKET_E_GARBAGE,	/* against the protocol: ivs_v0_why() says why */
};

/** The most messages that ivs_socket_send() takes at once. */
#define IVS_SOCKET_BATCH 32

/**
 * ivs_socket_send() - send messages, in order
 * @msgs:   their fds stay the caller's
 * @msgs_n: at most IVS_SOCKET_BATCH
 * @sent_n: how many have left, also when the result is not 0
 *
 * A message leaves whole or not at all.
 *
 * Return: 0 (all have left), IVS_SOCKET_E_AGAIN, _GONE, _LATER; -errno.
 */
IVS_MUST_USE int ivs_socket_send(int sock, const struct ivs_v0_message *msgs, unsigned int msgs_n,
				 unsigned int *sent_n);

/**
 * ivs_socket_recv_bytes() - receive at most @len bytes and the fd that came with the first of them
 * @got: how many bytes, at least 1 when 0 is returned
 * @fd:  the fd or -1; the caller's
 *
 * To keep an fd with its message, ask for no more bytes than that message still lacks.
 *
 * Return: 0, IVS_SOCKET_E_AGAIN, _GONE, _TRUNCATED, _FDS (in both cases all fds were closed);
 * -errno.
 */
IVS_MUST_USE int ivs_socket_recv_bytes(int sock, uint8_t *buf, size_t len, size_t *got, int *fd);

/**
 * ivs_socket_recv_message() - the next whole message: ivs_socket_recv_bytes() and ivs_v0_feed() in a loop
 *
 * Return: 0, IVS_SOCKET_E_AGAIN, _GONE, _TRUNCATED, _FDS, _GARBAGE; -errno.
 */
IVS_MUST_USE int ivs_socket_recv_message(int sock, struct ivs_v0_decoder *dec,
					 struct ivs_v0_message *out);

#endif
