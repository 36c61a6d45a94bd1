/* SPDX-License-Identifier: BSD-3-Clause */
/* Regions with a name: files, and POSIX shared memory, which on Linux also consists of files. */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/access.h"
#include "base/error.h"
#include "base/file.h"
#include "base/shell.h"
#include "region/private.h"

/* Where shm_open(3) keeps its objects on Linux. */
#define SHM_DIR "/dev/shm/"

/* The name is a path: report which address refers to the file or directory there. */
static int shm_error_path(const char *name, struct ivs_error *err)
{
	const char *in_shm = !strncmp(name, SHM_DIR, strlen(SHM_DIR)) ? name + strlen(SHM_DIR) : "";
	struct stat st;

	if (*in_shm && !strchr(in_shm, '/'))
		return ivs_error_set(err, IVS_REGION_E_ADDRESS,
				     "\"%s\" is a path, not a name for POSIX shared memory: use "
				     "shm:%s",
				     name, in_shm);
	return ivs_error_set(err, IVS_REGION_E_ADDRESS,
			     "\"%s\" is a path, not a name for POSIX shared memory: use %s:%s",
			     name, !stat(name, &st) && S_ISDIR(st.st_mode) ? "dir" : "file", name);
}

static int shm_check(struct ivs_region *region, const char *name, struct ivs_error *err)
{
	const char *base = name + strspn(name, "/");

	if (*base && strchr(base, '/'))
		return shm_error_path(name, err);
	if (!*base || !strcmp(base, ".") || !strcmp(base, ".."))
		return ivs_error_set(err, IVS_REGION_E_ADDRESS,
				     "\"%s\" is not a valid name for POSIX shared memory: use one "
				     "word without slashes, such as shm:ivshmem",
				     name);
	if (strlen(base) > NAME_MAX)
		return ivs_error_set(err, IVS_REGION_E_ADDRESS,
				     "the name of the shared memory has %zu bytes; at most %d fit",
				     strlen(base), NAME_MAX);
	snprintf(region->path, sizeof(region->path), "%s%s", SHM_DIR, base);
	return 0;
}

static int file_check(struct ivs_region *region, const char *name, struct ivs_error *err)
{
	if (!*name)
		return ivs_error_set(err, IVS_REGION_E_ADDRESS,
				     "a path must follow \"file:\", such as "
				     "file:/dev/hugepages/ivshmem");
	if (strlen(name) >= sizeof(region->path))
		return ivs_error_set(err, IVS_REGION_E_ADDRESS,
				     "the path has %zu bytes; at most %zu fit", strlen(name),
				     sizeof(region->path) - 1);
	snprintf(region->path, sizeof(region->path), "%s", name);
	return 0;
}

/* Return: whether the name of the file consists of @word and a number. */
static bool is_numbered(const char *path, const char *word)
{
	const char *slash = strrchr(path, '/');
	const char *base = slash ? slash + 1 : path;
	const char *digits = base + strlen(word);

	return !strncmp(base, word, strlen(word)) && *digits &&
	       !digits[strspn(digits, "0123456789")];
}

int ivs_region_error_kind(const struct ivs_region *region, mode_t mode, struct ivs_error *err)
{
	const char *path = region->path;

	if (S_ISDIR(mode))
		return ivs_error_set(err, IVS_REGION_E_KIND,
				     "%s is not a file; for an unnamed region in a directory use "
				     "dir:%s",
				     path, path);
	if (S_ISCHR(mode) && is_numbered(path, "kvmfr"))
		return ivs_error_set(
			err, IVS_REGION_E_KIND,
			"%s is not a file, but a device of the kvmfr module, which Looking Glass "
			"needs only to import frames as dma-bufs: to share memory, use "
			"shm:looking-glass here, and its file in QEMU and Looking Glass",
			path);
	if (S_ISCHR(mode) && is_numbered(path, "ivshmem"))
		return ivs_error_set(err, IVS_REGION_E_KIND,
				     "%s is not a file, but a device of a guest's driver: the "
				     "address of a peer there is %s, without \"file:\"",
				     path, path);
	return ivs_error_set(err, IVS_REGION_E_KIND,
			     "%s is not a file, but %s: use another path, in a tmpfs, in a "
			     "hugetlbfs or on a disk",
			     path, ivs_file_kind(mode));
}

