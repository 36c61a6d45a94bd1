/* SPDX-License-Identifier: BSD-3-Clause */
/* A client's connection: its socket, its doorbells, and the process at the other end. */
#ifndef IVS_SERVER_CLIENT_H
#define IVS_SERVER_CLIENT_H

#include <stdbool.h>
#include <sys/socket.h>

#include "base/syscalls.h"
#include "daemon/loop.h"
#include "protocol/socket.h"

extern const struct ivs_syscall ivs_client_syscalls[];

/**
 * struct ivs_client - one connection
 * @source:      of @sock_fd
 * @sock_fd:     non-blocking
 * @blocked:     the socket was full at the last attempt; EPOLLOUT reports when it no longer is
 * @send_result: IVS_SOCKET_E_GONE or -errno: sending failed for good, the client has to be dropped
 * @cred:        of the process that connected
 * @id, @serial: in the roster
 * @stored_n:    how many of its fds the service manager has: the socket first, then the eventfds
 * @unawaited:   it is announced although they are not all stored, because the service manager does
 *               not read
 * @since_ms:    when it joined, in ms since 1970
 * @vectors_n:   how many eventfds it has
 * @eventfds:    by which others ring it
 */
struct ivs_client {
	struct ivs_loop_source source;
	int sock_fd;
	bool blocked;
	bool unawaited;
	int send_result;
	unsigned int id;
	uint64_t serial;
	unsigned int stored_n;
	struct ucred cred;
	int64_t since_ms;
	unsigned int vectors_n;
	int eventfds[];
};

/** ivs_client_is_stored() - whether the service manager has all its fds */
static inline bool ivs_client_is_stored(const struct ivs_client *client)
{
	return client->stored_n == 1 + client->vectors_n;
}

/**
 * ivs_client_new() - for a connection just accepted
 * @sock_fd: set to -1 when taken
 * @cred:    of the process at the other end
 *
 * Return: 0, or -errno (-EMFILE, -ENFILE, -ENOMEM).
 */
IVS_MUST_USE int ivs_client_new(int *sock_fd, const struct ucred *cred, unsigned int vectors_n,
				struct ivs_client **out);

/**
 * ivs_client_adopt() - for a connection that another process had
 * @sock_fd:  set to -1 when taken
 * @eventfds: all set to -1 when taken
 *
 * Return: 0 or -errno.
 */
IVS_MUST_USE int ivs_client_adopt(int *sock_fd, int *eventfds, unsigned int vectors_n,
				  struct ivs_client **out);

/** ivs_client_close() - close its fds, and shut the socket down for processes that have copies */
void ivs_client_close(struct ivs_client *client);

/**
 * ivs_client_free() - close the fds that are still open, but leave copies as they are; NULL is fine
 */
void ivs_client_free(struct ivs_client *client);

enum ivs_client_error {
	IVS_CLIENT_E_CLOSED = 1,
	IVS_CLIENT_E_SPOKE, /* clients must be silent (W-8) */
};

/**
 * ivs_client_check() - check that the client is connected and silent
 *
 * Return: 0, IVS_CLIENT_E_*, -errno.
 */
IVS_MUST_USE int ivs_client_check(const struct ivs_client *client);

#endif
