/* SPDX-License-Identifier: BSD-3-Clause */
/* Unplug a device through QEMU's monitor, in steps that are safe in this order only. */
#ifndef TOOLS_IVSHMEM_DETACH_STEPS_H
#define TOOLS_IVSHMEM_DETACH_STEPS_H

#include "tools/ivshmem/monitor.h"

#define STATUS_PENDING 3 /* the guest has not acknowledged the request in time */

#define DETACH_BACKEND_LEN 256

/**
 * struct detach - what to unplug, and what was done
 * @id:         the device
 * @control:    path of the server's control socket; NULL: look for it
 * @no_rings:   the operator says that no peer rings the device
 * @timeout_ms: time limit for the guest
 * @type:       QEMU's name of the device; "" if the device was gone already
 * @backend:    the object or character device that it used; "" if there is none
 * @chardev:    @backend is a character device
 * @filled_n:   number of placeholders that QEMU keeps
 */
struct detach {
	const char *id;
	const char *control;
	bool no_rings;
	int timeout_ms;
	char type[IVS_QMP_TYPE_LEN];
	char backend[DETACH_BACKEND_LEN];
	bool chardev;
	unsigned int filled_n;
};

/*
 * Names in the VM: the id of a device, one of these, and a number. The last one notes the highest
 * fd that was open before the device was requested to leave; it exists until the fds that QEMU has
 * closed are replaced.
 */
#define BACKEND_MEMORY "-mem-"
#define BACKEND_CHARDEV "-chr-"
#define BACKEND_FDS "-fds-"

/**
 * detach_device() - unplug the device, and remove what it used
 *
 * If the device is gone, because the guest has released it after an earlier request, remove what
 * "ivshmem attach" created for it.
 *
 * Return: 0, or an exit status after printing the reason: STATUS_PENDING if the device was
 * requested to leave and is still there.
 */
int detach_device(struct monitor *monitor, struct detach *detach);

#endif
