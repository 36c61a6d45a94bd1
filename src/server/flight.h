/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * File descriptors in flight to clients: sent, but not yet read. The kernel counts them for the
 * server's user. If their number exceeds RLIMIT_NOFILE, the kernel sends no fd to any client.
 *
 * A client that has no fd in flight may always be sent a message with an fd, whatever others do. So
 * each newcomer is greeted immediately, and each client that reads is sent all messages. The server
 * has more than one fd open for each client, so RLIMIT_NOFILE exceeds the number of clients. The
 * surplus is shared out: the clients of a user may have as many fds in flight as they leave for
 * others (users.h). Messages that may not be sent yet stay in the roster until the client reads.
 *
 * The server cannot retract what a client has not read. So the socket of a dropped client stays
 * open until the client has read everything or closed its end, and is counted as a client until
 * then.
 */
#ifndef IVS_SERVER_FLIGHT_H
#define IVS_SERVER_FLIGHT_H

#include "base/syscalls.h"
#include "server/private.h"

extern const struct ivs_syscall ivs_flight_syscalls[];

/** ivs_flight_init() - compute the limits from RLIMIT_NOFILE; @own_fds belong to no client */
void ivs_flight_init(struct ivs_server *server, unsigned int own_fds);

/**
 * ivs_flight_begin() - count a new client, or one that a previous process accepted. Return: 0 or
 * -ENOMEM.
 */
IVS_MUST_USE int ivs_flight_begin(struct ivs_server *server, struct ivs_client *client);

/** ivs_flight_allows() - how many of the messages may be sent now, given their fds */
unsigned int ivs_flight_allows(struct ivs_server *server, struct ivs_client *client,
			       const struct ivs_v0_message *msgs, unsigned int msgs_n);

/** ivs_flight_sent() - count the fds of messages that have been sent */
void ivs_flight_sent(struct ivs_server *server, struct ivs_client *client,
		     const struct ivs_v0_message *msgs, unsigned int msgs_n);

/** ivs_flight_update() - ask the kernel how many messages the client has not read */
void ivs_flight_update(struct ivs_server *server, struct ivs_client *client);

/** ivs_flight_end() - call this when the client is leaving, before its socket is closed */
void ivs_flight_end(struct ivs_server *server, struct ivs_client *client);

/** ivs_flight_total() - upper bound on the number of fds in flight to all clients */
unsigned int ivs_flight_total(const struct ivs_server *server);

/** ivs_flight_deinit() - close the sockets of former clients, and free the users */
void ivs_flight_deinit(struct ivs_server *server);

#endif
