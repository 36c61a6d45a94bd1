/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One connection of forward: a socket and a stream, and the bytes on their way between them.
 *
 * Each direction ends by itself. A connection is reset if one side cannot take what the other has
 * sent: the socket with SO_LINGER, the stream by closing it before its end.
 */
#ifndef TOOLS_IVSHMEM_FORWARD_CONNECTION_H
#define TOOLS_IVSHMEM_FORWARD_CONNECTION_H

#include <poll.h>

#include "daemon/log.h"
#include "ivshmem/channel.h"
#include "tools/ivshmem/forward_address.h"

#define FORWARD_TIMEOUT_S 10 /* for a stream to be accepted, or a socket to be connected */

struct forward_connection;

/**
 * struct forward_end - what a connection connects; must outlive it
 * @name:    of the stream
 * @address: of the socket
 */
struct forward_end {
	const char *name;
	struct forward_address address;
};

/**
 * forward_connection_accepted() - a connection with a socket that was accepted
 * @fd:     taken
 * @stream: taken; being connected
 *
 * Return: the connection; NULL: no memory.
 */
struct forward_connection *forward_connection_accepted(const struct forward_end *end, int fd,
						       struct ivs_stream *stream);

/**
 * forward_connection_begin() - a connection with a stream that was accepted
 * @stream: taken
 *
 * Return: the connection, whose socket is being connected; NULL: failed, after logging the reason.
 */
struct forward_connection *forward_connection_begin(const struct forward_end *end,
						    struct ivs_stream *stream);

/**
 * forward_connection_close() - close both sides; one that has not ended is reset. NULL is ignored.
 */
void forward_connection_close(struct forward_connection *connection);

/** forward_connection_reset() - close a socket of @end at once, so that the other side notices */
void forward_connection_reset(const struct forward_end *end, int *fd);

/**
 * forward_connection_turn() - move bytes in both directions, up to a limit, without waiting
 * @moved: set to true if anything has changed; then the caller should not wait
 *
 * Return: false: the connection is over, and is to be closed.
 */
IVS_MUST_USE bool forward_connection_turn(struct forward_connection *connection, bool *moved);

/** forward_connection_poll() - what to wait for. Return: until when, at most (ivs_clock_ns()). */
int64_t forward_connection_poll(const struct forward_connection *connection, struct pollfd *out);

/** forward_connection_polled() - process the result of poll(2) */
void forward_connection_polled(struct forward_connection *connection, short events);

/** forward_warn() - log a warning that untrusted processes can cause, unless there were too many */
#define forward_warn(...)                                                                          \
	do {                                                                                       \
		static struct ivs_log_limit limit;                                                 \
                                                                                                   \
		if (ivs_log_allows(&limit))                                                        \
			ivs_log(IVS_LOG_WARNING, __VA_ARGS__);                                     \
	} while (0)

#endif
