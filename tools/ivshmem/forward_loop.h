/* SPDX-License-Identifier: BSD-3-Clause */
/* The loop of forward: listening sockets, listeners of streams, and connections. */
#ifndef TOOLS_IVSHMEM_FORWARD_LOOP_H
#define TOOLS_IVSHMEM_FORWARD_LOOP_H

#include "channel/section.h"
#include "tools/ivshmem/forward_connection.h"

#define FORWARD_RULES_MAX 32
/* A connection takes two of the section's endpoints, and each --serve takes one. */
#define FORWARD_ENDPOINTS_N (IVS_SECTION_ENDPOINTS_N - 1)
#define FORWARD_CONNECTIONS_MAX (FORWARD_ENDPOINTS_N / 2)

/**
 * struct forward_rule - sockets that are forwarded to a stream, or streams to a socket
 * @serves:    the streams are accepted here, and the sockets connected; otherwise vice versa
 * @sockets:   listens at the address
 * @streams:   listens to the name
 * @is_readable: a socket may wait to be accepted
 * @waiting_fd:  accepted, and waiting for room in the section; -1: none
 * @until_ns:    until when a socket or stream may wait for room before that is reported
 */
struct forward_rule {
	struct forward_end end;
	bool serves;
	struct ivs_listener sockets;
	struct ivs_stream_listener *streams;
	bool is_readable;
	int waiting_fd;
	int64_t until_ns;
};

/**
 * struct forward - all rules
 * @connections_max: up to forward_connections_max()
 * @buffer_len:      of a stream; 0: so that the section has room for all connections
 */
struct forward {
	struct forward_rule rules[FORWARD_RULES_MAX];
	unsigned int rules_n;
	unsigned int connections_max;
	size_t buffer_len;
};

/** forward_connections_max() - how many connections the section has endpoints for */
IVS_MUST_USE unsigned int forward_connections_max(const struct forward *forward);

/**
 * forward_run() - forward until SIGINT or SIGTERM
 *
 * Return: 0, or STATUS_FAILED after printing the reason.
 */
IVS_MUST_USE int forward_run(struct forward *forward, struct ivs_peer *peer,
			     struct ivs_channels *channels);

#endif
