/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A region: the memory that peers share, named by an address:
 *
 *   shm:NAME    POSIX shared memory, /dev/shm/NAME
 *   file:PATH   a file; on hugetlbfs it consists of huge pages
 *   dir:PATH    an unnamed file in a directory on hugetlbfs, tmpfs or any other file system
 *   memfd:      anonymous memory, sealed against shrinking and growing; for untrusted peers
 *   memfd:2M    the same in huge pages of 2 MiB (or 1G, if the kernel supports them); for trusted
 *               peers: any peer can punch a hole, and the others get SIGBUS if no huge page is free
 *
 * The size is a power of two (QEMU aborts otherwise) and at least one page of the backend. All
 * memory is reserved when the region is created, so a full /dev/shm is an error at that point and
 * not a SIGBUS later.
 *
 * Thread safety: functions may be called from any thread; calls for the same region must not
 * overlap.
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
 * struct ivs_region_options - how to open a region; start from IVS_REGION_OPTIONS_INIT
 * @size:   bytes; 0: the region must exist, and its size is used
 * @mode:   permission bits of a new region, not subject to the umask; 0: 0600
 * @uid:    owner of a new region, or IVS_REGION_KEEP_ID
 * @gid:    group of a new region, or IVS_REGION_KEEP_ID
 *
 * An existing region keeps its owner and mode. This includes an empty file, such as one that
 * tmpfiles.d has created, which is extended to @size.
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
	IVS_REGION_E_SIZE,	  /* the size is not a power of two, or is smaller than a page */
	IVS_REGION_E_ABSENT,	  /* the region does not exist, and no size was given */
	IVS_REGION_E_OTHER_SIZE,  /* the region exists with a different size */
	IVS_REGION_E_KIND,	  /* the path is not a file (with dir:, not a directory) */
	IVS_REGION_E_FULL,	  /* not enough free memory for the region */
};

struct ivs_region;

/**
 * ivs_region_open() - open a region, or create it
 * @address: see the top of this file
 * @opts:    NULL: the region must exist
 * @out:     the region; unchanged unless 0 is returned
 * @err:     set to the reason on failure; may be NULL
 *
 * A call that fails leaves no new region behind and does not change an existing one.
 *
 * Return: 0, IVS_REGION_E_*, or -errno (-EACCES, -EMFILE, ...).
 */
IVS_PUBLIC IVS_MUST_USE int ivs_region_open(const char *address,
					    const struct ivs_region_options *opts,
					    struct ivs_region **out, struct ivs_error *err);

/**
 * ivs_region_open_read_only() - open an existing region for reading; write permission is not needed
 * @address: shm:NAME or file:PATH
 * @out:     the region; unchanged unless 0 is returned
 * @err:     set to the reason on failure; may be NULL
 *
 * The fd allows read-only mappings only. The creator has reserved the memory.
 *
 * Return: the same values as ivs_region_open().
 */
IVS_PUBLIC IVS_MUST_USE int ivs_region_open_read_only(const char *address, struct ivs_region **out,
						      struct ivs_error *err);

/** ivs_region_close() - close the fd and free the handle; the memory remains. NULL is ignored. */
IVS_PUBLIC void ivs_region_close(struct ivs_region *region);

/**
 * ivs_region_remove() - remove the region's name, if this handle created it and it still refers to
 * this region
 *
 * Existing mappings remain valid. The call does nothing for NULL and for a region without a name.
 *
 * Return: 0 or -errno.
 */
IVS_PUBLIC IVS_MUST_USE int ivs_region_remove(struct ivs_region *region);

/** ivs_region_fd() - the fd, to pass on or to map with MAP_SHARED; owned by @region */
IVS_PUBLIC int ivs_region_fd(const struct ivs_region *region);

/** ivs_region_size() - size of the region in bytes */
IVS_PUBLIC uint64_t ivs_region_size(const struct ivs_region *region);

/** ivs_region_page_size() - page size of the memory in bytes; on hugetlbfs, the huge page size */
IVS_PUBLIC uint64_t ivs_region_page_size(const struct ivs_region *region);

/** ivs_region_created() - whether this handle created the region */
IVS_PUBLIC bool ivs_region_created(const struct ivs_region *region);

/**
 * ivs_region_sealed() - whether the region is sealed, so that no peer can shrink it
 *
 * A seal does not stop peers from removing huge pages from the region: see memfd:2M above.
 */
IVS_PUBLIC bool ivs_region_sealed(const struct ivs_region *region);

/** ivs_region_path() - path in the file system, or ""; valid until ivs_region_close() */
IVS_PUBLIC const char *ivs_region_path(const struct ivs_region *region);

#ifdef __cplusplus
}
#endif

#endif
