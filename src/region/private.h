/* SPDX-License-Identifier: BSD-3-Clause */
/* Interface between region.c and the backends in named.c and unnamed.c. */
#ifndef IVS_REGION_PRIVATE_H
#define IVS_REGION_PRIVATE_H

#include "ivshmem/region.h"

/**
 * struct ivs_region - one open region
 * @fd:        the memory
 * @size:      in bytes
 * @page_size: of the backend, in bytes
 * @created:   by this handle
 * @sealed:    cannot shrink or grow
 * @read_only: opened for reading only
 * @path:      in the file system; "" without a name
 */
struct ivs_region {
	int fd;
	uint64_t size;
	uint64_t page_size;
	bool created;
	bool sealed;
	bool read_only;
	char path[4096];
};

/**
 * struct ivs_region_backend - one kind of memory
 * @prefix: of its addresses
 * @check:  is @name, which followed the prefix, valid? May set @region->path.
 * @open:   set fd and created, ignoring the size. A new object is empty. Unless @create, the object
 *          must exist.
 * @seal:   called when the size has been set; may be NULL
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

#endif
