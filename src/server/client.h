/* SPDX-License-Identifier: BSD-3-Clause */
/* A client's connection: its socket, its doorbells, and the process at the other end. */
#ifndef IVS_SERVER_CLIENT_H
#define IVS_SERVER_CLIENT_H

#include <stdbool.h>
#include <sys/socket.h>

#include "base/syscalls.h"
#include "daemon/inherit.h"
#include "daemon/loop.h"
#include "protocol/socket.h"
#include "server/cost.h"

extern const struct ivs_syscall ivs_client_syscalls[];

/* Whether the service manager still has copies of a client's fds after the client has left. */
enum ivs_client_dropping {
	IVS_CLIENT_DROP_DUE,   /* the service manager has to be asked to drop them */
	IVS_CLIENT_DROP_ASKED, /* it has been asked to drop them, but has not confirmed that yet */
	IVS_CLIENT_DROPPED,    /* the service manager has no copies */
};

/**
 * struct ivs_client - one connection
 * @source:      events of @sock_fd
 * @sock_fd:     the connected socket, non-blocking
 * @blocked:     the socket was full at the last attempt to send; EPOLLOUT reports when it has room
 * @send_result: IVS_SOCKET_E_GONE or -errno: sending has failed permanently, so drop the client
 * @cred:        credentials of the process that connected
 * @user:        the user of @cred
 * @cost:        processor time that sending messages to the client takes
 * @flight_n:    upper bound on the number of fds in flight to the client (flight.h)
 * @id, @serial: the client's id and serial in the roster
 * @seat_serial: the serial of the client's seat in the roster
 * @quiet:       the client is never sent a leave (quiet.h)
 * @slow_n:      how often resetting the eventfds has been slow (seats.c)
 * @held:        of a vacant seat: it is held back while the process of @cred exists (seats.h)
 * @stored_n:    number of fds that the service manager has stored: the eventfds, then the socket
 * @unawaited:   announce the client before all its fds are stored, because the service manager is
 *               not reading
 * @next:        after the client has left: the client that left after it (departed.c)
 * @dropping:    after the client has left: whether the service manager still has copies of its fds
 * @leaving: after the client has left: whether it still counts as one of its user's clients
 *               (users.h)
 * @left_ns:     after the client has left: when it left, in ivs_clock_ns()
 * @read_by_ns:  time by which the client should have read its greeting; 0: it has read it, or this
 *               has been checked (unread.c)
 * @since_ms:    when the client joined, in ms since 1970
 * @vectors_n:   number of the client's vectors
 * @eventfds:    the client's doorbells, one for each vector
 */
struct ivs_client {
	struct ivs_loop_source source;
	int sock_fd;
	bool blocked;
	bool unawaited;
	bool quiet;
	bool held;
	unsigned int slow_n;
	int send_result;
	unsigned int id;
	uint64_t serial;
	uint64_t seat_serial;
	unsigned int stored_n;
	struct ivs_client *next;
	enum ivs_client_dropping dropping;
	bool leaving;
	int64_t left_ns;
	struct ucred cred;
	struct ivs_user *user;
	struct ivs_cost cost;
	unsigned int flight_n;
	int64_t read_by_ns;
	int64_t since_ms;
	unsigned int vectors_n;
	int eventfds[];
};

/** ivs_client_is_stored() - whether the service manager has stored all fds of @client */
static inline bool ivs_client_is_stored(const struct ivs_client *client)
{
	return client->stored_n == 1 + client->vectors_n;
}

/**
 * ivs_client_new() - create a client for a connection that has just been accepted
 * @sock_fd: the connection; set to -1 on success
 * @cred:    credentials of the process at the other end
 * @seat:    the seat whose eventfds the client takes; NULL: it gets new ones
 *
 * Return: 0, or -errno (-EMFILE, -ENFILE, -ENOMEM).
 */
IVS_MUST_USE int ivs_client_new(int *sock_fd, const struct ucred *cred, unsigned int vectors_n,
				struct ivs_client *seat, struct ivs_client **out);

/**
 * ivs_client_adopt() - create a client for a connection that a previous process accepted
 * @sock_fd:  the connection; set to -1 on success; -1: none, for a vacant seat
 * @eventfds: the client's doorbells; all set to -1 on success
 *
 * Return: 0 or -errno.
 */
IVS_MUST_USE int ivs_client_adopt(int *sock_fd, int *eventfds, unsigned int vectors_n,
				  struct ivs_client **out);

/**
 * ivs_client_split() - move the eventfds of @client to a seat, which is a client without a socket
 *
 * Return: 0 or -ENOMEM.
 */
IVS_MUST_USE int ivs_client_split(struct ivs_client *client, struct ivs_client **seat);

/**
 * ivs_client_of_rest() - create an object for the fds of clients that left in a previous process
 * @fds: owned by the object, if it could be allocated
 *
 * Return: the object, which has no socket and no id; NULL: out of memory.
 */
struct ivs_client *ivs_client_of_rest(const struct ivs_named_fd *fds, size_t fds_n);

/**
 * ivs_client_hang_up() - shut down the client's socket, even for processes that have copies of it
 */
void ivs_client_hang_up(struct ivs_client *client);

/**
 * ivs_client_release() - close the fds of @client without blocking, and free @client
 *
 * Return: false: all helper processes that close fds are blocked (daemon/closer.h). Retry later.
 */
IVS_MUST_USE bool ivs_client_release(struct ivs_client *client);

/**
 * ivs_client_free() - close the fds that are still open, and free @client; copies of the socket in
 * other processes stay connected; NULL is ignored
 */
void ivs_client_free(struct ivs_client *client);

enum ivs_client_error {
	IVS_CLIENT_E_CLOSED = 1,
	IVS_CLIENT_E_SPOKE, /* the client sent data, which W-8 forbids */
};

/**
 * ivs_client_check() - check that the client is connected and silent
 *
 * Return: 0, IVS_CLIENT_E_*, -errno.
 */
IVS_MUST_USE int ivs_client_check(const struct ivs_client *client);

#endif
