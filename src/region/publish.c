/* SPDX-License-Identifier: BSD-3-Clause */
/* Giving a prepared region its name. */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/error.h"
#include "region/private.h"
#include "region/region.h"

#define TRIES 100

static int region_link(const struct ivs_region *region, const char *path)
{
	char self[64];

	snprintf(self, sizeof(self), "/proc/self/fd/%d", region->fd);
	return linkat(AT_FDCWD, self, AT_FDCWD, path, AT_SYMLINK_FOLLOW) ? -errno : 0;
}

int ivs_region_publish(struct ivs_region *region, struct ivs_error *err)
{
	int result = region_link(region, region->path);

	if (result)
		return ivs_error_errno(err, -result, "cannot create %s", region->path);
	return 0;
}

/*
 * Give the region a name in its directory that no other process can foresee. Otherwise a user that
 * may write to the directory could take the name first, and so keep the region from being replaced.
 */
static int region_link_by_chance(const struct ivs_region *region, char path[PATH_MAX + 64])
{
	char copy[PATH_MAX];
	uint64_t number;
	int result = -EEXIST;

	for (int i = 0; i < TRIES && result == -EEXIST; i++) {
		if (getrandom(&number, sizeof(number), 0) != sizeof(number))
			return -EAGAIN;
		strcpy(copy, region->path);
		snprintf(path, PATH_MAX + 64, "%s/.ivshmem-%016llx", dirname(copy),
			 (unsigned long long)number);
		result = region_link(region, path);
	}
	return result;
}

int ivs_region_publish_over(struct ivs_region *region, struct ivs_error *err)
{
	char path[PATH_MAX + 64];
	int result = region_link_by_chance(region, path);

	if (!result && rename(path, region->path)) {
		result = -errno;
		unlink(path);
	}
	if (result)
		return ivs_error_errno(err, -result, "cannot replace %s", region->path);
	return 0;
}
