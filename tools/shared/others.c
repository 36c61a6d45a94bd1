/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/shared/others.h"

#include <sys/stat.h>
#include <unistd.h>

#include "daemon/log.h"

/* In a shared directory such as /dev/shm, another user may have created the region's file first. */
void warn_of_others(const struct ivs_region *region)
{
	struct stat st;

	if (ivs_region_created(region) || fstat(ivs_region_fd(region), &st))
		return;
	if (st.st_uid && st.st_uid != geteuid())
		ivs_log(IVS_LOG_WARNING,
			"%s existed before and is owned by uid %d, who can read and change its "
			"contents",
			ivs_region_path(region), (int)st.st_uid);
	if (st.st_mode & S_IWOTH)
		ivs_log(IVS_LOG_WARNING, "%s existed before and is writable by all users",
			ivs_region_path(region));
}
