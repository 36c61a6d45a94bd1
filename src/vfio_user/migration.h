/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Migration as VFIO defines it (linux/vfio.h, version 2), in the states that stopping and copying
 * needs: no PRE_COPY, no P2P. Source: QEMU's docs/interop/vfio-user, "Device Features".
 */
#ifndef IVS_VFIO_USER_MIGRATION_H
#define IVS_VFIO_USER_MIGRATION_H

#include "vfio_user/session.h"
#include "vfio_user/stream.h"

/**
 * enum ivs_vfu_migration_state - by VFIO's numbers
 * @IVS_VFU_ERROR_STATE: what was to be loaded was no state. -> RUNNING by a reset
 * @IVS_VFU_STOP:        neither rings nor interrupts. -> RUNNING, STOP_COPY, RESUMING
 * @IVS_VFU_RUNNING:     -> STOP
 * @IVS_VFU_STOP_COPY:   stopped, and its state can be read. -> STOP
 * @IVS_VFU_RESUMING:    stopped, and a state can be written. -> STOP, by which it is taken over; ERROR
 *
 * What is asked for in one go is done by way of STOP.
 */
enum ivs_vfu_migration_state {
	IVS_VFU_ERROR_STATE = 0,
	IVS_VFU_STOP = 1,
	IVS_VFU_RUNNING = 2,
	IVS_VFU_STOP_COPY = 3,
	IVS_VFU_RESUMING = 4,
};

/**
 * struct ivs_vfu_migration - where it is
 * @mode:   what is migrated
 * @saving: in STOP_COPY
 * @loading: in RESUMING
 */
struct ivs_vfu_migration {
	enum ivs_vfio_user_migration mode;
	enum ivs_vfu_migration_state state;
	struct ivs_vfu_save saving;
	struct ivs_vfu_load loading;
};

/** ivs_vfu_migration_reset() - RUNNING, and what was under way is forgotten */
void ivs_vfu_migration_reset(struct ivs_vfu_migration *migration);

#endif
