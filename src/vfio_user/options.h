/* SPDX-License-Identifier: BSD-3-Clause */
/* Options of a session: the memory behind BAR 2, and how much of the device can be migrated. */
#ifndef IVS_VFIO_USER_OPTIONS_H
#define IVS_VFIO_USER_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

/**
 * struct ivs_vfio_user_memory - the memory behind BAR 2
 * @fd:       the memory's file, read-only if not @writable; owned by the caller, and used until the
 *            session is passed a different one. -1: no memory yet; reads return all ones, and
 *            writes are ignored
 * @offset:   offset in @fd of BAR 2's first byte, a multiple of the file's page size
 * @writable: the guest may write
 * @trapped:  the client cannot map the memory, so each access is a message. This protects a guest
 *            that writes to read-only memory: QEMU 11.1 exits on a store to a read-only mapping
 *
 * The memory is as long as the function's BAR 2. A client maps the memory when it connects. If the
 * memory was missing at that time, or has been replaced since then, the client accesses it through
 * messages (slower) until it connects again.
 */
struct ivs_vfio_user_memory {
	int fd;
	uint64_t offset;
	bool writable;
	bool trapped;
};

/**
 * enum ivs_vfio_user_migration - what a VMM can migrate
 * @IVS_VFIO_USER_MIGRATE_NOT:    nothing: the device cannot be migrated ("peer")
 * @IVS_VFIO_USER_MIGRATE_DEVICE: the device's state only
 * @IVS_VFIO_USER_MIGRATE_MEMORY: also the content of BAR 2 ("master")
 */
enum ivs_vfio_user_migration {
	IVS_VFIO_USER_MIGRATE_NOT,
	IVS_VFIO_USER_MIGRATE_DEVICE,
	IVS_VFIO_USER_MIGRATE_MEMORY,
};

#endif
