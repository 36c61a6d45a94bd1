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

static int region_link(const struct ivs_region *region, const char *name)
{
	char self[64];

	snprintf(self, sizeof(self), "/proc/self/fd/%d", region->fd);
	return linkat(AT_FDCWD, self, region->dir_fd, name, AT_SYMLINK_FOLLOW) ? -errno : 0;
}

int ivs_region_publish(struct ivs_region *region, struct ivs_error *err)
{
	int result = region_link(region, ivs_region_name(region));

	if (result)
		return ivs_error_errno(err, -result, "cannot create %s", region->path);
	return 0;
}

/*
 * Give the region a name in its directory that no other process can foresee. Otherwise a user with
 * write access to the directory could take the name first, and so keep the region from being
 * replaced.
 */
static int region_link_by_chance(const struct ivs_region *region, char name[PATH_MAX + 64])
{
	char copy[PATH_MAX];
	const char *dir = ".";
	uint64_t number;
	int result = -EEXIST;

	strcpy(copy, region->path);
	if (region->dir_fd == AT_FDCWD)
		dir = dirname(copy);
	for (int i = 0; i < TRIES && result == -EEXIST; i++) {
		if (getrandom(&number, sizeof(number), 0) != sizeof(number))
			return -EAGAIN;
		snprintf(name, PATH_MAX + 64, "%s/.ivshmem-%016llx", dir,
			 (unsigned long long)number);
		result = region_link(region, name);
	}
	return result;
}

int ivs_region_publish_over(struct ivs_region *region, struct ivs_error *err)
{
	char name[PATH_MAX + 64];
	int dir_fd = region->dir_fd;
	int result = region_link_by_chance(region, name);

	if (!result && renameat(dir_fd, name, dir_fd, ivs_region_name(region))) {
		result = -errno;
		unlinkat(dir_fd, name, 0);
	}
	if (result)
		return ivs_error_errno(err, -result, "cannot replace %s", region->path);
	return 0;
}
