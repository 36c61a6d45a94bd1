/* SPDX-License-Identifier: BSD-3-Clause */
/* Asks the control socket of a server. The reply is untrusted. */
#ifndef TOOLS_IVSHMEM_DOCTOR_SERVER_STATUS_H
#define TOOLS_IVSHMEM_DOCTOR_SERVER_STATUS_H

#include "doctor/server_facts.h"

/**
 * struct server_reply - what a server says about itself
 * @pid:    its process; 0: it did not say
 * @socket: its socket for clients, an absolute path, or ""
 */
struct server_reply {
	pid_t pid;
	char socket[IVS_HOST_SOCKET_LEN];
	struct ivs_doctor_status status;
};

/**
 * server_ask() - ask a server for its status, within BOUNDED_MS
 * @control: path of its control socket
 *
 * Return: whether it has answered.
 */
bool server_ask(const char *control, struct server_reply *out);

#endif
