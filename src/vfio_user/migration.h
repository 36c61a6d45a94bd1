/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Migration as VFIO defines it (linux/vfio.h, version 2), with only the states for stop-and-copy,
 * without PRE_COPY and P2P. Source: QEMU's docs/interop/vfio-user, "Device Features".
 */
#ifndef IVS_VFIO_USER_MIGRATION_H
#define IVS_VFIO_USER_MIGRATION_H

#include "vfio_user/options.h"
#include "vfio_user/stream.h"

/**
 * enum ivs_vfu_migration_state - migration states, with VFIO's numbers
 * @IVS_VFU_ERROR_STATE: the state to be loaded was invalid. -> RUNNING by a reset
 * @IVS_VFU_STOP:        stopped: the device sends neither doorbells nor interrupts. -> RUNNING,
 *                       STOP_COPY, RESUMING
 * @IVS_VFU_RUNNING:     -> STOP
 * @IVS_VFU_STOP_COPY:   stopped; the device's state can be read. -> STOP
 * @IVS_VFU_RESUMING:    stopped; a state can be written. -> STOP, which loads it; ERROR
 *
 * Any other transition goes through STOP.
 */
enum ivs_vfu_migration_state {
	IVS_VFU_ERROR_STATE = 0,
	IVS_VFU_STOP = 1,
	IVS_VFU_RUNNING = 2,
	IVS_VFU_STOP_COPY = 3,
	IVS_VFU_RESUMING = 4,
};

/**
 * struct ivs_vfu_migration - the migration of a session's device
 * @mode:    whether the device can be migrated, and with which data
 * @saving:  the stream that is saved in STOP_COPY
 * @loading: the stream that is loaded in RESUMING
 */
struct ivs_vfu_migration {
	enum ivs_vfio_user_migration mode;
	enum ivs_vfu_migration_state state;
	struct ivs_vfu_save saving;
	struct ivs_vfu_load loading;
};

/** ivs_vfu_migration_reset() - abort a transfer, if any, and enter RUNNING */
void ivs_vfu_migration_reset(struct ivs_vfu_migration *migration);

#endif
