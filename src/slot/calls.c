/* SPDX-License-Identifier: BSD-3-Clause */
#include "slot/calls.h"

#include <stddef.h>

#include "base/eventfd.h"
#include "base/fd.h"
#include "daemon/close.h"
#include "daemon/log.h"
#include "daemon/process_syscalls.h"
#include "daemon/service.h"
#include "daemon/stall.h"
#include "region/backend.h"
#include "slot/loop.h"
#include "slot/state.h"

const struct ivs_syscall *const ivs_slot_calls[] = {
	ivs_libc_syscalls,
	ivs_fd_syscalls,
	ivs_log_syscalls,
	ivs_service_syscalls,
	ivs_region_syscalls,
	ivs_eventfd_syscalls,
	ivs_listener_syscalls,
	ivs_slot_syscalls,
	ivs_slot_loop_syscalls,
	ivs_vfio_user_syscalls,
	ivs_stall_syscalls,
	ivs_close_syscalls,
	NULL,
};

unsigned int ivs_slot_calls_of(const struct ivs_slot_options *opts,
			       const struct ivs_syscall **lists, unsigned int n)
{
	if (opts->server) {
		lists[n++] = ivs_upstream_syscalls;
		lists[n++] = ivs_slot_memory_syscalls;
		if (opts->access != IVS_SLOT_WRITES)
			lists[n++] = ivs_slot_memory_ro_syscalls;
	}
	return n;
}
