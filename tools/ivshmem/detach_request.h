/* SPDX-License-Identifier: BSD-3-Clause */
/* What to unplug, and what was done. */
#ifndef TOOLS_IVSHMEM_DETACH_REQUEST_H
#define TOOLS_IVSHMEM_DETACH_REQUEST_H

#include "tools/ivshmem/detach_check.h"

#define DETACH_BACKEND_LEN 256

/**
 * struct detach - what to unplug, and what was done
 * @id:         the device
 * @control:    path of the server's control socket; NULL: look for it
 * @no_rings:   the operator says that no peer rings the device
 * @timeout_ms: time limit for the guest
 * @type:       type of the device, such as "ivshmem-plain"; "" if the device was already gone
 * @backend:    the object or character device that it used; "" if there is none
 * @chardev:    @backend is a character device
 * @filled_n:   number of placeholders that QEMU keeps
 * @why:        why the unplug was not requested; "" if it was
 * @server:     doorbell devices only: path of the server's socket; "" if it is not known
 * @region:     doorbell devices only: path of the server's region; "" if it is not known
 * @gone:       the device is gone because of this call
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
	char why[UNPLUG_WHY_LEN];
	char server[SERVER_SOCKET_LEN];
	char region[SERVER_REGION_LEN];
	bool gone;
};

#endif
