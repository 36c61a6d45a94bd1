/* SPDX-License-Identifier: BSD-3-Clause */
/* Asks the control socket of a server. The reply is untrusted. */
#ifndef TOOLS_IVSHMEM_DOCTOR_SERVER_STATUS_H
#define TOOLS_IVSHMEM_DOCTOR_SERVER_STATUS_H

#include "doctor/server_facts.h"

/**
 * struct server_reply - what a server says about itself
 * @pid:          its process; 0: it did not say
 * @socket:       its socket for clients, an absolute path, or ""
 * @lists_client: the process about which it was asked is one of its clients
 */
struct server_reply {
	pid_t pid;
	bool lists_client;
	char socket[IVS_HOST_SOCKET_LEN];
	struct ivs_doctor_status status;
};

/**
 * server_ask() - ask a server for its status, within BOUNDED_MS
 * @control: path of its control socket
 * @client:  a process that may be a client of it; 0: none
 *
 * Return: whether it has answered.
 */
bool server_ask(const char *control, pid_t client, struct server_reply *out);

#endif
