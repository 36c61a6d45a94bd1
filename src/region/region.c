/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The steps of opening a region, common to all backends: check the size before anything is changed,
 * open or create the object, set its size, reserve its memory, set owner and mode. If a step fails,
 * a new object is removed, and an empty file that was extended is truncated again.
 *
 * A prepared region (ivs_region_prepare()) goes through the same steps without a name, and gets its
 * name last.
 */
#include "ivshmem/region.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/access.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/parse.h"
#include "base/shell.h"
#include "region/region.h"
#include "region/private.h"

/* System calls that remove a region's name, and close the region. */
IVS_SYSCALLS(ivs_region_syscalls, IVS_CALL_FSTAT, IVS_CALL_LSTAT, IVS_CALL_UNLINK, {"close"});

#define SIZE_MIN 4096 /* the smallest page size of any machine */

static const struct ivs_region_backend *const backends[] = {
	&ivs_region_shm,
	&ivs_region_file,
	&ivs_region_dir,
	&ivs_region_memfd,
};

static const struct ivs_region_backend *region_find_backend(const char *address, const char **name)
{
	for (size_t i = 0; i < sizeof(backends) / sizeof(*backends); i++) {
		size_t len = strlen(backends[i]->prefix);

		if (!strncmp(address, backends[i]->prefix, len)) {
			*name = address + len;
			return backends[i];
		}
	}
	return NULL;
}

int ivs_region_check_size(uint64_t size, struct ivs_error *err)
{
	char given[IVS_SIZE_TEXT_LEN];
	char below[IVS_SIZE_TEXT_LEN];
	char above[IVS_SIZE_TEXT_LEN];
	uint64_t lower;

	if (size > INT64_MAX)
		return ivs_error_set(err, IVS_REGION_E_SIZE,
				     "region size %s exceeds the maximum file size",
				     ivs_size_text(size, given));
	if (ivs_is_power_of_two(size))
		return 0;
	lower = UINT64_C(1) << (63 - __builtin_clzll(size));
	if (lower < SIZE_MIN)
		return ivs_error_set(err, IVS_REGION_E_SIZE,
				     "region size %s is not a power of two; use %s or more",
				     ivs_size_text(size, given), ivs_size_text(SIZE_MIN, above));
	return ivs_error_set(err, IVS_REGION_E_SIZE,
			     "region size %s is not a power of two; use %s or %s",
			     ivs_size_text(size, given), ivs_size_text(lower, below),
			     ivs_size_text(lower * 2, above));
}

static int region_check_page(const struct ivs_region *region, uint64_t size, struct ivs_error *err)
{
	char given[IVS_SIZE_TEXT_LEN];
	char page[IVS_SIZE_TEXT_LEN];

	if (size >= region->page_size)
		return 0;
	return ivs_error_set(err, IVS_REGION_E_SIZE,
			     "region size %s is less than one page; use %s or more",
			     ivs_size_text(size, given), ivs_size_text(region->page_size, page));
}

/* Get the page size, which must be known before the region's size can be checked. */
static int region_inspect(struct ivs_region *region, struct stat *st, struct ivs_error *err)
{
	struct statfs fs;

	if (fstat(region->fd, st) || fstatfs(region->fd, &fs))
		return ivs_error_errno(err, errno, "cannot stat the region");
	if (!S_ISREG(st->st_mode))
		return ivs_region_error_kind(region, st->st_mode, err);
	region->page_size = (uint64_t)sysconf(_SC_PAGESIZE);
	if (fs.f_type == HUGETLBFS_MAGIC)
		region->page_size = (uint64_t)fs.f_bsize;
	return 0;
}

/* Report that the object exists, but that its size is not valid for a region. */
static int region_error_odd_size(const struct ivs_region *region, uint64_t actual,
				 struct ivs_error *err)
{
	char actual_text[IVS_SIZE_TEXT_LEN];

	return ivs_error_set(err, IVS_REGION_E_SIZE,
			     "%s exists with size %s, which is not a power of two: use another "
			     "name, or remove it if it is an unused region",
			     region->path, ivs_size_text(actual, actual_text));
}

