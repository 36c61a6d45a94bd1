/* SPDX-License-Identifier: BSD-3-Clause */
/* Collects the facts about regions. */
#ifndef TOOLS_IVSHMEM_DOCTOR_REGIONS_H
#define TOOLS_IVSHMEM_DOCTOR_REGIONS_H

#include "tools/ivshmem/doctor/collected.h"
#include "tools/ivshmem/doctor/scope.h"

/** collect_regions() - find all regions, and examine those in @scope. Return: 0, -errno. */
int collect_regions(const struct scope *scope, struct collected *out);

/** collect_region() - examine a region of collect_regions() that was not in the scope */
void collect_region(struct ivs_doctor_region *region);

#endif
