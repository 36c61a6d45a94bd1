/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Finds out which kind of file a process has been handed as a region, without querying the file
 * system that contains the file. A FUSE server, for example, can leave fstat(2), fstatfs(2),
 * open(2), a read or a page fault waiting, and no signal ends the wait.
 */
#ifndef IVS_REGION_RECEIVED_H
#define IVS_REGION_RECEIVED_H

#include <stdbool.h>
#include <stdint.h>

#include "base/syscalls.h"

/* The system calls of ivs_received_look(). */
extern const struct ivs_syscall ivs_received_syscalls[];

/**
 * enum ivs_received_kind - what kind of file was received
 * @IVS_RECEIVED_MEMORY: memfd, tmpfs or hugetlbfs; no call blocks
 * @IVS_RECEIVED_DISK:   a file system on a local disk, which is known to respond. A process that
 *                       may write to the file can hold the lock of its inode, so that a read
 *                       blocks; fstat(2), mmap(2) and page faults do not take that lock
 * @IVS_RECEIVED_OTHER:  any other file system, or an unknown one
 */
enum ivs_received_kind {
	IVS_RECEIVED_MEMORY,
	IVS_RECEIVED_DISK,
	IVS_RECEIVED_OTHER,
};

/**
 * struct ivs_received - what ivs_received_look() has found out
 * @file_system: name of the file system's type, for messages
 */
struct ivs_received {
	enum ivs_received_kind kind;
	char file_system[32];
};

#define IVS_RECEIVED_BTRFS_MAX 32

/**
 * struct ivs_received_mounts - the mounts of this process
 * @fd:    /proc/self/mountinfo, which is read for each look-up; -1: not available, so that only
 *         memory is recognised
 * @btrfs: device numbers of the subvolumes that were mounted when @fd was opened: statx(2) of a
 *         file on btrfs returns these, which are not in mountinfo
 */
struct ivs_received_mounts {
	int fd;
	unsigned int btrfs_n;
	uint64_t btrfs[IVS_RECEIVED_BTRFS_MAX];
};

/** ivs_received_mounts_open() - open the list of mounts, before a sandbox forbids it */
void ivs_received_mounts_open(struct ivs_received_mounts *mounts);

void ivs_received_mounts_close(struct ivs_received_mounts *mounts);

/** ivs_received_look() - find out what kind of file @fd is */
void ivs_received_look(const struct ivs_received_mounts *mounts, int fd, struct ivs_received *out);

/**
 * ivs_received_is_memory() - whether @fd is of the kind IVS_RECEIVED_MEMORY; calls fcntl(2) once
 */
bool ivs_received_is_memory(int fd);

#endif