static int region_error_other_size(const struct ivs_region *region, uint64_t actual,
				   uint64_t wanted, struct ivs_error *err)
{
	char actual_text[IVS_SIZE_TEXT_LEN];
	char wanted_text[IVS_SIZE_TEXT_LEN];

	if (!ivs_is_power_of_two(actual))
		return region_error_odd_size(region, actual, err);
	ivs_error_set(err, IVS_REGION_E_OTHER_SIZE,
		      "%s exists with size %s, not %s: ask for size %s, or remove it when it is no "
		      "longer used",
		      region->path, ivs_size_text(actual, actual_text),
		      ivs_size_text(wanted, wanted_text), actual_text);
	ivs_shell_add_error(err, ": rm ", region->path, "");
	return IVS_REGION_E_OTHER_SIZE;
}

/*
 * If the file system does not support fallocate(2), posix_fallocate(3) writes to the pages instead.
 * This could corrupt a region that is in use, so leave such a region as it is.
 */
static int file_allocate(int fd, uint64_t size, bool in_use)
{
	int errnum;

	do {
		errnum = fallocate(fd, 0, 0, (off_t)size) ? errno : 0;
	} while (errnum == EINTR);
	if (errnum != EOPNOTSUPP)
		return errnum;
	return in_use ? 0 : posix_fallocate(fd, 0, (off_t)size);
}

/* Allocate all pages now, so that a lack of memory is an error here and not a SIGBUS in peers. */
static int region_reserve(const struct ivs_region *region, uint64_t size, bool in_use,
			  struct ivs_error *err)
{
	int errnum = file_allocate(region->fd, size, in_use);

	return errnum ? ivs_region_error_room(region, size, errnum, err) : 0;
}

static int region_set_owner(const struct ivs_region *region, const struct ivs_region_options *opts,
			    struct ivs_error *err)
{
	char owner[IVS_OWNER_TEXT_LEN];

	/* Set the owner first, because fchown() may clear bits of the mode. */
	if ((opts->uid != IVS_REGION_KEEP_ID || opts->gid != IVS_REGION_KEEP_ID) &&
	    fchown(region->fd, opts->uid, opts->gid))
		return ivs_error_set(err, -errno, "cannot give %s to %s: %s%s",
				     *region->path ? region->path : "the region",
				     ivs_owner_text(opts->uid, opts->gid, owner),
				     strerrordesc_np(errno),
				     errno == EPERM ? ivs_access_chown_cure(opts->uid) : "");
	if (fchmod(region->fd, opts->mode ? opts->mode : 0600))
		return ivs_error_errno(err, errno, "cannot set the region's mode");
	return 0;
}

/* Set the size of a new or empty object; check the size of any other. */
static int region_settle(struct ivs_region *region, const struct ivs_region_options *opts,
			 const struct stat *st, struct ivs_error *err)
{
	uint64_t actual = (uint64_t)st->st_size;
	uint64_t wanted = opts->size ? opts->size : actual;
	char text[IVS_SIZE_TEXT_LEN];
	int result;

	if (!wanted)
		return ivs_error_set(
			err, IVS_REGION_E_SIZE,
			"%s is empty: first start the program that sets its size, or give "
			"a size",
			region->path);
	if (!opts->size && !ivs_is_power_of_two(wanted))
		return region_error_odd_size(region, wanted, err);
	result = region_check_page(region, wanted, err);
	if (result)
		return result;
	if (actual && actual != wanted) {
		/* Another process has set the size: keep the object, even if we created it. */
		region->created = false;
		return region_error_other_size(region, actual, wanted, err);
	}
	if (!actual && ftruncate(region->fd, (off_t)wanted))
		return ivs_error_errno(err, errno, "cannot set the size of %s to %s%s",
				       *region->path ? region->path : "the region",
				       ivs_size_text(wanted, text),
				       errno == EFBIG ? " (see ulimit -f)" : "");
	result = region->read_only ? 0 : region_reserve(region, wanted, actual, err);
	if (result && !actual && ftruncate(region->fd, 0))
		return ivs_error_errno(err, errno, "cannot truncate the region again");
	if (result)
		return result;
	region->size = wanted;
	return region->created ? region_set_owner(region, opts, err) : 0;
}

/*
 * Several processes may open the same object at the same time with different sizes. The lock
 * serialises them, so that the second process sees the size set by the first one.
 */
