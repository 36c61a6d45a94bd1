/* SPDX-License-Identifier: BSD-3-Clause */
/* The state of an unplug, for the files that perform it. */
#ifndef TOOLS_IVSHMEM_DETACH_WORK_H
#define TOOLS_IVSHMEM_DETACH_WORK_H

#include <string.h>

#include "tools/ivshmem/detach_fds.h"
#include "tools/ivshmem/detach_note.h"
#include "tools/ivshmem/detach_request.h"

/**
 * struct work - the state of an unplug
 * @fill:    placeholders are needed
 * @before:  fds of QEMU before the request
 * @exact:   the device had its fds when @before was read, so the fds to replace are those that have
 *           been closed since then
 * @highest: the highest fd that may have to be replaced; -1: none
 * @note:    the note in the VM that a request was made
 * @earlier: an earlier run has made a note, so its request may be pending
 * @requested: the guest may have a request of this run
 */
struct work {
	struct monitor *monitor;
	struct detach *detach;
	bool fill;
	struct fds before;
	bool exact;
	int highest;
	struct detach_note note;
	bool earlier;
	bool requested;
};

static inline bool work_is_doorbell(const struct work *work)
{
	return !strcmp(work->detach->type, "ivshmem-doorbell");
}

#endif
