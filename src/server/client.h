/* SPDX-License-Identifier: BSD-3-Clause */
/* One connection of the server: its socket, its doorbells, and who is at the other end. */
#ifndef IVS_SERVER_CLIENT_H
#define IVS_SERVER_CLIENT_H

#include <stdbool.h>
#include <sys/socket.h>

#include "wire/socket.h"

/**
 * struct ivs_client - one connection
 * @sock:      non-blocking
 * @blocked:   the socket was full when last tried; an event will tell when it no longer is
 * @cred:      who connected, as the kernel says
 * @since_ms:  when it came, in ms since 1970
 * @vectors_n: how many eventfds it has
 * @eventfds:  what others ring it by
 */
struct ivs_client {
	int sock;
	bool blocked;
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

/** ivs_client_free() - closes everything; NULL is fine */
void ivs_client_free(struct ivs_client *client);

enum ivs_client_error {
	IVS_CLIENT_E_CLOSED = 1,
	IVS_CLIENT_E_SPOKE, /* clients must be silent (W-8) */
};

/**
 * ivs_client_hear() - see whether the client is still there and silent, as it must be
 *
 * Return: 0 if so, IVS_CLIENT_E_*, -errno.
 */
IVS_MUST_USE int ivs_client_hear(const struct ivs_client *client);

#endif
