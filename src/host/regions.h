/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The regions of all programs on this host, and what is wrong with them.
 *
 * A region is one of these:
 * - a file in /dev/shm or on a hugetlbfs;
 * - a file, memfd or removed file that a VM or an ivshmem-server uses as ivshmem memory;
 * - a file that a line of tmpfiles.d(5) creates in one of these directories;
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
	IVS_HOST_SHM,	  /* a file in /dev/shm */
	IVS_HOST_FILE,	  /* a file elsewhere */
	IVS_HOST_HUGETLB, /* a file on a hugetlbfs */
	IVS_HOST_MEMFD,
	IVS_HOST_DEVICE, /* /dev/kvmfrN */
};

/** ivs_host_kind_name() - the name of a kind: "shm", "file", "hugetlb", "memfd", "device" */
const char *ivs_host_kind_name(enum ivs_host_kind kind);

/**
 * enum ivs_host_why - flags that say why a file is a region. If none is set, the file most likely
 * belongs to another program
 */
enum ivs_host_why {
	IVS_HOST_USED = 1,   /* a VM or another user of regions uses it */
	IVS_HOST_NAMED = 2,  /* the arguments of a VM name it */
	IVS_HOST_BOOT = 4,   /* a line of tmpfiles.d creates it */
	IVS_HOST_LIKELY = 8, /* its size or name is typical of a region */
};

/**
 * enum ivs_host_note - flags that say what the user should know about a region
 * @IVS_HOST_NOTE_SIZE:      the size is not a power of two
 * @IVS_HOST_NOTE_EMPTY:     the size is 0: no program has set it yet
 * @IVS_HOST_NOTE_REMOVED:   the file has been removed, but is still in use
 * @IVS_HOST_NOTE_REPLACED:  the file has been removed, is still in use, and another file has its
 *                           name now
 * @IVS_HOST_NOTE_SPLIT:     other processes use a removed file of the same name
 * @IVS_HOST_NOTE_PRIVATE:   share=on is missing in a VM's arguments, or a VM maps the file
 *                           privately
 * @IVS_HOST_NOTE_KVMFR:     it is a regular file at the path of a kvmfr device
 * @IVS_HOST_NOTE_ABSENT:    the file does not exist, but is expected to exist
 * @IVS_HOST_NOTE_ELSEWHERE: the file has a name, but not in this process's view of the file system,
 *                           for example because it is in a container
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
 * @path:      path of the region, or its last path if it was removed; "memfd:NAME" for a memfd;
 *             untrusted
 * @known:     @size, @uid, @gid, @mode are known
 * @page_size: 0: unknown
 * @boot:      the tmpfiles.d file that creates the region; NULL: none
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
 * struct ivs_host_server - a process that is an ivshmem-server, of this project or of QEMU
 * @socket:  as in struct ivs_host_user
 * @control: the path of its control socket according to its arguments, or ""; untrusted. A relative
 *           path is left out: only the server knows to which directory it was relative
 */
struct ivs_host_server {
	pid_t pid;
	char socket[IVS_HOST_SOCKET_LEN];
	char control[IVS_HOST_SOCKET_LEN];
};

/**
 * struct ivs_host_qemu - a process that is a QEMU
 * @unseen: the files of the process cannot be seen
 * @vm:     what its arguments say; untrusted
 */
struct ivs_host_qemu {
	pid_t pid;
	bool unseen;
	struct ivs_host_vm vm;
};

/**
 * struct ivs_host_regions - the regions that were found
 * @list:     the regions, sorted by path
 * @users:    the users, sorted by region; the @file of each is the index of its region
 * @servers:   the servers, even if their regions cannot be seen. The helper processes of a server
 *             have its arguments, so they are among them
 * @qemus:     all processes that are QEMUs
 * @crowded_n: processes that use more than IVS_HOST_USES_MAX files that may be regions; the excess
 *             files were left out
 * @unseen_n, @hidden: as in struct ivs_host_users
 */
struct ivs_host_regions {
	struct ivs_host_region *list;
	size_t n;
	struct ivs_host_user *users;
	size_t users_n;
	struct ivs_host_server *servers;
	size_t servers_n;
	struct ivs_host_qemu *qemus;
	size_t qemus_n;
	unsigned int unseen_n;
	unsigned int crowded_n;
	bool hidden;
};

/**
 * ivs_host_regions_find() - find the regions and their users
 * @paths: paths of @paths_n more files to look at, in any directory; absolute, as realpath(3)
 *         returns them
 * @out:   set on success; free it with ivs_host_regions_deinit()
 *
 * Return: 0 or -errno.
 */
IVS_MUST_USE int ivs_host_regions_find(const char *const *paths, size_t paths_n,
				       struct ivs_host_regions *out);

void ivs_host_regions_deinit(struct ivs_host_regions *regions);

/**
 * ivs_host_region_address() - the address of a region: "shm:NAME", "file:PATH", "memfd:NAME", or
 * the path of a device
 */
const char *ivs_host_region_address(const struct ivs_host_region *region, char *out,
				    size_t out_len);

#endif
