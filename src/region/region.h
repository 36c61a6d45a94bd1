/* SPDX-License-Identifier: BSD-3-Clause */
/* What programs need besides the public API: taking over a region that another process opened. */
#ifndef IVS_REGION_REGION_H
#define IVS_REGION_REGION_H

#include "base/syscalls.h"
#include "ivshmem/region.h"

extern const struct ivs_syscall ivs_region_syscalls[];

/**
 * struct ivs_region_former - what a process knew of a region that it had open
 * @size:    bytes, whatever clients have made of the file since
 * @created: by that process, or by one of which that had it
 */
struct ivs_region_former {
	uint64_t size;
	bool created;
};

/**
 * ivs_region_adopt() - a region that another process opened
 * @address: by which; it need not be there any more
 * @fd:      set to -1 when taken
 *
 * Return: 0, IVS_REGION_E_*, -errno.
 */
IVS_MUST_USE int ivs_region_adopt(const char *address, int *fd,
				  const struct ivs_region_former *former, struct ivs_region **out,
				  struct ivs_error *err);

/** ivs_region_has_name() - whether the name of a named region still is its: 1, 0, -errno */
IVS_MUST_USE int ivs_region_has_name(const struct ivs_region *region);

#endif
