/* SPDX-License-Identifier: BSD-3-Clause */
/* The file of a device that is plugged in again: it must be the same one for both QEMUs. */
#ifndef TOOLS_IVSHMEM_MIGRATE_FILE_H
#define TOOLS_IVSHMEM_MIGRATE_FILE_H

#include "migration/check.h"
#include "tools/ivshmem/migrate_side.h"

/**
 * file_check() - add a problem if QEMU would give the guest different memory after the migration
 *
 * QEMU creates a file that does not exist, so both QEMUs must find the file that the source maps.
 */
void file_check(const struct side *source, const struct side *destination,
		const struct ivs_migration_device *device, struct ivs_migration_problems *problems);

#endif
