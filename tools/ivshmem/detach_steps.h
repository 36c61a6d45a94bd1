/* SPDX-License-Identifier: BSD-3-Clause */
/* Unplug a device through QEMU's monitor, in steps that are safe in this order only. */
#ifndef TOOLS_IVSHMEM_DETACH_STEPS_H
#define TOOLS_IVSHMEM_DETACH_STEPS_H

#include "tools/ivshmem/detach_request.h"
#include "tools/ivshmem/monitor.h"

#define STATUS_PENDING 3 /* the guest has not acknowledged the request in time */

/**
 * detach_check() - check whether the device can be unplugged; nothing is changed
 *
 * Return: 0, or an exit status; the reason is in @detach->why, or has been printed.
 */
int detach_check(struct monitor *monitor, struct detach *detach);

/**
 * detach_device() - unplug the device, and remove what it used
 *
 * If the device is gone, because the guest has released it after an earlier request, remove what
 * "ivshmem attach" created for it.
 *
 * Return: 0, or an exit status after printing the reason: STATUS_PENDING if the unplug was
 * requested, but the guest has not released the device.
 */
int detach_device(struct monitor *monitor, struct detach *detach);

#endif
