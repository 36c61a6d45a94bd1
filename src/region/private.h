/* SPDX-License-Identifier: BSD-3-Clause */
/* Interface between region.c and the backends in named.c and unnamed.c. */
#ifndef IVS_REGION_PRIVATE_H
#define IVS_REGION_PRIVATE_H

#include <fcntl.h>
#include <string.h>

#include "ivshmem/region.h"

/**
 * struct ivs_region - an open region
 * @fd:        fd of the memory
 * @size:      in bytes
 * @page_size: page size of the memory in bytes
 * @created:   this handle created the region
 * @sealed:    the region cannot shrink or grow
 * @read_only: the region was opened for reading only
 * @interruptible: a pending signal ends the wait for the lock
 * @path:      path in the file system; "" if the region has no name
 * @dir_fd:    the directory of @path, which the caller has opened; AT_FDCWD: none
 */
struct ivs_region {
	int fd;
	uint64_t size;
	uint64_t page_size;
	bool created;
	bool sealed;
	bool read_only;
	bool interruptible;
	char path[4096];
	int dir_fd;
};

/** ivs_region_name() - the name for calls that take @region->dir_fd, such as openat(2) */
static inline const char *ivs_region_name(const struct ivs_region *region)
{
	const char *slash = region->dir_fd == AT_FDCWD ? NULL : strrchr(region->path, '/');

	return slash ? slash + 1 : region->path;
}

/**
 * struct ivs_region_backend - one kind of memory
 * @prefix: prefix of the backend's addresses, such as "shm:"
 * @check:  check @name, the rest of the address after the prefix; may set @region->path
 * @open:   open the object, and set @region->fd and @region->created. A new object has size 0.
 *          Unless @create is true, the object must exist.
 * @seal:   seal the object, once its size is set; may be NULL
 */
struct ivs_region_backend {
	const char *prefix;
	int (*check)(struct ivs_region *region, const char *name, struct ivs_error *err);
	int (*open)(struct ivs_region *region, const char *name, bool create,
		    struct ivs_error *err);
	int (*seal)(struct ivs_region *region, struct ivs_error *err);
};

extern const struct ivs_region_backend ivs_region_shm;
extern const struct ivs_region_backend ivs_region_file;
extern const struct ivs_region_backend ivs_region_dir;
extern const struct ivs_region_backend ivs_region_memfd;

/** ivs_region_open_path() - open or create the file @region->path; symbolic links are refused */
IVS_MUST_USE int ivs_region_open_path(struct ivs_region *region, bool create,
				      struct ivs_error *err);

/**
 * ivs_region_open_nameless() - create a file that can be given the name @region->path later
 *
 * Return: 0, -errno; -EOPNOTSUPP: the file system does not support this.
 */
IVS_MUST_USE int ivs_region_open_nameless(struct ivs_region *region, struct ivs_error *err);

/**
 * ivs_region_error_room() - report that @size bytes cannot be reserved
 *
 * Return: IVS_REGION_E_FULL or -errno.
 */
int ivs_region_error_room(const struct ivs_region *region, uint64_t size, int errnum,
			  struct ivs_error *err);

/** ivs_region_error_kind() - report that the path is not a file. Return: IVS_REGION_E_KIND. */
int ivs_region_error_kind(const struct ivs_region *region, mode_t mode, struct ivs_error *err);

#endif
