/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef TOOLS_SHARED_PAGES_H
#define TOOLS_SHARED_PAGES_H

#include "ivshmem/region.h"

/**
 * warn_of_ordinary_pages() - warn if a region's path suggests huge pages, but the region has none
 */
void warn_of_ordinary_pages(const char *address, const struct ivs_region *region);

#endif
