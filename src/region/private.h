/* SPDX-License-Identifier: BSD-3-Clause */
/* What a backend of regions must be able to do. One file per backend, one table in region.c. */
#ifndef IVS_REGION_PRIVATE_H
#define IVS_REGION_PRIVATE_H

#include "ivshmem/region.h"

/**
 * struct ivs_region - one open region
 * @fd:        the memory
 * @size:      bytes
 * @page_size: of the backend
 * @created:   made by this handle
 * @sealed:    cannot shrink or grow
 * @read_only: it was asked for only to be read
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
 * @prefix: how its addresses begin
 * @check:  whether what follows the prefix makes sense; may set @region->path
 * @open:   sets fd and created; the size is not looked at yet. An object made here is empty, and
 *          for -ENOENT to be meant, @make is false.
 * @seal:   after the size has been set; NULL: nothing to do
 */
struct ivs_region_backend {
	const char *prefix;
	int (*check)(struct ivs_region *region, const char *name, struct ivs_error *err);
	int (*open)(struct ivs_region *region, const char *name, bool make, struct ivs_error *err);
	int (*seal)(struct ivs_region *region, struct ivs_error *err);
};

extern const struct ivs_region_backend ivs_region_shm;
extern const struct ivs_region_backend ivs_region_file;
extern const struct ivs_region_backend ivs_region_dir;
extern const struct ivs_region_backend ivs_region_memfd;

/** ivs_region_open_path() - open or make the file @region->path, which is no symbolic link */
IVS_MUST_USE int ivs_region_open_path(struct ivs_region *region, bool make, struct ivs_error *err);

#endif
