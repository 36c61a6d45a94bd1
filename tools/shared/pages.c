/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/shared/pages.h"

#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/log.h"

/*
 * If no hugetlbfs is mounted at a directory such as /dev/hugepages, a region there works, but has
 * ordinary pages, and nothing else tells the user.
 */
void warn_of_ordinary_pages(const char *address, const struct ivs_region *region)
{
	bool dir = !strncmp(address, "dir:", 4);
	char path[PATH_MAX];

	if ((!dir && strncmp(address, "file:", 5) != 0) || !strcasestr(address, "huge") ||
	    ivs_region_page_size(region) > (uint64_t)sysconf(_SC_PAGESIZE))
		return;
	snprintf(path, sizeof(path), "%s", address + (dir ? 4 : 5));
	ivs_log(IVS_LOG_WARNING,
		"the region in %s has ordinary pages, because no hugetlbfs is mounted there: "
		"first run mount -t hugetlbfs none %s",
		address + (dir ? 4 : 5), dir ? path : dirname(path));
}
