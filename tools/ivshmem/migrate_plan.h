/* SPDX-License-Identifier: BSD-3-Clause */
/* The steps of a migration, for people and as JSON. */
#ifndef TOOLS_IVSHMEM_MIGRATE_PLAN_H
#define TOOLS_IVSHMEM_MIGRATE_PLAN_H

#include "tools/ivshmem/migrate_side.h"

/**
 * plan_print() - print each step, and what is true after it
 * @peers_n: number of VMs that are stopped for the migration
 * @rings:   whether the destination's server is known, so that doorbells can be rung
 * @server:  server into which a doorbell device is plugged; "" if there is none
 */
void plan_print(const struct side *source, unsigned int peers_n, bool rings, const char *server,
		const char *uri);

/** plan_json() - the same, as an array of objects with "step" and "after" */
json_t *plan_json(const struct side *source, unsigned int peers_n, bool rings, const char *server,
		  const char *uri);

#endif
