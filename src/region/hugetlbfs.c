/* SPDX-License-Identifier: BSD-3-Clause */
#include "region/hugetlbfs.h"

#include <mntent.h>
#include <stdio.h>
#include <string.h>

bool ivs_hugetlbfs_find(char *point, size_t point_len)
{
	FILE *file = setmntent("/proc/self/mounts", "re");
	struct mntent *mount;
	struct mntent entry;
	bool found = false;
	char line[4096];

	while (file && (mount = getmntent_r(file, &entry, line, sizeof(line)))) {
		if (strcmp(mount->mnt_type, "hugetlbfs") != 0)
			continue;
		if (!found || !strcmp(mount->mnt_dir, "/dev/hugepages"))
			snprintf(point, point_len, "%s", mount->mnt_dir);
		found = true;
	}
	if (file)
		endmntent(file);
	return found;
}
