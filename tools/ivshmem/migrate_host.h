/* SPDX-License-Identifier: BSD-3-Clause */
/* Which processes of this host use the regions of VMs that are migrated. */
#ifndef TOOLS_IVSHMEM_MIGRATE_HOST_H
#define TOOLS_IVSHMEM_MIGRATE_HOST_H

#include "host/users.h"
#include "migration/check.h"
#include "tools/ivshmem/migrate_side.h"

#define HOST_SERVERS_MAX 16

/**
 * struct host_servers - the servers of the destination's regions
 * @sockets: paths of their sockets; safe to print
 */
struct host_servers {
	unsigned int n;
	char sockets[HOST_SERVERS_MAX][IVS_HOST_SOCKET_LEN];
};

/**
 * host_check() - find processes that use the regions of the source or of the destination
 * @peers:   VMs that are stopped while the source is migrated
 * @force:   print processes that may write during the migration, instead of adding a problem for
 *           each
 * @servers: set to the servers of the destination's regions
 *
 * Nothing is found for a side that is not on this host.
 */
void host_check(const struct side *source, const struct side *destination, const struct side *peers,
		unsigned int peers_n, bool force, struct ivs_migration_problems *problems,
		struct host_servers *servers);

#endif
