/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sockets of former clients to which an fd may still be in flight: sent, but not yet read.
 *
 * The kernel counts the fds in flight of all processes of a user. Beyond RLIMIT_NOFILE it refuses
 * to send any fd, to any client. connection.c sends a client the next fd only when the client has
 * read the previous one. An fd stays in flight after the client is disconnected, until the client
 * reads it or closes its end, and only the socket tells whether that has happened. So these sockets
 * stay open and are counted; a client is connected only if there is a slot for its socket, too.
 *
 * Thus a device has at most IVS_VFU_FLIGHT_MAX fds in flight. That is no more than it has open (its
 * listening socket, the socket of its helper processes, the memory and the connection), so all
 * devices of a process together stay within RLIMIT_NOFILE.
 */
#ifndef IVS_VFIO_USER_FLIGHT_H
#define IVS_VFIO_USER_FLIGHT_H

#include <stdbool.h>

#include "daemon/loop.h"

#define IVS_VFU_FLIGHT_MAX 4

struct ivs_vfio_user;

/**
 * struct ivs_vfu_former - a slot for the socket of a former client
 * @source:  reports that the client has read or has closed its end
 * @sock_fd: the socket; -1: none
 */
struct ivs_vfu_former {
	struct ivs_loop_source source;
	struct ivs_vfio_user *session;
	int sock_fd;
};

void ivs_vfu_flight_init(struct ivs_vfio_user *session);

/**
 * ivs_vfu_flight_update() - close sockets that are not needed any more
 *
 * Return: whether a slot is free.
 */
bool ivs_vfu_flight_update(struct ivs_vfio_user *session);

/** ivs_vfu_flight_keep() - keep the socket of a client that is disconnected; set @sock to -1 */
void ivs_vfu_flight_keep(struct ivs_vfio_user *session, int *sock);

/** ivs_vfu_flight_close() - close all sockets */
void ivs_vfu_flight_close(struct ivs_vfio_user *session);

#endif
