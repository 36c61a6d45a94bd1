/* SPDX-License-Identifier: BSD-3-Clause */
/* Ringing a VM after it was migrated. */
#ifndef TOOLS_IVSHMEM_MIGRATE_RING_H
#define TOOLS_IVSHMEM_MIGRATE_RING_H

#include "tools/ivshmem/migrate_host.h"

/**
 * ring_devices() - ring each vector of the VM once, through the servers of its regions
 *
 * Doorbells that were rung at the destination before the VM's state arrived are lost, so programs
 * in the VM must look at the region again. The VM has id 0, because it is the master. Failures are
 * printed.
 *
 * @control: control socket to ask, besides those of the units, whether a server is too old; NULL:
 *           none
 *
 * Return: the number of doorbells.
 */
unsigned int ring_devices(const struct side *destination, const struct host_servers *servers,
			  const char *control);

#endif
