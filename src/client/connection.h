/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The connection to an ivshmem-server as a client has it: what it has been told so far, and the
 * doorbells of the others (PROTOCOL.md, W-1 to W-14). Nothing here waits, and nothing locks.
 */
#ifndef IVS_CLIENT_CONNECTION_H
#define IVS_CLIENT_CONNECTION_H

#include "client/doorbells.h"
#include "ivshmem/peer.h"
#include "protocol/v0.h"

/**
 * struct ivs_connection - one connection, or none
 * @sock:    -1: none, or lost
 * @id:      own; -1: not told yet
 * @doorbells: the others; these outlive the connection, because their doorbells go on working
 */
struct ivs_connection {
	int sock;
	int id;
	struct ivs_v0_decoder decoder;
	struct ivs_doorbells doorbells;
};

#define IVS_CONNECTION_INIT                                                                        \
	{                                                                                          \
		.sock = -1, .id = -1, .decoder = IVS_V0_DECODER_INIT                               \
	}

/**
 * ivs_connection_connect() - one try; everything else comes with ivs_connection_next()
 *
 * Return: 0; IVS_PEER_E_ADDRESS; _ABSENT: nobody listens; _TIMEOUT: it has too many who want to
 * connect, and no event tells when it has not; -errno.
 */
IVS_MUST_USE int ivs_connection_connect(struct ivs_connection *connection, const char *path,
					struct ivs_error *err);

/**
 * ivs_connection_next() - take in the next thing that the server has said
 * @path: of the server, for @err
 * @msg:  what it was. The fd of the memory, and of one's own vectors, is the caller's; others' are kept
 *        here, and then it is -1.
 *
 * Return: 0; IVS_PEER_E_TIMEOUT: nothing more for now. Or the server is lost, and ivs_connection_close() is
 * due: IVS_PEER_E_SERVER_LOST, _PROTOCOL; -errno.
 */
IVS_MUST_USE int ivs_connection_next(struct ivs_connection *connection, const char *path,
				     struct ivs_v0_message *msg, struct ivs_error *err);

/** ivs_connection_close() - the connection only */
void ivs_connection_close(struct ivs_connection *connection);

/** ivs_connection_deinit() - the connection, and all doorbells of others */
void ivs_connection_deinit(struct ivs_connection *connection);

#endif
