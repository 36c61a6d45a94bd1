/* SPDX-License-Identifier: BSD-3-Clause */
/* Find the path of a region from a name or an address, and refuse unsuitable places. */
#ifndef TOOLS_IVSHMEM_REGION_PLACE_H
#define TOOLS_IVSHMEM_REGION_PLACE_H

#include <limits.h>
#include <stdbool.h>
#include <sys/stat.h>

#include "ivshmem/api.h"
#include "tools/shared/address.h"

/**
 * enum region_backend - where a region is, unless that is clear from its address
 * @BACKEND_NONE:    not given, which means POSIX shared memory
 * @BACKEND_SHM:     POSIX shared memory
 * @BACKEND_FILE:    a path
 * @BACKEND_HUGETLB: a path, or a name in a mounted hugetlbfs
 */
enum region_backend {
	BACKEND_NONE,
	BACKEND_SHM,
	BACKEND_FILE,
	BACKEND_HUGETLB,
};

/**
 * struct place - where a region is
 * @address: shm:NAME, or file:PATH with an absolute path
 * @path:    path of the region in the file system; its directory part contains no symbolic links
 * @name:    the last part of @path
 * @shm:     whether it is POSIX shared memory
 * @dir_fd:  its directory, for openat(2); -1: it does not exist
 * @errnum:  why @dir_fd is -1
 */
struct place {
	char address[ADDRESS_LEN];
	char path[PATH_MAX];
	const char *name;
	bool shm;
	int dir_fd;
	int errnum;
};

#define PLACE_INIT                                                                                 \
	{                                                                                          \
		.dir_fd = -1                                                                       \
	}

/**
 * take_backend() - parse shm, file or hugetlb
 *
 * Return: 0, or STATUS_USAGE after printing the reason.
 */
int take_backend(const char *value, enum region_backend *out);

/**
 * place_find() - find the place that a name, a path or an address refers to; it may be empty
 * @out: to be closed with place_close()
 *
 * The directory is opened, and not looked up again, because other users may control parts of the
 * path. A directory that they control more than base/directory.h allows is refused.
 *
 * Return: 0, or an exit status after printing the reason.
 */
int place_find(const char *region, enum region_backend backend, struct place *out);

void place_close(struct place *place);

/** place_stat() - lstat(2) of the region. Return: 0 or -errno. */
IVS_MUST_USE int place_stat(const struct place *place, struct stat *st);

/**
 * place_open() - open the existing region
 * @flags: O_RDONLY or O_RDWR
 *
 * Return: 0, or an exit status after printing the reason.
 */
int place_open(const struct place *place, int flags, int *fd, struct stat *st);

/**
 * place_check() - refuse places in which a new region would not do what a user expects
 *
 * Return: 0, or an exit status after printing the reason.
 */
int place_check(const struct place *place, enum region_backend backend);

/** place_advice() - if @size exceeds a container's /dev/shm, print how to enlarge it */
void place_advice(const struct place *place, unsigned long long size);

/**
 * enum place_kind - the file system of a place
 * @PLACE_DISK:      files still exist after a reboot
 * @PLACE_TMPFS:     files are in memory
 * @PLACE_HUGETLBFS: files are in memory, in huge pages
 */
enum place_kind {
	PLACE_DISK,
	PLACE_TMPFS,
	PLACE_HUGETLBFS,
};

enum place_kind place_kind(const struct place *place);

#endif
