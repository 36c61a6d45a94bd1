/* SPDX-License-Identifier: BSD-3-Clause */
/* Look at a server or at ivshmem-device's socket before QEMU connects to it. */
#ifndef TOOLS_IVSHMEM_ATTACH_PROBE_H
#define TOOLS_IVSHMEM_ATTACH_PROBE_H

#include <stdbool.h>
#include <stdint.h>

#include "client/connection.h"

/**
 * struct probe - what a server has said to a client
 * @size:      size of the region
 * @vectors_n: number of vectors of each client
 * @others_n:  number of other clients
 * @id:        the id that the server assigned
 * @has_first: another client has id 0
 */
struct probe {
	uint64_t size;
	unsigned int vectors_n;
	unsigned int others_n;
	unsigned int id;
	bool has_first;
};

/**
 * probe_server() - connect to a server as a client, and leave again
 *
 * QEMU's main loop waits without a time limit for a server that accepts the connection and sends
 * nothing. When the function returns, the server has noticed that the client has left.
 *
 * Return: 0, or an exit status after printing the reason.
 */
int probe_server(const char *path, struct probe *out);

/**
 * probe_leave() - leave a server, and wait until it has noticed, at most @limit_ms
 * @connection: is freed
 */
void probe_leave(struct ivs_connection *connection, int limit_ms);

/**
 * probe_device() - check that a process listens at a socket, without connecting to it, because
 * ivshmem-device serves one VMM at a time
 *
 * Return: 0, or an exit status after printing the reason.
 */
int probe_device(const char *path);

#endif
