/* SPDX-License-Identifier: BSD-3-Clause */
/* What is served: the memory behind BAR 2, and how much of the device can be migrated. */
#ifndef IVS_VFIO_USER_OPTIONS_H
#define IVS_VFIO_USER_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

/**
 * struct ivs_vfio_user_memory - the memory behind BAR 2
 * @fd:       owned by the caller, and used until the session gets another one; read-only if not
 *            @writable. -1: none yet; reads are all ones then, and writes are ignored
 * @offset:   of BAR 2's first byte in @fd, a multiple of its page size
 * @writable: the guest may write
 * @trapped:  the client cannot map it, so each access is a message. A guest that writes to memory
 *            that it may only read then does no harm to itself: QEMU 11.1 ends at a store to
 *            memory that is mapped read-only
 *
 * Its length is that of the function's BAR 2. A client maps the memory when it connects. If it was
 * missing then, or was replaced since, the client accesses it by messages (slower) until it
 * connects again.
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
