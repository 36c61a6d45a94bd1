/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Clients that have left, but whose fds the server still has.
 *
 * Untrusted processes can make the last close(2) of a client's fds block forever (daemon/closer.h).
 * So the server closes them only after the service manager has dropped its copies, and after the
 * leave has been sent to all clients that know the client and so have copies of its eventfds. Only
 * the helper processes close their copies later than that.
 */
#ifndef IVS_SERVER_DEPARTED_H
#define IVS_SERVER_DEPARTED_H

#include "server/private.h"

/*
 * If more clients than this have left, the fds of the oldest one are closed even before its leave
 * has been sent to all others.
 */
#define IVS_DEPARTED_MAX 256

/**
 * ivs_server_depart() - record that @client has left the roster; its fds are closed once that is
 * safe
 */
void ivs_server_depart(struct ivs_server *server, struct ivs_client *client);

/**
 * ivs_server_release_departed() - close those fds of departed clients that may be closed now
 * @all: fds are scarce, so also close those of clients whose leave has not been sent to all others
 *
 * Return: whether any were closed.
 */
bool ivs_server_release_departed(struct ivs_server *server, bool all);

/** ivs_server_release_again() - retry closing fds */
void ivs_server_release_again(struct ivs_loop_timer *timer);

#endif
