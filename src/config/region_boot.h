/* SPDX-License-Identifier: BSD-3-Clause */
/* The files that make a region at boot: a line for tmpfiles.d(5), and a systemd unit. Pure. */
#ifndef IVS_CONFIG_REGION_BOOT_H
#define IVS_CONFIG_REGION_BOOT_H

#include <stdint.h>

#include "config/out.h"

/**
 * struct ivs_region_boot - a region to make at boot; all texts pass ivs_escape_valid()
 * @address: shm:NAME or file:PATH
 * @path:    its path
 * @size:    in bytes
 * @owner:   name or number of the user; names of the network are not known so early
 * @group:   name or number of the group
 * @mode:    permission bits
 * @program: path of ivshmem
 */
struct ivs_region_boot {
	const char *address;
	const char *path;
	uint64_t size;
	const char *owner;
	const char *group;
	unsigned int mode;
	const char *program;
};

/** IVS_REGION_BOOT_MARK - begins each of these files */
#define IVS_REGION_BOOT_MARK "# Made by \"ivshmem create --boot\""

/**
 * ivs_region_boot_stem() - the part of the names of the files that stands for the region
 *
 * Two regions have two stems. That of shm:NAME is NAME, if its characters are plain.
 */
void ivs_region_boot_stem(struct ivs_out *out, const char *address);

/**
 * ivs_region_boot_tmpfiles() - a file of tmpfiles.d(5): an empty file with owner and mode
 *
 * tmpfiles.d can neither set a size nor reserve memory. The unit does.
 */
void ivs_region_boot_tmpfiles(struct ivs_out *out, const struct ivs_region_boot *boot);

/**
 * ivs_region_boot_unit() - a systemd unit that creates the region, before any VM starts
 *
 * Only for file systems in memory: one on the network may be mounted later.
 */
void ivs_region_boot_unit(struct ivs_out *out, const struct ivs_region_boot *boot);

#endif
