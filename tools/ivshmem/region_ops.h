/* SPDX-License-Identifier: BSD-3-Clause */
/* Creating, resizing and removing regions with a name. Each function prints its own messages. */
#ifndef TOOLS_IVSHMEM_REGION_OPS_H
#define TOOLS_IVSHMEM_REGION_OPS_H

#include <stdbool.h>

#include "ivshmem/region.h"
#include "tools/ivshmem/region_place.h"

/**
 * struct region_plan - what is to be done with a region; start from REGION_PLAN_INIT
 * @region:  a name, a path or an address, as in address_complete()
 * @backend: where @region is, if that is a name
 * @options: size, owner and mode; mode 0 means 0600, or 0660 if a group is given
 * @boot:    also write the files that create the region at boot
 * @root:    directory whose etc/ contains these files; "": the root directory of this system
 * @force:   resize or remove it even while it is in use
 * @json:    print a JSON object instead of text
 */
struct region_plan {
	const char *region;
	enum region_backend backend;
	struct ivs_region_options options;
	bool boot;
	const char *root;
	bool force;
	bool json;
};

#define REGION_PLAN_INIT                                                                           \
	{                                                                                          \
		.options = IVS_REGION_OPTIONS_INIT, .root = "",                                    \
	}

/**
 * region_create() - create the region, unless it exists and is as planned
 *
 * A failure leaves nothing behind, or says what is left.
 *
 * Return: an exit status.
 */
int region_create(const struct region_plan *plan);

/** region_resize() - give the region the size in @plan->options. Return: an exit status. */
int region_resize(const struct region_plan *plan);

/** region_remove() - remove the region, and the files of --boot. Return: an exit status. */
int region_remove(const struct region_plan *plan);

#endif
