/* SPDX-License-Identifier: BSD-3-Clause */
/* What "ivshmem doctor" is to examine, according to its command line. */
#ifndef TOOLS_IVSHMEM_DOCTOR_SCOPE_H
#define TOOLS_IVSHMEM_DOCTOR_SCOPE_H

#include <stdbool.h>
#include <sys/types.h>

#include "tools/ivshmem/region_name.h"

/**
 * struct scope - a part of the host, or all of it
 * @has_name: only the region @name
 * @has_host: only the host itself
 * @has_guest: only the guest, and its devices
 * @server:   only the server with this socket; NULL: none
 * @domain:   only this domain of libvirt; NULL: none
 * @vm:       only the VM with this pid, and its regions; 0: none
 */
struct scope {
	bool has_name;
	bool has_host;
	bool has_guest;
	const char *server;
	const char *domain;
	pid_t vm;
	struct region_name name;
};

/** scope_is_all() - whether no part was selected */
static inline bool scope_is_all(const struct scope *scope)
{
	return !scope->has_name && !scope->has_host && !scope->has_guest && !scope->server &&
	       !scope->domain && !scope->vm;
}

#endif
