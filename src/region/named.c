/* SPDX-License-Identifier: BSD-3-Clause */
/* Regions with a name: files, and POSIX shared memory, which on Linux consists of files, too. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/access.h"
#include "base/error.h"
#include "region/private.h"

/* Where shm_open(3) keeps its objects on Linux. */
#define SHM_DIR "/dev/shm/"

static int shm_check(struct ivs_region *region, const char *name, struct ivs_error *err)
{
	const char *base = name + strspn(name, "/");

	if (!*base || strchr(base, '/') || !strcmp(base, ".") || !strcmp(base, ".."))
		return ivs_error_set(err, IVS_REGION_E_ADDRESS,
				     "\"%s\" is not a valid name for POSIX shared memory: use one "
				     "word without slashes, such as shm:ivshmem",
				     name);
	if (strlen(base) > NAME_MAX)
		return ivs_error_set(err, IVS_REGION_E_ADDRESS,
				     "the name of the shared memory has %zu bytes; at most %d fit",
				     strlen(base), NAME_MAX);
	snprintf(region->path, sizeof(region->path), "%s%s", SHM_DIR, base);
	return 0;
}

static int file_check(struct ivs_region *region, const char *name, struct ivs_error *err)
{
	if (!*name)
		return ivs_error_set(err, IVS_REGION_E_ADDRESS,
				     "a path must follow \"file:\", such as "
				     "file:/dev/hugepages/ivshmem");
	if (strlen(name) >= sizeof(region->path))
		return ivs_error_set(err, IVS_REGION_E_ADDRESS,
				     "the path has %zu bytes; at most %zu fit", strlen(name),
				     sizeof(region->path) - 1);
	snprintf(region->path, sizeof(region->path), "%s", name);
	return 0;
}

/*
 * Try with O_EXCL first, to know whether this call created the object. Between the two calls of
 * open(2), another process can create or remove the object; give up if it does ten times in a row.
 */
int ivs_region_open_path(struct ivs_region *region, bool create, struct ivs_error *err)
{
	char why[IVS_ACCESS_TEXT_LEN];
	int flags = (region->read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK |
		    O_NOCTTY;

	for (int round = 0; round < 10; round++) {
		if (create) {
			region->fd = open(region->path, flags | O_CREAT | O_EXCL, 0600);
			region->created = region->fd >= 0;
			if (region->fd >= 0)
				return 0;
			if (errno != EEXIST)
				break;
		}
		region->fd = open(region->path, flags);
		if (region->fd >= 0)
			return 0;
		if (errno != ENOENT || !create)
			break;
	}
	if (errno == ENOENT && !create)
		return ivs_error_set(err, IVS_REGION_E_ABSENT,
				     "%s does not exist: start the program that creates it first, "
				     "or give a size to create it",
				     region->path);
	if (errno == EISDIR || errno == ENXIO)
		return ivs_error_set(err, IVS_REGION_E_KIND,
				     "%s is not a file; for an unnamed region in a directory use "
				     "dir:%s",
				     region->path, region->path);
	if (errno == ELOOP)
		return ivs_error_set(err, IVS_REGION_E_KIND,
				     "%s is a symbolic link: name the file itself", region->path);
	if (errno == EACCES)
		return ivs_error_set(
			err, -EACCES, "cannot open %s: Permission denied: %s", region->path,
			ivs_access_explain(region->path, region->read_only ? R_OK : R_OK | W_OK,
					   why));
	if (errno == ENOENT)
		return ivs_error_set(err, -ENOENT,
				     "cannot open %s: No such file or directory: create its "
				     "directory first",
				     region->path);
	return ivs_error_errno(err, errno, "cannot open %s", region->path);
}

static int named_open(struct ivs_region *region, const char *name, bool create,
		      struct ivs_error *err)
{
	(void)name; /* region->path has been set by check() */
	return ivs_region_open_path(region, create, err);
}

const struct ivs_region_backend ivs_region_shm = {
	.prefix = "shm:",
	.check = shm_check,
	.open = named_open,
};

const struct ivs_region_backend ivs_region_file = {
	.prefix = "file:",
	.check = file_check,
	.open = named_open,
};
