/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The regions of this host, of all programs, and what is wrong with them.
 *
 * A region is
 * - a file in /dev/shm or in a hugetlbfs;
 * - a file, memfd or removed file that a VM or an ivshmem-server uses as ivshmem memory;
 * - a file that a line of tmpfiles.d(5) makes in these directories;
 * - /dev/kvmfrN.
 */
#ifndef IVS_HOST_REGIONS_H
#define IVS_HOST_REGIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "host/users.h"
#include "ivshmem/api.h"

enum ivs_host_kind {
	IVS_HOST_SHM,	  /* in /dev/shm */
	IVS_HOST_FILE,	  /* elsewhere */
	IVS_HOST_HUGETLB, /* in a hugetlbfs */
	IVS_HOST_MEMFD,
	IVS_HOST_DEVICE, /* /dev/kvmfrN */
};

/** ivs_host_kind_name() - "shm", "file", "hugetlb", "memfd", "device" */
const char *ivs_host_kind_name(enum ivs_host_kind kind);

/**
 * enum ivs_host_why - why something is a region, or-ed. Without any of these it is a file that is
 * most likely another program's
 */
enum ivs_host_why {
	IVS_HOST_USED = 1,   /* a VM or another user of regions uses it */
	IVS_HOST_NAMED = 2,  /* arguments of a VM name it */
	IVS_HOST_BOOT = 4,   /* tmpfiles.d makes it */
	IVS_HOST_LIKELY = 8, /* by its size or name */
};

/**
 * enum ivs_host_note - what a person should know about a region, or-ed
 * @IVS_HOST_NOTE_SIZE:      the size is not a power of two
 * @IVS_HOST_NOTE_EMPTY:     the size is 0: no program has set it yet
 * @IVS_HOST_NOTE_REMOVED:   the file has been removed, and is in use
 * @IVS_HOST_NOTE_REPLACED:  the file has been removed, is in use, and another one has its name
 * @IVS_HOST_NOTE_SPLIT:     others use a removed file of the same name
 * @IVS_HOST_NOTE_PRIVATE:   a VM has share=on missing in its arguments, or maps it privately
 * @IVS_HOST_NOTE_KVMFR:     it is a file at the path of a device of kvmfr
 * @IVS_HOST_NOTE_ABSENT:    it does not exist, but is expected to
 * @IVS_HOST_NOTE_ELSEWHERE: it has a name, but not among the files of this process: a container's
 */
enum ivs_host_note {
	IVS_HOST_NOTE_SIZE = 1,
	IVS_HOST_NOTE_EMPTY = 2,
	IVS_HOST_NOTE_REMOVED = 4,
	IVS_HOST_NOTE_REPLACED = 8,
	IVS_HOST_NOTE_SPLIT = 16,
	IVS_HOST_NOTE_PRIVATE = 32,
	IVS_HOST_NOTE_KVMFR = 64,
	IVS_HOST_NOTE_ABSENT = 128,
	IVS_HOST_NOTE_ELSEWHERE = 256,
};

#define IVS_HOST_NOTES_N 9

/** ivs_host_note_name() - the name of note @i (1 << @i) in JSON: "removed" */
const char *ivs_host_note_name(unsigned int i);

/**
 * struct ivs_host_region - a region
 * @path:      its path, or the last one; of a memfd "memfd:NAME". Untrusted
 * @known:     @size, @uid, @gid, @mode are known
 * @page_size: 0: unknown
 * @boot:      the file of tmpfiles.d that makes it; NULL: none
 * @users:     borrowed from struct ivs_host_regions
 */
struct ivs_host_region {
	char *path;
	enum ivs_host_kind kind;
	dev_t dev;
	ino_t ino;
	bool known;
	uint64_t size;
	uint64_t page_size;
	uid_t uid;
	gid_t gid;
	mode_t mode;
	unsigned int why;
	unsigned int notes;
	char *boot;
	const struct ivs_host_user *users;
	size_t users_n;
};

/**
 * struct ivs_host_regions - what has been found
 * @list:     by path
 * @users:    by region; its @file is the index of the region
 * @unseen_n, @hidden: as in struct ivs_host_users
 */
struct ivs_host_regions {
	struct ivs_host_region *list;
	size_t n;
	struct ivs_host_user *users;
	size_t users_n;
	unsigned int unseen_n;
	bool hidden;
};

/**
 * ivs_host_regions_find() - find the regions and their users
 * @paths: @paths_n files to look at, too, wherever they are; absolute, as in realpath(3)
 * @out:   set on success; free it with ivs_host_regions_deinit()
 *
 * Return: 0 or -errno.
 */
IVS_MUST_USE int ivs_host_regions_find(const char *const *paths, size_t paths_n,
				       struct ivs_host_regions *out);

void ivs_host_regions_deinit(struct ivs_host_regions *regions);

/** ivs_host_region_address() - "shm:NAME", "file:PATH", "memfd:NAME", or the path of a device */
const char *ivs_host_region_address(const struct ivs_host_region *region, char *out,
				    size_t out_len);

#endif
