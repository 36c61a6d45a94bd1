/* SPDX-License-Identifier: BSD-3-Clause */
/* What must be true before a device is unplugged. */
#ifndef TOOLS_IVSHMEM_DETACH_EXAMINE_H
#define TOOLS_IVSHMEM_DETACH_EXAMINE_H

#include "tools/ivshmem/detach_work.h"

/** work_read_fds() - read which fds QEMU has open, into @before */
void work_read_fds(struct work *work);

/** work_find_note() - find the note of an earlier run. Return: as ivs_qmp_execute(). */
IVS_MUST_USE int work_find_note(struct work *work, struct ivs_error *err);

/**
 * work_examine() - find out what the device uses, and check that it can be unplugged
 *
 * Changes nothing. Return: 0, or STATUS_FAILED; then the reason is in the struct detach.
 */
int work_examine(struct work *work);

/** work_examine_doorbell() - the part of work_examine() that asks servers */
int work_examine_doorbell(struct work *work);

#endif