static int region_lock(const struct ivs_region *region, struct ivs_error *err)
{
	/* On NFS an exclusive lock needs a writable fd. */
	int result = ivs_file_lock(region->fd, region->read_only ? LOCK_SH : LOCK_EX,
				   region->interruptible);
	struct stat st;

	if (result < 0)
		return ivs_error_errno(err, -result, "cannot lock the region");
	if (!result)
		return 0;
	/*
	 * Any process that may read the file can hold the lock. If the size is already set, it will
	 * not change, so the lock is not needed.
	 */
	if (!fstat(region->fd, &st) && st.st_size)
		return 0;
	return ivs_error_errno(err, ETIMEDOUT, "another process holds a lock on %s", region->path);
}

static int region_check_linked(const struct ivs_region *region, const struct stat *st,
			       struct ivs_error *err)
{
	if (st->st_nlink || !*region->path)
		return 0;
	return ivs_error_errno(err, EAGAIN, "%s was removed while it was being opened",
			       region->path);
}

static int region_inspect_and_settle(struct ivs_region *region,
				     const struct ivs_region_options *opts, struct ivs_error *err)
{
	struct stat st;
	int result;

	result = region_inspect(region, &st, err);
	if (!result)
		result = region_check_linked(region, &st, err);
	if (!result)
		result = region_settle(region, opts, &st, err);
	return result;
}

static int region_open_backend(struct ivs_region *region, const struct ivs_region_backend *backend,
			       const char *name, const struct ivs_region_options *opts,
			       struct ivs_error *err)
{
	int result;

	result = opts->size ? ivs_region_check_size(opts->size, err) : 0;
	if (!result)
		result = backend->check(region, name, err);
	if (!result)
		result = backend->open(region, name, opts->size, err);
	if (result)
		return result;
	result = region_lock(region, err);
	if (!result)
		result = region_inspect_and_settle(region, opts, err);
	if (!result && backend->seal)
		result = backend->seal(region, err);
	/*
	 * Remove the region under the lock: no other process may start to use a region about to be
	 * removed.
	 */
	if (result) {
		int removed = ivs_region_remove(region);

		(void)removed; /* only the first error is reported */
	}
	flock(region->fd, LOCK_UN);
	return result;
}

static int region_new(const char *address, const struct ivs_region_backend **backend,
		      const char **name, struct ivs_region **out, struct ivs_error *err)
{
	*backend = region_find_backend(address, name);
	if (!*backend)
		return ivs_error_set(
			err, IVS_REGION_E_ADDRESS,
			"\"%s\" is not a valid region address: use shm:NAME, file:PATH, "
			"dir:PATH or memfd:",
			address);
	*out = calloc(1, sizeof(**out));
	if (!*out)
		return ivs_error_errno(err, ENOMEM, "cannot open %s", address);
	(*out)->fd = -1;
	(*out)->dir_fd = AT_FDCWD;
	return 0;
}

static int region_open_address(const char *address, int dir_fd,
			       const struct ivs_region_options *opts, bool read_only,
			       struct ivs_region **out, struct ivs_error *err)
{
	const struct ivs_region_backend *backend;
	struct ivs_region *region;
	const char *name;
	int result;

	result = region_new(address, &backend, &name, &region, err);
	if (result)
		return result;
	region->dir_fd = dir_fd;
	region->interruptible = dir_fd != AT_FDCWD;
	region->read_only = read_only;
	result = region_open_backend(region, backend, name, opts, err);
	if (result) {
		ivs_region_close(region);
		return result;
	}
	*out = region;
	return 0;
}

static const struct ivs_region_options must_exist = IVS_REGION_OPTIONS_INIT;

int ivs_region_open(const char *address, const struct ivs_region_options *opts,
		    struct ivs_region **out, struct ivs_error *err)
{
	return region_open_address(address, AT_FDCWD, opts ? opts : &must_exist, false, out, err);
}

int ivs_region_open_in(const char *address, int dir_fd, const struct ivs_region_options *opts,
		       struct ivs_region **out, struct ivs_error *err)
{
	return region_open_address(address, dir_fd, opts, false, out, err);
}

int ivs_region_open_read_only(const char *address, struct ivs_region **out, struct ivs_error *err)
{
	return region_open_address(address, AT_FDCWD, &must_exist, true, out, err);
}

