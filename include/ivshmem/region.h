/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A region: the memory that peers share. Named by an address:
 *
 *   shm:NAME    POSIX shared memory, /dev/shm/NAME
 *   file:PATH   a file; on hugetlbfs it is made of that file system's pages
 *   dir:PATH    an unnamed file in a directory: hugetlbfs, tmpfs or any other
 *   memfd:      anonymous memory, sealed against shrinking and growing: for peers one does not
 *               trust
 *   memfd:2M    the same of huge pages of 2 MiB (or 1G, if the kernel has them)
 *
 * A size is a power of two (QEMU aborts otherwise) and a multiple of the backend's page.
 * All memory is reserved at creation: a full /dev/shm is an error here and not a SIGBUS later.
 *
 * Thread safety: functions may be called from any thread, for one region by one thread at a time.
 */
#ifndef IVSHMEM_REGION_H
#define IVSHMEM_REGION_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "ivshmem/api.h"

#ifdef __cplusplus
extern "C" {
#endif

#define IVS_REGION_KEEP_ID ((unsigned int)-1)

/**
 * struct ivs_region_options - how to open a region; all zero but uid and gid is a good start
 * @size:   bytes; 0: the region must exist, and is taken at the size it has
 * @mode:   permission bits of a region that is made here; 0: 0600. Not subject to the umask.
 * @uid:    owner of a region that is made here, or IVS_REGION_KEEP_ID
 * @gid:    group, likewise
 *
 * A region that exists keeps its owner and mode, also when it was empty and is grown here (which
 * is what a tmpfiles.d line leaves behind).
 */
struct ivs_region_options {
	uint64_t size;
	mode_t mode;
	uid_t uid;
	gid_t gid;
};

#define IVS_REGION_OPTIONS_INIT                                                                    \
	{                                                                                          \
		0, 0, IVS_REGION_KEEP_ID, IVS_REGION_KEEP_ID                                       \
	}

enum ivs_region_error {
	IVS_REGION_E_ADDRESS = 1, /* the address cannot be parsed */
	IVS_REGION_E_SIZE,	  /* not a power of two, or less than a page */
	IVS_REGION_E_ABSENT,	  /* it does not exist, and no size was given to make it */
	IVS_REGION_E_OTHER_SIZE,  /* it exists with another size */
	IVS_REGION_E_KIND,	  /* what is there is not memory (a directory, a socket, ...) */
	IVS_REGION_E_FULL,	  /* the memory cannot be reserved: no room */
};

struct ivs_region;

/**
 * ivs_region_open() - open a region, or make it
 * @address: see the top of this file
 * @opts:    NULL: the region must exist
 * @out:     the region; unchanged unless 0 is returned
 * @err:     the reason in words, or NULL
 *
 * If it fails, nothing was made and nothing that existed was changed.
 *
 * Return: 0, IVS_REGION_E_*, or -errno (-EACCES, -EMFILE, ...).
 */
IVS_PUBLIC IVS_MUST_USE int ivs_region_open(const char *address,
					    const struct ivs_region_options *opts,
					    struct ivs_region **out, struct ivs_error *err);

/**
 * ivs_region_open_read_only() - open a region that exists, and that one may read
 * @address: shm:NAME or file:PATH
 * @out:     the region; unchanged unless 0 is returned
 * @err:     the reason in words, or NULL
 *
 * Its fd can be mapped to be read only. Nothing is reserved: that is for who made it.
 *
 * Return: as ivs_region_open().
 */
IVS_PUBLIC IVS_MUST_USE int ivs_region_open_read_only(const char *address, struct ivs_region **out,
						      struct ivs_error *err);

/** ivs_region_close() - give back the fd and the handle; the memory itself stays. NULL is fine. */
IVS_PUBLIC void ivs_region_close(struct ivs_region *region);

/**
 * ivs_region_remove() - remove the name, if this handle made it and it is still the same object
 *
 * Whoever has the memory mapped keeps it. Regions without a name, and NULL: nothing to do, 0.
 *
 * Return: 0 or -errno.
 */
IVS_PUBLIC IVS_MUST_USE int ivs_region_remove(struct ivs_region *region);

/** ivs_region_fd() - the fd, owned by @region; to be passed on or mapped with MAP_SHARED. */
IVS_PUBLIC int ivs_region_fd(const struct ivs_region *region);

/** ivs_region_size() - bytes. */
IVS_PUBLIC uint64_t ivs_region_size(const struct ivs_region *region);

/** ivs_region_page_size() - bytes in one page of the backend. */
IVS_PUBLIC uint64_t ivs_region_page_size(const struct ivs_region *region);

/** ivs_region_created() - whether this handle made the region. */
IVS_PUBLIC bool ivs_region_created(const struct ivs_region *region);

/** ivs_region_sealed() - whether the kernel keeps every peer from shrinking it under the others. */
IVS_PUBLIC bool ivs_region_sealed(const struct ivs_region *region);

/** ivs_region_path() - where it can be seen in the file system, or "" if it has no name. */
IVS_PUBLIC const char *ivs_region_path(const struct ivs_region *region);

#ifdef __cplusplus
}
#endif

#endif
