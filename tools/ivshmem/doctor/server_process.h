/* SPDX-License-Identifier: BSD-3-Clause */
/* Looks at the process of a server in /proc. */
#ifndef TOOLS_IVSHMEM_DOCTOR_SERVER_PROCESS_H
#define TOOLS_IVSHMEM_DOCTOR_SERVER_PROCESS_H

#include "doctor/server_facts.h"

/**
 * server_process_look() - examine the process @server->pid
 *
 * It may wait for the file system of the program: use bounded_run().
 */
void server_process_look(struct ivs_doctor_server *server);

#endif
