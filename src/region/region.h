/* SPDX-License-Identifier: BSD-3-Clause */
/* Internal additions to the public API: adopting a region that another process opened. */
#ifndef IVS_REGION_REGION_H
#define IVS_REGION_REGION_H

#include "base/syscalls.h"
#include "ivshmem/region.h"

extern const struct ivs_syscall ivs_region_syscalls[];

/**
 * struct ivs_region_former - state of a region in the process that opened it
 * @size:    in bytes; clients may have changed the size of the file since then
 * @created: that process created the region, or adopted it from a process that did
 */
struct ivs_region_former {
	uint64_t size;
	bool created;
};

/**
 * ivs_region_adopt() - make a handle for a region that another process opened
 * @address: the address with which it was opened; the name may have been removed since then
 * @fd:      the region; set to -1 when the handle has taken it over
 *
 * Return: 0, IVS_REGION_E_*, -errno.
 */
IVS_MUST_USE int ivs_region_adopt(const char *address, int *fd,
				  const struct ivs_region_former *former, struct ivs_region **out,
				  struct ivs_error *err);

/** ivs_region_has_name() - check that the path still names this region. Return: 1, 0, -errno. */
IVS_MUST_USE int ivs_region_has_name(const struct ivs_region *region);

#endif
