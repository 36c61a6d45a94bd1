/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Plain devices that are unplugged before a migration and plugged again after it, so that QEMU does
 * not copy their regions: other programs may go on using these.
 */
#ifndef TOOLS_IVSHMEM_MIGRATE_REPLUG_H
#define TOOLS_IVSHMEM_MIGRATE_REPLUG_H

#include "migration/check.h"
#include "tools/ivshmem/migrate_side.h"

/**
 * replug_check() - add a problem for each device for which the destination has no port, or whose
 * file it does not have
 */
void replug_check(const struct side *source, struct side *destination,
		  struct ivs_migration_problems *problems);

/**
 * replug_unplug() - unplug the devices, and wait until the guest has released them
 * @stop_fd:    while it is readable, the user has interrupted
 * @unplugged_n: increased for each device that is unplugged, from the first one on
 *
 * Return: 0, or an exit status after printing the reason.
 */
int replug_unplug(struct side *source, int stop_fd, unsigned int *unplugged_n);

/**
 * replug_plug() - plug the first @n of the devices into @side, which may be the source itself
 *
 * Return: 0, or STATUS_FAILED after printing which devices are missing.
 */
int replug_plug(const struct side *source, struct side *side, unsigned int n);

#endif
