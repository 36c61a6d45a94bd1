/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Devices that are unplugged before a migration and plugged in again after it: plain devices, so
 * that QEMU does not copy their regions, which other programs may keep using; and a doorbell device
 * that is a peer, which QEMU does not migrate.
 */
#ifndef TOOLS_IVSHMEM_MIGRATE_REPLUG_H
#define TOOLS_IVSHMEM_MIGRATE_REPLUG_H

#include "tools/ivshmem/migrate_doorbell.h"

/**
 * struct replug - the devices that are unplugged; start from {0}
 * @way:         the servers of a doorbell device
 * @unplugged:   which of the source's devices have been unplugged
 * @unplugged_n: their number
 */
struct replug {
	struct doorbell_way way;
	bool unplugged[IVS_MIGRATION_DEVICES_MAX];
	unsigned int unplugged_n;
};

/**
 * replug_check() - add a problem for each device that cannot be unplugged or plugged in, and for
 * each unplug that was requested earlier
 */
void replug_check(struct replug *replug, struct side *source, struct side *destination,
		  struct ivs_migration_problems *problems);

/**
 * replug_unplug() - unplug the devices, and wait until the guest has released them
 * @stop_fd: while it is readable, the user has interrupted
 *
 * Return: 0, or an exit status after printing the reason: STATUS_PENDING if a device was requested
 * to leave and is still there.
 */
int replug_unplug(struct replug *replug, struct side *source, int stop_fd);

/**
 * replug_plug() - plug the devices that were unplugged into @side, which may be the source itself
 *
 * Return: 0, or STATUS_FAILED after printing which devices are missing.
 */
int replug_plug(struct replug *replug, struct side *source, struct side *side);

#endif
