/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Says what to do if the memory of a region cannot be reserved: how much is free, and how to get
 * more.
 */
#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/error.h"
#include "base/parse.h"
#include "base/shell.h"
#include "region/private.h"

#define HUGE_DIR "/sys/kernel/mm/hugepages/hugepages-%llukB/"

static unsigned long long read_pages(const struct ivs_region *region, const char *name)
{
	unsigned long long pages = 0;
	char path[128];
	FILE *file;

	snprintf(path, sizeof(path), HUGE_DIR "%s", (unsigned long long)region->page_size / 1024,
		 name);
	file = fopen(path, "re");
	if (file && fscanf(file, "%llu", &pages) != 1)
		pages = 0;
	if (file)
		fclose(file);
	return pages;
}

/*
 * Return: the length of the part that was allocated before the error, and that will be freed again.
 */
static uint64_t allocated_len(const struct ivs_region *region)
{
	struct stat st;

	return fstat(region->fd, &st) ? 0 : (uint64_t)st.st_blocks * 512;
}

static int error_few_huge_pages(const struct ivs_region *region, uint64_t size,
				struct ivs_error *err)
{
	uint64_t memory = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
	unsigned long long free = read_pages(region, "free_hugepages");
	unsigned long long reserved = read_pages(region, "resv_hugepages");
	unsigned long long needed = size / region->page_size;
	char page[IVS_SIZE_TEXT_LEN];
	char text[IVS_SIZE_TEXT_LEN];

	ivs_size_text(size, text);
	ivs_size_text(region->page_size, page);
	free -= reserved < free ? reserved : free;
	free += allocated_len(region) / region->page_size;
	if (size > memory)
		return ivs_error_set(err, IVS_REGION_E_FULL,
				     "no room for a region of %s in huge pages: the machine has "
				     "%llu MiB of memory in all; use a smaller region",
				     text, (unsigned long long)memory >> 20);
	if (free >= needed)
		return ivs_error_set(err, IVS_REGION_E_FULL,
				     "no room for a region of %s: %llu huge pages of %s are free, "
				     "but the hugetlbfs is limited (mount -o size=)",
				     text, free, page);
	return ivs_error_set(err, IVS_REGION_E_FULL,
			     "no room for a region of %s: %llu huge pages of %s are needed, and "
			     "%llu are free: as root, echo %llu > " HUGE_DIR "nr_hugepages",
			     text, needed, page, free,
			     read_pages(region, "nr_hugepages") + needed - free,
			     (unsigned long long)region->page_size / 1024);
}

/* Set @out to the directory where the file system of @region is mounted. */
static bool find_mount(const struct ivs_region *region, char out[PATH_MAX])
{
	char parent[PATH_MAX];
	char path[64];
	struct stat st;
	struct stat above;
	ssize_t len;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", region->fd);
	len = readlink(path, out, PATH_MAX - 1);
	if (len < 1 || fstat(region->fd, &st))
		return false;
	out[len] = '\0';
	dirname(out);
	for (;;) {
		strcpy(parent, out);
		dirname(parent);
		if (stat(parent, &above))
			return false;
		if (above.st_dev != st.st_dev || !strcmp(parent, out))
			return true;
		strcpy(out, parent);
	}
}

/* Report how much space the file system has free and, for a tmpfs, the command that enlarges it. */
static int error_full(const struct ivs_region *region, uint64_t size, const struct statfs *fs,
		      struct ivs_error *err)
{
	uint64_t total = (uint64_t)fs->f_blocks * (uint64_t)fs->f_bsize;
	uint64_t free = (uint64_t)fs->f_bavail * (uint64_t)fs->f_bsize;
	char free_text[IVS_SIZE_TEXT_LEN];
	char text[IVS_SIZE_TEXT_LEN];
	char mount[PATH_MAX];
	char command[128];

	free += allocated_len(region);
	ivs_error_set(err, IVS_REGION_E_FULL,
		      "no room for a region of %s%s%.128s: its file system has %s free: remove "
		      "files there, or enlarge it",
		      ivs_size_text(size, text), *region->path ? " at " : "", region->path,
		      ivs_size_text(free, free_text));
	if (fs->f_type == TMPFS_MAGIC && free < size && size < total * 1024 &&
	    find_mount(region, mount)) {
		snprintf(command, sizeof(command), ": as root, mount -o remount,size=%lluk ",
			 (unsigned long long)(total + size - free + 1023) / 1024);
		ivs_shell_add_error(err, command, mount, "");
	}
	return IVS_REGION_E_FULL;
}

int ivs_region_error_room(const struct ivs_region *region, uint64_t size, int errnum,
			  struct ivs_error *err)
{
	char text[IVS_SIZE_TEXT_LEN];
	struct statfs fs;

	ivs_size_text(size, text);
	if (errnum != ENOSPC && errnum != ENOMEM && errnum != EFBIG && errnum != EDQUOT)
		return ivs_error_errno(err, errnum, "cannot reserve %s of memory", text);
	if (region->page_size > (uint64_t)sysconf(_SC_PAGESIZE))
		return error_few_huge_pages(region, size, err);
	if (errnum == ENOSPC && !fstatfs(region->fd, &fs) && fs.f_blocks)
		return error_full(region, size, &fs, err);
	return ivs_error_set(err, IVS_REGION_E_FULL, "no room for a region of %s%s%.256s: %s: %s",
			     text, *region->path ? " at " : "", region->path,
			     strerrordesc_np(errnum),
			     errnum == EDQUOT  ? "raise the quota of this user"
			     : errnum == EFBIG ? "use a smaller region, or another file system"
					       : "end programs that use memory");
}
