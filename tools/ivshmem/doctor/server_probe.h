/* SPDX-License-Identifier: BSD-3-Clause */
/* Looks at the socket of a server. What listens there is untrusted. */
#ifndef TOOLS_IVSHMEM_DOCTOR_SERVER_PROBE_H
#define TOOLS_IVSHMEM_DOCTOR_SERVER_PROBE_H

#include "doctor/server_facts.h"

#define SERVER_JOIN_MS 5000

/**
 * server_probe() - find out what is at @path, without connecting
 * @server: its members about the socket are set
 *
 * It may wait for a file system: use bounded_run().
 */
void server_probe(const char *path, struct ivs_doctor_server *server);

/**
 * server_join() - connect as a client, wait for the greeting, and leave
 *
 * Other clients see this client join and leave. It takes less than SERVER_JOIN_MS.
 */
void server_join(const char *path, struct ivs_doctor_server *server);

#endif
