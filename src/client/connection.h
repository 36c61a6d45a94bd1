/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A client's connection to an ivshmem-server: receiving messages, and storing other peers'
 * doorbells (PROTOCOL.md, W-1 to W-14). No function blocks or takes a lock. The events do not
 * depend on the protocol's version.
 */
#ifndef IVS_CLIENT_CONNECTION_H
#define IVS_CLIENT_CONNECTION_H

#include <sys/un.h>

#include "client/doorbells.h"
#include "protocol/v0.h"

enum ivs_connection_error {
	IVS_CONNECTION_E_ADDRESS = 1, /* the path is empty or too long for a socket */
	IVS_CONNECTION_E_ABSENT,      /* no server is listening at the path */
	IVS_CONNECTION_E_BUSY,	      /* the server's listen queue is full: retry later */
	IVS_CONNECTION_E_AGAIN,	      /* there is nothing more to receive now */
	IVS_CONNECTION_E_TIMEOUT,     /* the greeting was not complete in time */
	IVS_CONNECTION_E_LOST,	      /* the server closed the connection */
	IVS_CONNECTION_E_PROTOCOL,    /* the server violated the protocol */
};

/**
 * enum ivs_connection_event_type - what the server has sent
 * @IVS_CONNECTION_ID:     @id is the client's own id
 * @IVS_CONNECTION_REGION: @fd refers to the region
 * @IVS_CONNECTION_VECTOR: @fd is the next of the client's own vectors
 * @IVS_CONNECTION_PEER:   peer @id has one more vector, or has left; its doorbells are up to date
 */
enum ivs_connection_event_type {
	IVS_CONNECTION_ID,
	IVS_CONNECTION_REGION,
	IVS_CONNECTION_VECTOR,
	IVS_CONNECTION_PEER,
};

/**
 * struct ivs_connection_event - an event
 * @id: with types ID and PEER, an id
 * @fd: with types REGION and VECTOR, an fd that the caller owns; otherwise -1
 */
struct ivs_connection_event {
	enum ivs_connection_event_type type;
	unsigned int id;
	int fd;
};

/**
 * struct ivs_connection - a connection
 * @sock:      the connected socket; -1: not connected
 * @id:        the client's own id; -1: not received yet
 * @doorbells: doorbells of the other peers; kept after a disconnect, because they continue to work
 * @addr:      address of the server, which error messages quote
 * @disposal:  closes what the server has sent; NULL: close(2). Set it before connecting
 */
struct ivs_connection {
	int sock;
	int id;
	struct ivs_v0_decoder decoder;
	struct ivs_doorbells doorbells;
	struct sockaddr_un addr;
	struct ivs_disposal *disposal;
};

#define IVS_CONNECTION_INIT                                                                        \
	{                                                                                          \
		.sock = -1, .id = -1, .decoder = IVS_V0_DECODER_INIT                               \
	}

/**
 * ivs_connection_connect() - try to connect, once
 *
 * Return: 0, IVS_CONNECTION_E_ADDRESS, _ABSENT, _BUSY; -errno.
 */
IVS_MUST_USE int ivs_connection_connect(struct ivs_connection *connection, const char *path,
					struct ivs_error *err);

/**
 * ivs_connection_next() - receive the next event
 *
 * After any result other than 0 and IVS_CONNECTION_E_AGAIN, the connection is unusable: call
 * ivs_connection_close().
 *
 * Return: 0, IVS_CONNECTION_E_AGAIN, _LOST, _PROTOCOL; -errno.
 */
IVS_MUST_USE int ivs_connection_next(struct ivs_connection *connection,
				     struct ivs_connection_event *event, struct ivs_error *err);

/** ivs_connection_close() - disconnect; the doorbells remain usable */
void ivs_connection_close(struct ivs_connection *connection);

/** ivs_connection_deinit() - disconnect, and close all doorbells */
void ivs_connection_deinit(struct ivs_connection *connection);

#endif
