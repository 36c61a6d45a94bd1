/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Checks whether the file of a region is still what it was when it was opened. Other processes can
 * remove, rename or replace the file's name, so that programs that open the name get another
 * region, and can change the file's size.
 */
#ifndef IVS_REGION_WATCH_H
#define IVS_REGION_WATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/syscalls.h"
#include "ivshmem/peer.h"

/* The system calls of ivs_region_watch_init() and ivs_region_watch_look(). */
extern const struct ivs_syscall ivs_region_watch_syscalls[];

#define IVS_REGION_CHANGES_N 3 /* enum ivs_region_change */

/**
 * struct ivs_region_watch - the recorded state of a region
 * @fd:      the region, which the caller keeps open
 * @self_fd: /proc/self, or -1: open /proc by its path
 * @size:    in bytes
 * @named:   the region has a name in a file system
 * @name:    path of the open file according to the kernel; NULL: unknown
 * @lost:    the name was lost before ivs_region_watch_init()
 */
struct ivs_region_watch {
	int fd;
	int self_fd;
	uint64_t size;
	bool named;
	char *name;
	bool lost;
};

#define IVS_REGION_WATCH_INIT                                                                      \
	{                                                                                          \
		.fd = -1, .self_fd = -1                                                            \
	}

/**
 * ivs_region_watch_init() - record the current state of a region
 * @path: the name with which the region was opened; "": the region has none; NULL: the name that it
 *        has now
 *
 * Like ivs_region_watch_look(), this function never waits for another process. It never fails: what
 * cannot be found out is not watched.
 */
void ivs_region_watch_init(struct ivs_region_watch *watch, int fd, uint64_t size, const char *path,
			   int self_fd);

void ivs_region_watch_deinit(struct ivs_region_watch *watch);

/**
 * ivs_region_watch_can_change() - whether the file can change; false if the region has no name and
 * is sealed
 */
bool ivs_region_watch_can_change(const struct ivs_region_watch *watch);

/**
 * ivs_region_watch_look() - find what has changed
 *
 * Return: enum ivs_region_change values, ORed together.
 */
unsigned int ivs_region_watch_look(const struct ivs_region_watch *watch);

/** ivs_region_change_name() - the name of change @i (1 << @i) in the reply of a control socket */
const char *ivs_region_change_name(unsigned int i);

/** ivs_region_change_text() - describe change @i (1 << @i), and what it means, to users */
const char *ivs_region_change_text(unsigned int i);

#endif
