/* SPDX-License-Identifier: BSD-3-Clause */
/* Internal additions to the public API: adopting a region that another process opened. */
#ifndef IVS_REGION_REGION_H
#define IVS_REGION_REGION_H

#include "base/syscalls.h"
#include "ivshmem/region.h"

extern const struct ivs_syscall ivs_region_syscalls[];

/**
 * struct ivs_region_former - state of a region in the process that opened it
 * @size:    in bytes; clients may have changed the size of the file since then
 * @created: that process created the region, or adopted it from a process that did
 */
struct ivs_region_former {
	uint64_t size;
	bool created;
};

/**
 * ivs_region_adopt() - create a handle for a region that another process opened
 * @address: the address with which it was opened; the name may have been removed since then
 * @fd:      the region; set to -1 once the handle has taken it over
 *
 * Return: 0, IVS_REGION_E_*, -errno.
 */
IVS_MUST_USE int ivs_region_adopt(const char *address, int *fd,
				  const struct ivs_region_former *former, struct ivs_region **out,
				  struct ivs_error *err);

/** ivs_region_check_size() - check that @size is a power of two. Return: 0 or IVS_REGION_E_SIZE. */
IVS_MUST_USE int ivs_region_check_size(uint64_t size, struct ivs_error *err);

/**
 * ivs_region_find_path() - the path that an address names
 * @out: set to the path; "" for an address without a path
 *
 * Return: 0, IVS_REGION_E_*, -errno.
 */
IVS_MUST_USE int ivs_region_find_path(const char *address, char *out, size_t out_len,
				      struct ivs_error *err);

/**
 * ivs_region_open_in() - like ivs_region_open(), but do not look up the directory by its path again
 * @address: shm:NAME or file:PATH
 * @dir_fd:  the directory that contains the region; it must stay open as long as the region. O_PATH
 *           suffices
 *
 * Return: as ivs_region_open(); -EINTR if the lock of the region is held and a signal is pending
 * (ivs_file_lock()).
 */
IVS_MUST_USE int ivs_region_open_in(const char *address, int dir_fd,
				    const struct ivs_region_options *opts, struct ivs_region **out,
				    struct ivs_error *err);

/**
 * ivs_region_prepare() - create a region that has its size, memory, owner and mode, but not its
 * name yet
 * @address: shm:NAME or file:PATH; nothing need exist there
 * @dir_fd:  as for ivs_region_open_in(), or AT_FDCWD
 * @opts:    must specify a size
 *
 * Until the region is published, no other process can see it, and it vanishes with this process.
 *
 * Return: 0, IVS_REGION_E_*, -errno; -EOPNOTSUPP: the file system does not support this.
 */
IVS_MUST_USE int ivs_region_prepare(const char *address, int dir_fd,
				    const struct ivs_region_options *opts, struct ivs_region **out,
				    struct ivs_error *err);

/** ivs_region_publish() - give a prepared region its name. Return: 0, -EEXIST, -errno. */
IVS_MUST_USE int ivs_region_publish(struct ivs_region *region, struct ivs_error *err);

/**
 * ivs_region_publish_over() - give a prepared region its name, in place of the file that has this
 * name now
 *
 * Programs that use the replaced file keep using it.
 */
IVS_MUST_USE int ivs_region_publish_over(struct ivs_region *region, struct ivs_error *err);

/**
 * ivs_region_grow() - enlarge a region in place, and reserve the memory
 *
 * Return: 0, IVS_REGION_E_FULL, -errno (-EINTR after a signal). On failure the size is unchanged.
 */
IVS_MUST_USE int ivs_region_grow(struct ivs_region *region, uint64_t size, struct ivs_error *err);

/** ivs_region_has_name() - check that the path still names this region. Return: 1, 0, -errno. */
IVS_MUST_USE int ivs_region_has_name(const struct ivs_region *region);

#endif
