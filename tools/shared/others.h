/* SPDX-License-Identifier: BSD-3-Clause */
/* Regions that another user may have created. */
#ifndef IVS_TOOLS_SHARED_OTHERS_H
#define IVS_TOOLS_SHARED_OTHERS_H

#include "ivshmem/region.h"

/**
 * warn_of_others() - log a warning if @region existed before and other users can change it: it
 * belongs to neither root nor the user of this process, or all users can write to it
 */
void warn_of_others(const struct ivs_region *region);

#endif
