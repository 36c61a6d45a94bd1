/* SPDX-License-Identifier: BSD-3-Clause */
#include "device/syscalls.h"

#include <stddef.h>

#include "base/eventfd.h"
#include "base/fd.h"
#include "base/fdpass.h"
#include "daemon/close.h"
#include "daemon/closer.h"
#include "daemon/log.h"
#include "daemon/loop.h"
#include "daemon/process_syscalls.h"
#include "daemon/service.h"
#include "daemon/stall.h"
#include "device/loop.h"
#include "device/private.h"
#include "region/received.h"
#include "region/region.h"

const struct ivs_syscall *const ivs_device_syscall_lists[] = {
	ivs_libc_syscalls,	  ivs_fd_syscalls,
	ivs_log_syscalls,	  ivs_service_syscalls,
	ivs_region_syscalls,	  ivs_eventfd_syscalls,
	ivs_listener_syscalls,	  ivs_device_syscalls,
	ivs_device_loop_syscalls, ivs_vfio_user_syscalls,
	ivs_stall_syscalls,	  ivs_close_syscalls,
	ivs_closer_syscalls,	  ivs_fdpass_recv_syscalls,
	ivs_loop_syscalls,	  NULL,
};

unsigned int ivs_device_syscall_lists_of(const struct ivs_device_options *opts,
					 const struct ivs_syscall **lists, unsigned int n)
{
	if (opts->server) {
		lists[n++] = ivs_device_server_syscalls;
		lists[n++] = ivs_device_bar2_syscalls;
		lists[n++] = ivs_device_discard_syscalls;
		lists[n++] = ivs_received_syscalls;
		if (opts->access != IVS_DEVICE_WRITES)
			lists[n++] = ivs_device_bar2_ro_syscalls;
	}
	return n;
}
