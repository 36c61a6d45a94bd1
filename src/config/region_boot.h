/* SPDX-License-Identifier: BSD-3-Clause */
/* The files that create a region at boot: a line for tmpfiles.d(5), and a systemd unit. Pure. */
#ifndef IVS_CONFIG_REGION_BOOT_H
#define IVS_CONFIG_REGION_BOOT_H

#include <stdint.h>

#include "config/out.h"

/**
 * struct ivs_region_boot - a region to create at boot; ivs_escape_valid() accepts all texts
 * @address: shm:NAME or file:PATH
 * @path:    path of the region's file
 * @size:    in bytes
 * @owner:   name or number of the user; names from the network are not available this early during
 *           boot
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

/** IVS_REGION_BOOT_MARK - the text with which each of these files begins */
#define IVS_REGION_BOOT_MARK "# Made by \"ivshmem create --boot\""

/**
 * ivs_region_boot_stem() - the part of the file names that identifies the region
 *
 * Different regions have different stems. The stem of shm:NAME is NAME, if its characters are
 * plain.
 */
void ivs_region_boot_stem(struct ivs_out *out, const char *address);

/**
 * ivs_region_boot_tmpfiles() - write a tmpfiles.d(5) file, which creates an empty file with the
 * region's owner and mode
 *
 * tmpfiles.d can neither set a size nor reserve memory. The unit does both.
 */
void ivs_region_boot_tmpfiles(struct ivs_out *out, const struct ivs_region_boot *boot);

/**
 * ivs_region_boot_unit() - write a systemd unit that creates the region before any VM starts
 *
 * Use this only for in-memory file systems: a network file system may be mounted later.
 */
void ivs_region_boot_unit(struct ivs_out *out, const struct ivs_region_boot *boot);

#endif
