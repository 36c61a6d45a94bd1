/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/syscalls.h"

#include <stddef.h>

#include "base/eventfd.h"
#include "base/fd.h"
#include "base/fdpass.h"
#include "daemon/background.h"
#include "daemon/close.h"
#include "daemon/closer.h"
#include "daemon/listener.h"
#include "daemon/log.h"
#include "daemon/loop.h"
#include "daemon/process_syscalls.h"
#include "daemon/service.h"
#include "daemon/stall.h"
#include "region/region.h"
#include "region/watch.h"
#include "server/accept.h"
#include "server/admission.h"
#include "server/client.h"
#include "server/flight.h"
#include "server/handover/handover.h"
#include "server/quiet.h"
#include "server/seats.h"
#include "server/send.h"
#include "server/server.h"

/* One list for each source file whose code runs in every server. */
const struct ivs_syscall *const ivs_server_syscall_lists[] = {
	ivs_libc_syscalls,
	ivs_fd_syscalls,
	ivs_log_syscalls,
	ivs_background_syscalls,
	ivs_fdpass_send_syscalls,
	ivs_fdpass_recv_syscalls,
	ivs_region_syscalls,
	ivs_server_syscalls,
	ivs_accept_syscalls,
	ivs_admission_syscalls,
	ivs_listener_syscalls,
	ivs_client_syscalls,
	ivs_handover_syscalls,
	ivs_service_syscalls,
	ivs_close_syscalls,
	ivs_closer_syscalls,
	ivs_stall_syscalls,
	ivs_loop_syscalls,
	ivs_flight_syscalls,
	ivs_send_syscalls,
	ivs_region_watch_syscalls,
	ivs_eventfd_syscalls,
	ivs_quiet_syscalls,
	ivs_seats_syscalls,
	NULL,
};
