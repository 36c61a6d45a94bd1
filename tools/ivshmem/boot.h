/* SPDX-License-Identifier: BSD-3-Clause */
/* Write or remove the files in /etc that create a region at boot: either all of them or none. */
#ifndef TOOLS_IVSHMEM_BOOT_H
#define TOOLS_IVSHMEM_BOOT_H

#include <jansson.h>
#include <stdbool.h>
#include <sys/types.h>

#include "ivshmem/api.h"
#include "tools/ivshmem/boot_files.h"
#include "tools/ivshmem/region_place.h"

/**
 * struct boot_wish - the properties of the region that is created at boot
 * @uid, @gid, @mode: owner, group and permission bits of the region
 */
struct boot_wish {
	const struct place *place;
	uint64_t size;
	uid_t uid;
	gid_t gid;
	mode_t mode;
};

/**
 * boot_install() - write the files in @root/etc; a region on a disk needs no files
 * @out: set to what boot_undo() needs, to be freed with boot_free(); NULL after a failure
 *
 * If this fails, nothing has changed, or the message says what has.
 *
 * Return: 0, or an exit status after printing the reason.
 */
int boot_install(const struct boot_wish *wish, const char *root, struct boot **out);

/** boot_uninstall() - remove the files, if any; in all other respects like boot_install() */
int boot_uninstall(const struct place *place, const char *root, struct boot **out);

/**
 * boot_exists() - find out whether a unit creates the region at boot
 *
 * Return: 0, or an exit status after printing the reason.
 */
int boot_exists(const struct place *place, const char *root, bool *exists);

/** boot_changed_n() - return the number of files that were changed; 0 for NULL */
unsigned int boot_changed_n(const struct boot *boot);

/** boot_json() - return the paths of all files, as an array */
json_t *boot_json(const struct boot *boot);

/** boot_print() - print a line "WORD PATH" for each file that was changed */
void boot_print(const struct boot *boot, const char *word);

#endif
