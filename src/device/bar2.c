/* SPDX-License-Identifier: BSD-3-Clause */
/* What BAR 2 shows: a whole region or a window of it, to be written or only to be read. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <stdio.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/parse.h"
#include "device/private.h"

/* When a server brings the region, also later. */
IVS_SYSCALLS(ivs_device_bar2_syscalls, IVS_CALL_FSTAT, {"fstatfs"}, {"fstatfs64"}, {"close"});
IVS_SYSCALLS(ivs_device_bar2_ro_syscalls, IVS_CALL_OPEN_TO_READ);

#define PAGE_LEN 4096 /* the least that BAR 2 has */

/* What a mapping's offset and length are multiples of. */
static uint64_t page_len_of(int fd)
{
	struct statfs fs;

	if (fstatfs(fd, &fs) || fs.f_type != HUGETLBFS_MAGIC)
		return (uint64_t)sysconf(_SC_PAGESIZE);
	return (uint64_t)fs.f_bsize;
}

/* Whether a VMM can map BAR 2, of @len bytes, from what is in @fd. Return: NULL, or why not. */
static const char *why_not(const struct ivs_device *device, int fd, uint64_t len,
			   uint64_t region_len)
{
	const uint64_t offset = device->opts.window.offset;

	if (!ivs_is_power_of_two(len) || len < PAGE_LEN)
		return device->opts.window.len
			       ? "the LENGTH of --window must be a power of two of at least 4K"
			       : "what a device shows is a power of two of at least 4K: choose a "
				 "part of it with --window";
	if (len > region_len || offset > region_len - len)
		return device->opts.function.memory_len && !device->opts.window.len
			       ? "ask for less with size="
			       : "the region ends before that";
	if ((offset | len) % page_len_of(fd))
		return "offset and length must be multiples of the region's pages";
	return NULL;
}

/* How long BAR 2 is with this region. */
static int measure(const struct ivs_device *device, int fd, uint64_t region_len, uint64_t *out,
		   struct ivs_error *err)
{
	uint64_t len = device->opts.function.memory_len;
	char shown[IVS_SIZE_TEXT_LEN];
	char all[IVS_SIZE_TEXT_LEN];
	const char *why;

	if (!len)
		len = device->opts.window.len ? device->opts.window.len : region_len;
	why = why_not(device, fd, len, region_len);
	if (why)
		return ivs_error_set(err, IVS_DEVICE_E_OPTIONS,
				     "cannot show %s from offset %" PRIu64 " of a region of %s: %s",
				     ivs_size_text(len, shown), device->opts.window.offset,
				     ivs_size_text(region_len, all), why);
	*out = len;
	return 0;
}

/* An fd that cannot be mapped writable by whoever gets it. */
static int reopen_read_only(int fd, struct ivs_error *err)
{
	char path[40];
	int again;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	again = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* somebody may have a lease on it */
	return again < 0 ? ivs_error_errno(err, errno, "cannot open the region to be only read")
			 : again;
}

/* Of a device without a VMM, or without memory until now, whose length is known then. */
static int take(struct ivs_device *device, int *fd, struct ivs_error *err)
{
	struct stat st;
	uint64_t len;
	int result;

	if (fstat(*fd, &st))
		return ivs_error_errno(err, errno, "cannot look at the region");
	if (!S_ISREG(st.st_mode))
		return ivs_error_set(
			err, IVS_DEVICE_E_OPTIONS,
			"what was given as the region is no file: nobody could map it");
	result = measure(device, *fd, (uint64_t)st.st_size, &len, err);
	if (result)
		return result;
	if (device->opts.access != IVS_DEVICE_WRITES) {
		int again = reopen_read_only(*fd, err);

		if (again < 0)
			return again;
		ivs_fd_close(fd);
		*fd = again;
	}
	/* All or nothing: who has the length has the memory. */
	if (device->session && len != device->function.options.memory_len)
		result = ivs_pci_set_memory_len(&device->function, len, err);
	if (result)
		return result;
	ivs_fd_close(&device->memory.fd);
	device->memory.fd = ivs_fd_take(fd);
	device->memory.len = len;
	device->memory.st = st;
	return 0;
}

static int open_what_is_there(struct ivs_device *device, struct ivs_error *err)
{
	if (device->opts.access != IVS_DEVICE_WRITES)
		return ivs_region_open_read_only(device->opts.region, &device->memory.region, err);
	return ivs_region_open(device->opts.region, NULL, &device->memory.region, err);
}

static int open_region(struct ivs_device *device, struct ivs_error *err)
{
	int result;

	if (!device->opts.region_opts.size)
		return open_what_is_there(device, err);
	result = ivs_region_open(device->opts.region, &device->opts.region_opts,
				 &device->memory.region, err);
	/* The old device shows as much as it was told, of whatever there is. */
	if (result == IVS_REGION_E_OTHER_SIZE && device->opts.function.memory_len)
		result = open_what_is_there(device, err);
	return result;
}

int ivs_device_bar2_open(struct ivs_device *device, struct ivs_error *err)
{
	IVS_OWNED_FD fd = -1;
	int result = open_region(device, err);

	if (result)
		return result;
	fd = fcntl(ivs_region_fd(device->memory.region), F_DUPFD_CLOEXEC, 0);
	if (fd < 0)
		return ivs_error_errno(err, errno, "cannot keep the region open");
	return take(device, &fd, err);
}

int ivs_device_bar2_take(struct ivs_device *device, int *fd, struct ivs_error *err)
{
	return take(device, fd, err);
}

bool ivs_device_bar2_is(const struct ivs_device *device, int fd)
{
	struct stat st;

	return device->memory.fd >= 0 && !fstat(fd, &st) && ivs_stat_same(&st, &device->memory.st);
}

void ivs_device_bar2_close(struct ivs_device *device)
{
	ivs_fd_close(&device->memory.fd);
	ivs_region_close(device->memory.region);
	device->memory.region = NULL;
}

struct ivs_vfio_user_memory ivs_device_bar2_of(const struct ivs_device *device)
{
	return (struct ivs_vfio_user_memory){
		.fd = device->memory.fd,
		.offset = device->opts.window.offset,
		.writable = device->opts.access == IVS_DEVICE_WRITES,
		.trapped = device->opts.access == IVS_DEVICE_READS_TRAPPED,
	};
}
