/* SPDX-License-Identifier: BSD-3-Clause */
/* Collects the facts about VMs. */
#ifndef TOOLS_IVSHMEM_DOCTOR_VMS_H
#define TOOLS_IVSHMEM_DOCTOR_VMS_H

#include "tools/ivshmem/doctor/collected.h"
#include "tools/ivshmem/doctor/scope.h"

/**
 * collect_vms() - find all VMs, and examine those in @scope; call collect_regions() before
 *
 * Return: 0, -errno.
 */
int collect_vms(const struct scope *scope, struct collected *out);

/** collect_vms_deinit() - free what collect_vms() has set */
void collect_vms_deinit(struct collected *collected);

#endif
