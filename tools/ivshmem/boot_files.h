/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Changing files in this system's /etc, or in that of a system in another directory: either all of
 * them or none. A system in another directory may belong to another user, so its symbolic links are
 * resolved relative to that directory, and never lead outside it.
 */
#ifndef TOOLS_IVSHMEM_BOOT_FILES_H
#define TOOLS_IVSHMEM_BOOT_FILES_H

#include <limits.h>
#include <stdbool.h>

#include "ivshmem/api.h"

#define BOOT_FILES_MAX 3
#define BOOT_TEXT_LEN 16384
#define BOOT_DIRS_MAX 8

/**
 * struct boot_file - a file, or a symbolic link
 * @path:    its path, for messages
 * @name:    the last part of @path
 * @dir:     its directory, relative to the root directory: a constant
 * @dir_fd:  the directory; -1: it does not exist
 * @text:    the content that the file should have, or the target of the link; "": it should be
 *           absent
 * @old:     content or target before the change; "": it was absent
 * @link:    whether it is a symbolic link
 * @changed: whether it has been changed to @text
 */
struct boot_file {
	char path[PATH_MAX];
	const char *name;
	const char *dir;
	int dir_fd;
	char text[BOOT_TEXT_LEN];
	char old[BOOT_TEXT_LEN];
	bool link;
	bool changed;
};

/**
 * struct boot_dir - a directory that was created
 * @parent_fd: the directory in which it is
 */
struct boot_dir {
	int parent_fd;
	char name[NAME_MAX + 1];
};

/**
 * struct boot - the files of a region, and what is needed to undo the changes
 * @root:    path of the root directory; "" for that of this system
 * @root_fd: that directory
 * @foreign: whether it is not the root directory of this system
 * @dirs:    directories that were created for the files
 */
struct boot {
	const char *root;
	int root_fd;
	bool foreign;
	struct boot_file files[BOOT_FILES_MAX];
	unsigned int files_n;
	struct boot_dir dirs[BOOT_DIRS_MAX];
	unsigned int dirs_n;
};

/**
 * boot_new() - open the root directory
 * @root: valid until boot_free()
 *
 * Return: NULL after printing the reason.
 */
IVS_MUST_USE struct boot *boot_new(const char *root);

/** boot_free() - close everything; no-op for NULL */
void boot_free(struct boot *boot);

/**
 * boot_add() - add the file @name in @dir, and open the directory
 *
 * Return: 0, or an exit status after printing the reason.
 */
IVS_MUST_USE int boot_add(struct boot *boot, bool link, const char *dir, const char *name);

/** boot_has() - return whether the file exists */
IVS_MUST_USE bool boot_has(const struct boot_file *file);

/**
 * boot_apply() - change all files to their texts
 *
 * Return: 0, or an exit status after printing the reason. Then call boot_undo().
 */
IVS_MUST_USE int boot_apply(struct boot *boot);

/** boot_undo() - restore the previous files, or say which cannot be restored; no-op for NULL */
void boot_undo(struct boot *boot);

#endif
