/* SPDX-License-Identifier: BSD-3-Clause */
/* Collects the facts about servers. */
#ifndef TOOLS_IVSHMEM_DOCTOR_SERVERS_H
#define TOOLS_IVSHMEM_DOCTOR_SERVERS_H

#include "tools/ivshmem/doctor/collected.h"
#include "tools/ivshmem/doctor/scope.h"

/**
 * collect_servers() - find the servers in @scope, and examine them
 *
 * Call it after collect_regions(). For a named server, its region is examined as well.
 *
 * Return: 0 or -ENOMEM.
 */
int collect_servers(const struct scope *scope, struct collected *out);

#endif
