/* SPDX-License-Identifier: BSD-3-Clause */
/* One connection of the server: its socket, its doorbells, and who is at the other end. */
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
 * @source:    its events
 * @sock:      non-blocking
 * @blocked:   the socket was full when last tried; an event will tell when it no longer is
 * @cred:      who connected, as the kernel says
 * @id, @serial: in the roster
 * @kept_n:    how many of its fds the service manager keeps: its socket first, then its eventfds
 * @since_ms:  when it came, in ms since 1970
 * @vectors_n: how many eventfds it has
 * @eventfds:  what others ring it by
 */
struct ivs_client {
	struct ivs_loop_source source;
	int sock;
	bool blocked;
	unsigned int id;
	uint64_t serial;
	unsigned int kept_n;
	struct ucred cred;
	int64_t since_ms;
	unsigned int vectors_n;
	int eventfds[];
};

/**
 * ivs_client_new() - of a connection just accepted
 * @sock: set to -1 when taken
 * @cred: who is at the other end
 *
 * Return: 0, or -errno (-EMFILE, -ENFILE, -ENOMEM).
 */
IVS_MUST_USE int ivs_client_new(int *sock, const struct ucred *cred, unsigned int vectors_n,
				struct ivs_client **out);

/**
 * ivs_client_adopt() - of a connection that another process has had
 * @sock:      set to -1 when taken
 * @eventfds:  all set to -1 when taken
 *
 * Return: 0 or -errno.
 */
IVS_MUST_USE int ivs_client_adopt(int *sock, int *eventfds, unsigned int vectors_n,
				  struct ivs_client **out);

/** ivs_client_close() - close everything, also for those who have copies of the socket */
void ivs_client_close(struct ivs_client *client);

/** ivs_client_free() - ivs_client_close() is not needed before, unless there are copies; NULL is fine */
void ivs_client_free(struct ivs_client *client);

enum ivs_client_error {
	IVS_CLIENT_E_CLOSED = 1,
	IVS_CLIENT_E_SPOKE, /* clients must be silent (W-8) */
};

/**
 * ivs_client_check() - see whether the client is still there and silent, as it must be
 *
 * Return: 0 if so, IVS_CLIENT_E_*, -errno.
 */
IVS_MUST_USE int ivs_client_check(const struct ivs_client *client);

#endif
