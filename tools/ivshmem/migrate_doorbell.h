/* SPDX-License-Identifier: BSD-3-Clause */
/* A doorbell device that is a peer: it is unplugged before a migration and plugged in after it. */
#ifndef TOOLS_IVSHMEM_MIGRATE_DOORBELL_H
#define TOOLS_IVSHMEM_MIGRATE_DOORBELL_H

#include "migration/check.h"
#include "tools/ivshmem/detach_check.h"
#include "tools/ivshmem/migrate_side.h"

/**
 * struct doorbell_way - from which server to which one
 * @control:   control socket of the source's server, as given; NULL: look for it
 * @no_rings:  as given: no peer rings the device
 * @to_server: the destination's server, as given; NULL: the same
 * @from:      set to the path of the socket of the source's server; "" until it is known
 * @to:        set to that of the destination's server; "" until it is known
 */
struct doorbell_way {
	const char *control;
	bool no_rings;
	const char *to_server;
	char from[SERVER_SOCKET_LEN];
	char to[SERVER_SOCKET_LEN];
};

/**
 * doorbell_check() - add a problem if the device cannot be unplugged or plugged in
 * @device: of the source; its file is set to the region of its server
 *
 * The checks are those of the commands detach and attach. Nothing is changed, but the destination's
 * server sees a client join and leave.
 */
void doorbell_check(struct doorbell_way *way, struct side *source, struct side *destination,
		    struct ivs_migration_device *device, struct ivs_migration_problems *problems);

/**
 * doorbell_plug() - plug the device into @side
 * @socket: the server
 *
 * Return: 0, or an exit status after printing the reason.
 */
int doorbell_plug(struct side *side, const struct ivs_migration_device *device, const char *socket);

#endif
