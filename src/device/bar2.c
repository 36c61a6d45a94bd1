/* SPDX-License-Identifier: BSD-3-Clause */
/* The memory that BAR 2 shows: a region or a window of it, writable or read-only. */
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

/* A server may send a region at any time. */
IVS_SYSCALLS(ivs_device_bar2_syscalls, IVS_CALL_FSTAT, {"fstatfs"}, {"fstatfs64"}, {"close"});
IVS_SYSCALLS(ivs_device_bar2_ro_syscalls, IVS_CALL_OPEN_TO_READ);

#define BAR2_LEN_MIN 4096

/* Offset and length of a mapping are multiples of it. */
static uint64_t page_len_of(int fd)
{
	struct statfs fs;

	if (fstatfs(fd, &fs) || fs.f_type != HUGETLBFS_MAGIC)
		return (uint64_t)sysconf(_SC_PAGESIZE);
	return (uint64_t)fs.f_bsize;
}

/* Return: why a VMM cannot map @len bytes of @fd as BAR 2; NULL if it can. */
static const char *bar2_obstacle(const struct ivs_device *device, int fd, uint64_t len,
				 uint64_t region_len)
{
	uint64_t offset = device->opts.window.offset;

	if (!ivs_is_power_of_two(len) || len < BAR2_LEN_MIN)
		return device->opts.window.len
			       ? "the LENGTH of --window must be a power of two of at least 4K"
			       : "BAR 2 is a power of two of at least 4K: choose a part of the "
				 "region with --window";
	if (len > region_len || offset > region_len - len)
		return device->opts.function.memory_len && !device->opts.window.len
			       ? "ask for less with size="
			       : "the region ends before that";
	if ((offset | len) % page_len_of(fd))
		return "offset and length must be multiples of the region's pages";
	return NULL;
}

/* The length of BAR 2 with this region. Return: 0, IVS_DEVICE_E_OPTIONS. */
static int bar2_measure(const struct ivs_device *device, int fd, uint64_t region_len, uint64_t *out,
			struct ivs_error *err)
{
	uint64_t len = device->opts.function.memory_len;
	char shown[IVS_SIZE_TEXT_LEN];
	char all[IVS_SIZE_TEXT_LEN];
	const char *why;

	if (!len)
		len = device->opts.window.len ? device->opts.window.len : region_len;
	why = bar2_obstacle(device, fd, len, region_len);
	if (why)
		return ivs_error_set(err, IVS_DEVICE_E_OPTIONS,
				     "cannot show %s from offset %" PRIu64 " of a region of %s: %s",
				     ivs_size_text(len, shown), device->opts.window.offset,
				     ivs_size_text(region_len, all), why);
	*out = len;
	return 0;
}

/* The VMM must not be able to map it writable. */
static int reopen_read_only(int fd, struct ivs_error *err)
{
	char path[40];
	int again;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	again = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a lease must not make it wait */
	return again < 0 ? ivs_error_errno(err, errno, "cannot open the region read-only") : again;
}

/* Return: 0, -errno. */
static int bar2_limit_access(const struct ivs_device *device, int *fd, struct ivs_error *err)
{
	int again;

	if (device->opts.access == IVS_DEVICE_WRITES)
		return 0;
	again = reopen_read_only(*fd, err);
	if (again < 0)
		return again;
	ivs_fd_close(fd);
	*fd = again;
	return 0;
}

/* There is no VMM, or it has no memory yet and learns the length now. */
int ivs_device_bar2_take(struct ivs_device *device, int *fd, struct ivs_error *err)
{
	struct stat st;
	uint64_t len = 0;
	int result;

	if (fstat(*fd, &st))
		return ivs_error_errno(err, errno, "cannot look at the region");
	if (!S_ISREG(st.st_mode))
		return ivs_error_set(err, IVS_DEVICE_E_OPTIONS,
				     "the fd that came as the region is not a file: it cannot be "
				     "mapped");
	result = bar2_measure(device, *fd, (uint64_t)st.st_size, &len, err);
	if (!result)
		result = bar2_limit_access(device, fd, err);
	if (result)
		return result;
	/* Length and memory are set together, or neither. */
	if (device->session && len != device->function.options.memory_len &&
	    ivs_pci_set_memory_len(&device->function, len, err))
		return IVS_DEVICE_E_OPTIONS;
	ivs_fd_close(&device->memory.fd);
	device->memory.fd = ivs_fd_take(fd);
	device->memory.len = len;
	device->memory.st = st;
	return 0;
}

static int open_existing(struct ivs_device *device, struct ivs_error *err)
{
	if (device->opts.access != IVS_DEVICE_WRITES)
		return ivs_region_open_read_only(device->opts.region, &device->memory.region, err);
	return ivs_region_open(device->opts.region, NULL, &device->memory.region, err);
}

static int open_region(struct ivs_device *device, struct ivs_error *err)
{
	int result;

	if (!device->opts.region_opts.size)
		return open_existing(device, err);
	result = ivs_region_open(device->opts.region, &device->opts.region_opts,
				 &device->memory.region, err);
	/* A revision 0 device shows as many bytes as it was told to, of a region of any size. */
	if (result == IVS_REGION_E_OTHER_SIZE && device->opts.function.memory_len)
		result = open_existing(device, err);
	return result;
}

int ivs_device_bar2_open(struct ivs_device *device, struct ivs_error *err)
{
	IVS_OWNED_FD fd = -1;
	int result = open_region(device, err);

	if (result)
		return result > 0 ? IVS_DEVICE_E_REGION : result;
	fd = fcntl(ivs_region_fd(device->memory.region), F_DUPFD_CLOEXEC, 0);
	if (fd < 0)
		return ivs_error_errno(err, errno, "cannot keep the region open");
	return ivs_device_bar2_take(device, &fd, err);
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

struct ivs_vfio_user_memory ivs_device_bar2_memory(const struct ivs_device *device)
{
	return (struct ivs_vfio_user_memory){
		.fd = device->memory.fd,
		.offset = device->opts.window.offset,
		.writable = device->opts.access == IVS_DEVICE_WRITES,
		.trapped = device->opts.access == IVS_DEVICE_READS_TRAPPED,
	};
}
