/* SPDX-License-Identifier: BSD-3-Clause */
/* A NAME on the command line, and the regions of this host that it selects. */
#ifndef TOOLS_IVSHMEM_REGION_NAME_H
#define TOOLS_IVSHMEM_REGION_NAME_H

#include <stdbool.h>

#include "host/regions.h"

/**
 * struct region_name - a NAME on the command line
 * @given:   as given
 * @address: the complete address
 * @path:    the path in @address, without symbolic links; NULL: none, or nothing is there
 */
struct region_name {
	const char *given;
	char *address;
	char *path;
};

/**
 * region_name_take() - parse a NAME: a name in /dev/shm, an address, or a path
 * @out: set on success; free it with region_name_deinit()
 *
 * Return: 0, or an exit status after printing the reason.
 */
int region_name_take(struct region_name *out, const char *value);

void region_name_deinit(struct region_name *name);

/** region_name_is() - whether the name is that of the region, or of the socket of its server */
bool region_name_is(const struct ivs_host_region *region, const struct region_name *name);

#endif
