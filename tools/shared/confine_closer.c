/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/shared/confine_closer.h"

#include <stddef.h>

#include "base/fd.h"
#include "base/fdpass.h"
#include "daemon/closer_helper.h"
#include "daemon/process_syscalls.h"
#include "daemon/sandbox.h"

int confine_closer(const void *context)
{
	static const struct ivs_syscall *const lists[] = {ivs_libc_syscalls, ivs_fd_syscalls,
							  ivs_fdpass_recv_syscalls,
							  ivs_closer_helper_syscalls, NULL};
	const struct closer_confinement *confinement = context;
	const struct ivs_sandbox_options opts = {
		.root = confinement->root,
		.user = confinement->user,
		.filter = confinement->filter && !ivs_sandbox_lacks(),
		.always = lists,
	};

	return ivs_sandbox(&opts, NULL);
}
