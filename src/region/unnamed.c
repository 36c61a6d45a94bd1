/* SPDX-License-Identifier: BSD-3-Clause */
/* Regions without a name: a sealed memfd, or a file that is unlinked immediately. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/access.h"
#include "base/error.h"
#include "base/parse.h"
#include "base/shell.h"
#include "region/hugetlbfs.h"
#include "region/private.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U /* the memfd is not executable; vm.memfd_noexec may require this */
#endif

static int dir_error(const char *name, int errnum, struct ivs_error *err)
{
	char why[IVS_ACCESS_TEXT_LEN];
	char point[128];

	if (errnum == EACCES)
		return ivs_error_set(err, -errnum,
				     "cannot access the directory %s: Permission denied: %s", name,
				     ivs_access_explain(name, W_OK | X_OK, why));
	if (errnum != ENOENT)
		return ivs_error_errno(err, errnum, "cannot access the directory %s", name);
	ivs_error_set(err, -errnum, "the directory %s does not exist", name);
	ivs_shell_add_error(err, ": mkdir -p ", name, "");
	if (ivs_hugetlbfs_find(point, sizeof(point))) {
		ivs_shell_add_error(err, ", or for huge pages use ", point,
				    ", where a hugetlbfs is mounted");
	} else {
		ivs_shell_add_error(err, ", and for huge pages mount -t hugetlbfs none ", name,
				    "; or use memfd:2M, which needs no mount");
	}
	return -errnum;
}

static int dir_open(struct ivs_region *region, const char *name, bool create, struct ivs_error *err)
{
	char path[4096];
	int len;

	if (!create)
		return ivs_error_set(err, IVS_REGION_E_ABSENT,
				     "dir:%s always creates a new region: give its size", name);
	/* Use mkostemp(3), because hugetlbfs does not support O_TMPFILE. */
	len = snprintf(path, sizeof(path), "%s/ivshmem.XXXXXX", name);
	if (len >= (int)sizeof(path))
		return ivs_error_set(err, IVS_REGION_E_ADDRESS,
				     "the path has %zu bytes; at most %zu fit", strlen(name),
				     sizeof(path) - 16);
	region->fd = mkostemp(path, O_CLOEXEC);
	if (region->fd < 0 && errno == EACCES)
		return dir_error(name, EACCES, err);
	if (region->fd < 0)
		return ivs_error_errno(err, errno, "cannot create a file in the directory %s",
				       name);
	region->created = true;
	if (unlink(path))
		return ivs_error_errno(err, errno, "cannot unlink %s", path);
	return 0;
}

static int dir_check(struct ivs_region *region, const char *name, struct ivs_error *err)
{
	struct stat st;

	(void)region;
	if (!*name)
		return ivs_error_set(
			err, IVS_REGION_E_ADDRESS,
			"a directory must follow \"dir:\", such as dir:/dev/hugepages");
	if (stat(name, &st))
		return dir_error(name, errno, err);
	if (!S_ISDIR(st.st_mode))
		return ivs_error_set(err, IVS_REGION_E_KIND,
				     "%s is not a directory; for a region with that name use "
				     "file:%s",
				     name, name);
	return 0;
}

/* Parse a page size: "" means ordinary pages. The flags encode other sizes as a logarithm. */
static bool memfd_flags(const char *name, unsigned int *flags)
{
	uint64_t page;

	*flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
	if (!*name)
		return true;
	if (!ivs_parse_size(name, &page) || !ivs_is_power_of_two(page))
		return false;
	*flags |= MFD_HUGETLB | (unsigned int)__builtin_ctzll(page) << MFD_HUGE_SHIFT;
	return true;
}

static int memfd_check(struct ivs_region *region, const char *name, struct ivs_error *err)
{
	unsigned int flags;

	(void)region;
	if (!memfd_flags(name, &flags))
		return ivs_error_set(
			err, IVS_REGION_E_ADDRESS,
			"\"%s\" is not a valid size of huge pages: use memfd:2M or memfd:1G, or "
			"memfd: for ordinary pages",
			name);
	return 0;
}

/* List the sizes of huge pages that the kernel supports, as in "memfd:2M or memfd:1G". */
static const char *page_sizes(char *out, size_t out_len)
{
	DIR *dir = opendir("/sys/kernel/mm/hugepages");
	const struct dirent *entry;
	char size[IVS_SIZE_TEXT_LEN];
	unsigned long long kib;
	size_t len = 0;

	snprintf(out, out_len, "memfd: (it supports none)");
	while (dir && (entry = readdir(dir))) {
		if (sscanf(entry->d_name, "hugepages-%llukB", &kib) == 1 && len < out_len)
			len += (size_t)snprintf(out + len, out_len - len, "%smemfd:%s",
						len ? " or " : "", ivs_size_text(kib << 10, size));
	}
	if (dir)
		closedir(dir);
	return out;
}

static int memfd_open(struct ivs_region *region, const char *name, bool create,
		      struct ivs_error *err)
{
	unsigned int flags;
	char sizes[128];

	if (!create)
		return ivs_error_set(err, IVS_REGION_E_ABSENT,
				     "memfd: always creates a new region: give its size");
	if (!memfd_flags(name, &flags))
		return -EINVAL;
	region->fd = memfd_create("ivshmem", flags | MFD_NOEXEC_SEAL);
	if (region->fd < 0 && errno == EINVAL) /* Linux before 6.3 does not know the flag */
		region->fd = memfd_create("ivshmem", flags);
	if (region->fd < 0 && (errno == ENODEV || errno == EINVAL) && *name)
		return ivs_error_set(err, IVS_REGION_E_ADDRESS,
				     "the kernel does not support huge pages of %s: use %s", name,
				     page_sizes(sizes, sizeof(sizes)));
	if (region->fd < 0)
		return ivs_error_errno(err, errno, "cannot create a memfd");
	region->created = true;
	return 0;
}

static int memfd_seal(struct ivs_region *region, struct ivs_error *err)
{
	if (fcntl(region->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL))
		return ivs_error_errno(err, errno, "cannot seal the memory");
	region->sealed = true;
	return 0;
}

const struct ivs_region_backend ivs_region_dir = {
	.prefix = "dir:",
	.check = dir_check,
	.open = dir_open,
};

const struct ivs_region_backend ivs_region_memfd = {
	.prefix = "memfd:",
	.check = memfd_check,
	.open = memfd_open,
	.seal = memfd_seal,
};
