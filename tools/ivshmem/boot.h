/* SPDX-License-Identifier: BSD-3-Clause */
/* The files in /etc that make a region at boot: writing and removing them, all or none. */
#ifndef TOOLS_IVSHMEM_BOOT_H
#define TOOLS_IVSHMEM_BOOT_H

#include <jansson.h>
#include <limits.h>
#include <stdbool.h>
#include <sys/types.h>

#include "ivshmem/api.h"
#include "tools/ivshmem/region_place.h"

#define BOOT_FILES_MAX 3
#define BOOT_TEXT_LEN 16384
#define BOOT_DIRS_MAX 8

/**
 * struct boot_file - a file, or a symbolic link
 * @text:    what it is to contain, or where it is to point; "": it is to be absent
 * @old:     what it was before; "": it was absent
 * @link:    it is a symbolic link
 * @changed: it has been changed to @text
 */
struct boot_file {
	char path[PATH_MAX];
	char text[BOOT_TEXT_LEN];
	char old[BOOT_TEXT_LEN];
	bool link;
	bool changed;
};

/**
 * struct boot - the files of a region, and how to undo their change
 * @dirs: directories that were made for them
 */
struct boot {
	struct boot_file files[BOOT_FILES_MAX];
	unsigned int files_n;
	char dirs[BOOT_DIRS_MAX][PATH_MAX];
	unsigned int dirs_n;
};

/**
 * struct boot_wish - what the region is to be like at boot
 * @uid, @gid, @mode: its owner, and permission bits
 */
struct boot_wish {
	const struct place *place;
	uint64_t size;
	uid_t uid;
	gid_t gid;
	mode_t mode;
};

/**
 * boot_install() - write the files in @root/etc; none for a region on a disk, which needs none
 * @out: to undo it; free it with free(3). NULL after a failure
 *
 * Return: 0, or an exit status after printing the reason; then nothing is changed, or the message
 * says what is.
 */
int boot_install(const struct boot_wish *wish, const char *root, struct boot **out);

/** boot_uninstall() - remove the files. As boot_install(); there may be none. */
int boot_uninstall(const struct place *place, const char *root, struct boot **out);

/** boot_exists() - whether a unit makes the region at boot */
bool boot_exists(const struct place *place, const char *root);

/** boot_undo() - restore what was there before, or say what cannot be. NULL is ignored. */
void boot_undo(struct boot *boot);

/** boot_changed_n() - how many files were changed; 0 for NULL */
unsigned int boot_changed_n(const struct boot *boot);

/** boot_json() - the paths of all files, as an array */
json_t *boot_json(const struct boot *boot);

/** boot_print() - print a line "WORD PATH" for each file that was changed */
void boot_print(const struct boot *boot, const char *word);

#endif
