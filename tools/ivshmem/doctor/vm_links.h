/* SPDX-License-Identifier: BSD-3-Clause */
/* Finds out to which servers the doorbell devices of VMs belong, and what these servers say. */
#ifndef TOOLS_IVSHMEM_DOCTOR_VM_LINKS_H
#define TOOLS_IVSHMEM_DOCTOR_VM_LINKS_H

#include <stdint.h>

#include "doctor/facts.h"

/**
 * struct vm_links - state for all VMs
 * @deadline_ns: after this time no more servers are asked: any user can start very many programs
 *               that look like servers and do not answer
 */
struct vm_links {
	const struct ivs_host_regions *host;
	int64_t deadline_ns;
};

/** vm_links_start() - the time for all VMs begins */
void vm_links_start(struct vm_links *links);

/** vm_links_ask() - set the links of a VM. Return: 0 or -ENOMEM. */
int vm_links_ask(const struct vm_links *links, struct ivs_doctor_vm *vm);

#endif
