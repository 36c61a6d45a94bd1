/* SPDX-License-Identifier: BSD-3-Clause */
/* Interface between scan.c and the files that look for something in /proc. */
#ifndef IVS_HOST_PRIVATE_H
#define IVS_HOST_PRIVATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "host/regions.h"
#include "host/users.h"
#include "host/vm.h"

/**
 * struct ivs_host_process - a process that has been examined or could not be examined
 * @qemu:    the process is a QEMU, and @vm is set
 * @server:  the process is an ivshmem-server
 * @peer:    the process may use a region: it has loaded libivshmem, or is a program of this project
 *           or Looking Glass' client
 * @unseen:  the files of the process cannot be seen
 * @crowded: the process has more uses than were kept
 * @socket:  as in struct ivs_host_user
 * @control: as in struct ivs_host_server
 * @program: name of the program; safe to print
 */
struct ivs_host_process {
	pid_t pid;
	bool qemu;
	bool server;
	bool peer;
	bool unseen;
	bool crowded;
	char socket[IVS_HOST_SOCKET_LEN];
	char control[IVS_HOST_SOCKET_LEN];
	char program[IVS_HOST_PROGRAM_LEN];
	struct ivs_host_vm vm;
};

/**
 * struct ivs_host_use - a process's use of a file
 * @process:  index of the process
 * @dev, @ino: device and inode of the file. Unless @exact is set, @dev is what /proc/PID/maps
 *             shows, which is not st_dev on btrfs and overlayfs
 * @maps, @shared, @open: as in struct ivs_host_user
 * @len:      end of the file's mapped part, in bytes
 * @known:  @size, @mode, @uid, @gid, @block (st_blksize) and @links (st_nlink) are known
 * @chr:      the file is a character device
 * @name:     the kernel's name for the file, perhaps with " (deleted)"; untrusted
 */
struct ivs_host_use {
	size_t process;
	dev_t dev;
	ino_t ino;
	bool exact;
	bool maps;
	bool shared;
	bool open;
	bool known;
	bool chr;
	uint64_t len;
	uint64_t size;
	mode_t mode;
	uid_t uid;
	gid_t gid;
	uint32_t block;
	uint32_t links;
	const char *name;
};

/**
 * struct ivs_host_scan - the result of a pass over /proc
 * @processes: QEMUs, servers, and all other processes that use a file
 * @uses:      the uses, grouped by process; all parts of a file that a process maps count as one
 *             use
 * @crowded_n: processes with more than IVS_HOST_USES_MAX uses, of which only that many were kept
 */
struct ivs_host_scan {
	struct ivs_host_process *processes;
	size_t processes_n;
	struct ivs_host_use *uses;
	size_t uses_n;
	unsigned int unseen_n;
	unsigned int crowded_n;
	bool hidden;
};

/**
 * struct ivs_host_filter - selects the uses to keep
 * @wanted: returns whether to keep the use @use by @process. If @use->name is NULL, the file is
 *          held open, and the result says whether to look up the name and then call this function
 *          again
 */
struct ivs_host_filter {
	bool (*wanted)(const void *context, const struct ivs_host_process *process,
		       const struct ivs_host_use *use);
	const void *context;
};

/** ivs_host_scan_run() - look at all processes except the calling one. Return: 0, -errno. */
IVS_MUST_USE int ivs_host_scan_run(const struct ivs_host_filter *filter, struct ivs_host_scan *out);

void ivs_host_scan_deinit(struct ivs_host_scan *scan);

/** ivs_host_name_is() - whether the kernel's @name is @path, with or without " (deleted)" */
bool ivs_host_name_is(const char *name, const char *path);

/**
 * struct ivs_host_place - a directory whose files can be regions
 * @fd:        the directory
 * @path:      path of the directory, without a slash at the end
 * @page_size: page size of the files in the directory
 */
struct ivs_host_place {
	int fd;
	char *path;
	enum ivs_host_kind kind;
	dev_t dev;
	uint64_t page_size;
};

#define IVS_HOST_PLACES_MAX 32

/** struct ivs_host_places - /dev/shm, and the hugetlbfs mounts */
struct ivs_host_places {
	struct ivs_host_place list[IVS_HOST_PLACES_MAX];
	size_t n;
};

/** ivs_host_places_open() - find the places; a missing /dev/shm is left out */
void ivs_host_places_open(struct ivs_host_places *places);

void ivs_host_places_close(struct ivs_host_places *places);

/** ivs_host_place_of() - find the place of a file by its device or by its path; NULL: none */
const struct ivs_host_place *ivs_host_place_of(const struct ivs_host_places *places, dev_t dev,
					       const char *path);

/**
 * ivs_host_boot_read() - call @take for each file that a line of tmpfiles.d(5) creates
 * @take: called with @path, the path of the file, and @conf, the path of the tmpfiles.d file;
 *        returns 0 to continue
 *
 * Return: 0, or the first nonzero result of @take.
 */
IVS_MUST_USE int ivs_host_boot_read(int (*take)(void *context, const char *path, const char *conf),
				    void *context);

/** ivs_host_user_fill() - set the members that describe the process */
void ivs_host_user_fill(struct ivs_host_user *user, const struct ivs_host_process *process);

/** ivs_host_use_is_region() - whether the process uses the file as a region */
bool ivs_host_use_is_region(const struct ivs_host_process *process, const struct ivs_host_use *use);

/**
 * ivs_host_use_is_private() - whether a VM uses the file as a region, but other processes do not
 * see what the VM writes
 */
bool ivs_host_use_is_private(const struct ivs_host_process *process,
			     const struct ivs_host_use *use);

/** ivs_host_name_is_memfd() - whether this is the kernel's name for a memfd */
bool ivs_host_name_is_memfd(const char *name);

/**
 * ivs_host_name_is_unnamed() - whether the file is one that programs deliberately remove as soon as
 * they have created it
 */
bool ivs_host_name_is_unnamed(const char *path);

/** ivs_host_name_trim() - copy @name without " (deleted)". Return: whether @name had it. */
bool ivs_host_name_trim(const char *name, char *out, size_t out_len);

/** struct ivs_host_inode - the inode of a region, and its place in the list */
struct ivs_host_inode {
	ino_t ino;
	size_t at;
};

/**
 * struct ivs_host_index - finds regions in their list; start from {0}
 * @inodes: the inodes, sorted
 */
struct ivs_host_index {
	struct ivs_host_inode *inodes;
	size_t inodes_n;
	void *paths;
};

/** ivs_host_index_inodes() - add the inodes of all regions, once. Return: 0 or -ENOMEM. */
IVS_MUST_USE int ivs_host_index_inodes(struct ivs_host_index *index,
				       const struct ivs_host_regions *regions);

/** ivs_host_index_first() - the first of @index->inodes that is not less than @ino */
size_t ivs_host_index_first(const struct ivs_host_index *index, ino_t ino);

/**
 * ivs_host_index_path() - add the path of a region, unless it is there already
 * @path: borrowed
 * @at:   the place of the region; set to that of the first one that was added with this path
 *
 * Return: 0 or -ENOMEM.
 */
IVS_MUST_USE int ivs_host_index_path(struct ivs_host_index *index, const char *path, size_t *at);

/** ivs_host_index_has_path() - find a path. Return: whether it is there, and @at is set. */
bool ivs_host_index_has_path(const struct ivs_host_index *index, const char *path, size_t *at);

void ivs_host_index_deinit(struct ivs_host_index *index);

/** ivs_host_regions_judge() - sort the regions and their users, and add notes */
IVS_MUST_USE int ivs_host_regions_judge(struct ivs_host_regions *regions);

#endif