int ivs_region_adopt(const char *address, int *fd, const struct ivs_region_former *former,
		     struct ivs_region **out, struct ivs_error *err)
{
	const struct ivs_region_backend *backend;
	struct ivs_region *region;
	const char *name;
	struct stat st;
	int result;

	result = region_new(address, &backend, &name, &region, err);
	if (result)
		return result;
	region->fd = ivs_fd_take(fd);
	region->created = former->created;
	region->size = former->size;
	region->sealed = backend->seal;
	/*
	 * Call check() only to set the path: because the region is open, its path need not exist.
	 */
	if (backend->check(region, name, err))
		region->path[0] = '\0';
	result = region_inspect(region, &st, err);
	if (result) {
		ivs_region_close(region);
		return result;
	}
	*out = region;
	return 0;
}

int ivs_region_find_path(const char *address, char *out, size_t out_len, struct ivs_error *err)
{
	const struct ivs_region_backend *backend;
	struct ivs_region *region;
	const char *name;
	int result;

	result = region_new(address, &backend, &name, &region, err);
	if (result)
		return result;
	result = backend->check(region, name, err);
	if (!result)
		snprintf(out, out_len, "%s", region->path);
	ivs_region_close(region);
	return result;
}

static int region_prepare(struct ivs_region *region, const struct ivs_region_backend *backend,
			  const char *name, const struct ivs_region_options *opts,
			  struct ivs_error *err)
{
	struct stat st;
	int result;

	result = ivs_region_check_size(opts->size, err);
	if (!result)
		result = backend->check(region, name, err);
	if (!result)
		result = ivs_region_open_nameless(region, err);
	if (!result)
		result = region_inspect(region, &st, err);
	if (!result)
		result = region_settle(region, opts, &st, err);
	return result;
}

int ivs_region_prepare(const char *address, int dir_fd, const struct ivs_region_options *opts,
		       struct ivs_region **out, struct ivs_error *err)
{
	const struct ivs_region_backend *backend;
	struct ivs_region *region;
	const char *name;
	int result;

	result = region_new(address, &backend, &name, &region, err);
	if (result)
		return result;
	region->dir_fd = dir_fd;
	result = region_prepare(region, backend, name, opts, err);
	if (result) {
		ivs_region_close(region);
		return result;
	}
	*out = region;
	return 0;
}

/* A signal may interrupt this fallocate(2), unlike the one that reserves a new region. */
int ivs_region_grow(struct ivs_region *region, uint64_t size, struct ivs_error *err)
{
	int errnum;

	if (!fallocate(region->fd, 0, 0, (off_t)size)) {
		region->size = size;
		return 0;
	}
	errnum = errno;
	if (ftruncate(region->fd, (off_t)region->size))
		return ivs_error_errno(err, errno, "cannot truncate %s again", region->path);
	if (errnum == EINTR)
		return ivs_error_set(err, -EINTR, "interrupted");
	return ivs_region_error_room(region, size, errnum, err);
}

void ivs_region_close(struct ivs_region *region)
{
	if (!region)
		return;
	ivs_fd_close(&region->fd);
	free(region);
}

int ivs_region_has_name(const struct ivs_region *region)
{
	return ivs_name_is_fd(region->dir_fd, ivs_region_name(region), region->fd);
}

int ivs_region_remove(struct ivs_region *region)
{
	int result;

	if (!region || !region->created || !*region->path)
		return 0;
	result = ivs_region_has_name(region);
	if (result <= 0)
		return result;
	if (region->dir_fd == AT_FDCWD)
		result = unlink(region->path);
	else
		result = unlinkat(region->dir_fd, ivs_region_name(region), 0);
	return result && errno != ENOENT ? -errno : 0;
}

int ivs_region_fd(const struct ivs_region *region)
{
	return region->fd;
}

uint64_t ivs_region_size(const struct ivs_region *region)
{
	return region->size;
}

uint64_t ivs_region_page_size(const struct ivs_region *region)
{
	return region->page_size;
}

bool ivs_region_created(const struct ivs_region *region)
{
	return region->created;
}

bool ivs_region_sealed(const struct ivs_region *region)
{
	return region->sealed;
}

const char *ivs_region_path(const struct ivs_region *region)
{
	return region->path;
}