/* Another user may have created the link, so its target is neither printed nor recommended. */
static int error_link(const struct ivs_region *region, struct ivs_error *err)
{
	return ivs_error_set(err, IVS_REGION_E_KIND,
			     "%s is a symbolic link, which is not followed: name the file itself",
			     region->path);
}

static int error_no_directory(const struct ivs_region *region, struct ivs_error *err)
{
	char copy[sizeof(region->path)];
	const char *dir;

	strcpy(copy, region->path);
	dir = dirname(copy);
	ivs_error_set(err, -ENOENT, "cannot open %s: the directory %s does not exist", region->path,
		      dir);
	ivs_shell_add_error(err, ": mkdir -p ", dir, "");
	return -ENOENT;
}

static int open_path_error(const struct ivs_region *region, int errnum, struct ivs_error *err)
{
	int wanted = region->read_only ? R_OK : R_OK | W_OK;
	char why[IVS_ACCESS_TEXT_LEN];
	struct stat st;

	switch (errnum) {
	case EISDIR:
	case ENXIO: /* the path is a socket, or a device without a driver */
		if (!fstatat(region->dir_fd, ivs_region_name(region), &st, AT_SYMLINK_NOFOLLOW))
			return ivs_region_error_kind(region, st.st_mode, err);
		break;
	case ELOOP:
		return error_link(region, err);
	case EACCES:
		return ivs_error_set(err, -EACCES, "cannot open %s for %s: Permission denied: %s",
				     region->path,
				     region->read_only ? "reading" : "reading and writing",
				     ivs_access_explain(region->path, wanted, why));
	case ENOENT:
		return error_no_directory(region, err);
	default:
		break;
	}
	return ivs_error_errno(err, errnum, "cannot open %s", region->path);
}

/*
 * Try with O_EXCL first, to know whether this call created the object. Between the two calls of
 * open(2), another process can create or remove the object; give up if it does so ten times in a
 * row.
 */
int ivs_region_open_path(struct ivs_region *region, bool create, struct ivs_error *err)
{
	int flags = (region->read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK |
		    O_NOCTTY;
	const char *name = ivs_region_name(region);

	for (int round = 0; round < 10; round++) {
		if (create) {
			region->fd = openat(region->dir_fd, name, flags | O_CREAT | O_EXCL, 0600);
			region->created = region->fd >= 0;
			if (region->fd >= 0)
				return 0;
			if (errno != EEXIST)
				break;
		}
		region->fd = openat(region->dir_fd, name, flags);
		if (region->fd >= 0)
			return 0;
		if (errno != ENOENT || !create)
			break;
	}
	if (errno == ENOENT && !create)
		return ivs_error_set(err, IVS_REGION_E_ABSENT,
				     "%s does not exist: first start the program that creates it, "
				     "or give a size to create it",
				     region->path);
	return open_path_error(region, errno, err);
}

int ivs_region_open_nameless(struct ivs_region *region, struct ivs_error *err)
{
	char copy[sizeof(region->path)];
	const char *dir = ".";

	strcpy(copy, region->path);
	if (region->dir_fd == AT_FDCWD)
		dir = dirname(copy);
	region->fd = openat(region->dir_fd, dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	region->created = region->fd >= 0;
	if (region->fd >= 0)
		return 0;
	/* EISDIR: from a kernel or file system that does not support O_TMPFILE */
	if (errno == EOPNOTSUPP || errno == EISDIR)
		return ivs_error_errno(err, EOPNOTSUPP, "cannot create an unnamed file for %s",
				       region->path);
	return open_path_error(region, errno, err);
}

static int named_open(struct ivs_region *region, const char *name, bool create,
		      struct ivs_error *err)
{
	(void)name; /* check() has already set region->path */
	return ivs_region_open_path(region, create, err);
}

const struct ivs_region_backend ivs_region_shm = {
	.prefix = "shm:",
	.check = shm_check,
	.open = named_open,
};

const struct ivs_region_backend ivs_region_file = {
	.prefix = "file:",
	.check = file_check,
	.open = named_open,
};
