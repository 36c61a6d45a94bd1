/* SPDX-License-Identifier: BSD-3-Clause */
/* BAR 2 exposes a region, or a window into it, read-write or read-only. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <stdio.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/disposal.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/parse.h"
#include "device/private.h"

/* These calls are needed only if there is a server, which may send a region at any time. */
IVS_SYSCALLS(ivs_device_bar2_syscalls, IVS_CALL_FSTAT, {"fstatfs"}, {"fstatfs64"}, {"close"});
IVS_SYSCALLS(ivs_device_bar2_ro_syscalls, IVS_CALL_OPEN_TO_READ);

#define PAGE_LEN 4096 /* the smallest length of BAR 2 */

/* Return: the file's page size. The offset and length of a mapping must be multiples of it. */
static uint64_t page_len_of(int fd)
{
	struct statfs fs;

	if (!ivs_received_is_memory(fd) || fstatfs(fd, &fs) || fs.f_type != HUGETLBFS_MAGIC)
		return (uint64_t)sysconf(_SC_PAGESIZE);
	return (uint64_t)fs.f_bsize;
}

/*
 * Return: NULL if a VMM can map @len bytes at the window's offset in @fd; otherwise the reason why
 * it cannot.
 */
static const char *window_problem(const struct ivs_device *device, int fd, uint64_t len,
				  uint64_t region_len)
{
	uint64_t offset = device->opts.window.offset;

	if (!ivs_is_power_of_two(len) || len < PAGE_LEN)
		return device->opts.window.len
			       ? "the LENGTH of --window must be a power of two and at least 4K"
			       : "BAR 2 must be a power of two and at least 4K: choose a part of "
				 "the region with --window";
	if (len > region_len || offset > region_len - len)
		return device->opts.function.memory_len && !device->opts.window.len
			       ? "choose a smaller size="
			       : "that is beyond the end of the region";
	if ((offset | len) % page_len_of(fd))
		return "the offset and length must be multiples of the region's page size";
	return NULL;
}

/* Set @out to the length of BAR 2 for a region of @region_len bytes. */
static int window_len(const struct ivs_device *device, int fd, uint64_t region_len, uint64_t *out,
		      struct ivs_error *err)
{
	uint64_t len = device->opts.function.memory_len;
	char shown[IVS_SIZE_TEXT_LEN];
	char all[IVS_SIZE_TEXT_LEN];
	const char *problem;

	if (!len)
		len = device->opts.window.len ? device->opts.window.len : region_len;
	problem = window_problem(device, fd, len, region_len);
	if (problem)
		return ivs_error_set(err, IVS_DEVICE_E_OPTIONS,
				     "cannot map %s from offset %" PRIu64 " of a region of %s: %s",
				     ivs_size_text(len, shown), device->opts.window.offset,
				     ivs_size_text(region_len, all), problem);
	*out = len;
	return 0;
}

/* Reopen the file read-only, so that receivers of the fd cannot write. Return: the fd or -errno. */
static int reopen_read_only(int fd, struct ivs_error *err)
{
	char path[40];
	int reopened_fd;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	/* O_NONBLOCK: do not wait for a process that holds a lease on the file. */
	reopened_fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (reopened_fd < 0)
		return ivs_error_errno(err, errno, "cannot open the region read-only");
	return reopened_fd;
}

/* On failure nothing is changed, so BAR 2 always has the length of the memory behind it. */
static int set_function_len(struct ivs_device *device, uint64_t len, struct ivs_error *err)
{
	if (!device->session || len == device->function.options.memory_len)
		return 0;
	return ivs_pci_set_memory_len(&device->function, len, err) ? IVS_DEVICE_E_OPTIONS : 0;
}

/* If the VM may only read the region, replace the fd with a read-only one. */
static int restrict_access(const struct ivs_device *device, int *fd, struct ivs_error *err)
{
	int reopened_fd;

	if (device->opts.access == IVS_DEVICE_WRITES)
		return 0;
	reopened_fd = reopen_read_only(*fd, err);
	if (reopened_fd < 0)
		return reopened_fd;
	ivs_fd_close(fd);
	*fd = reopened_fd;
	return 0;
}

int ivs_device_bar2_replace(struct ivs_device *device, int *fd, struct ivs_error *err)
{
	uint64_t len = 0;
	struct stat st;
	int result;

	if (fstat(*fd, &st))
		return ivs_error_errno(err, errno, "cannot stat the region");
	if (!S_ISREG(st.st_mode))
		return ivs_error_set(err, IVS_DEVICE_E_OPTIONS,
				     "the server's region is %s, so it cannot be mapped: start the "
				     "server with memfd: or shm:",
				     ivs_file_kind(st.st_mode));
	result = window_len(device, *fd, (uint64_t)st.st_size, &len, err);
	if (!result)
		result = restrict_access(device, fd, err);
	if (!result)
		result = set_function_len(device, len, err);
	if (result)
		return result;
	/*
	 * If the server has closed the previous region, this fd and the session's mapping are the
	 * last references, and dropping the last one frees all of the memory, which takes a second
	 * or more for 8 GiB. So pass the fd to the helper processes first, and one of them frees
	 * the memory.
	 */
	ivs_dispose(&device->server.disposal, &device->bar2.fd);
	device->bar2.fd = ivs_fd_take(fd);
	device->bar2.len = len;
	device->bar2.st = st;
	return 0;
}

static int open_existing_region(struct ivs_device *device, struct ivs_error *err)
{
	if (device->opts.access != IVS_DEVICE_WRITES)
		return ivs_region_open_read_only(device->opts.region, &device->bar2.region, err);
	return ivs_region_open(device->opts.region, NULL, &device->bar2.region, err);
}

static int open_region(struct ivs_device *device, struct ivs_error *err)
{
	int result;

	if (!device->opts.region_opts.size)
		return open_existing_region(device, err);
	result = ivs_region_open(device->opts.region, &device->opts.region_opts,
				 &device->bar2.region, err);
	/* QEMU's old device maps size= bytes of an existing region, whatever its length. */
	if (result == IVS_REGION_E_OTHER_SIZE && device->opts.function.memory_len)
		result = open_existing_region(device, err);
	return result;
}

int ivs_device_bar2_open(struct ivs_device *device, struct ivs_error *err)
{
	IVS_OWNED_FD fd = -1;
	int result = open_region(device, err);

	if (result)
		return result > 0 ? IVS_DEVICE_E_REGION : result;
	ivs_region_watch_init(&device->bar2.watch, ivs_region_fd(device->bar2.region),
			      ivs_region_size(device->bar2.region),
			      ivs_region_path(device->bar2.region), -1);
	fd = fcntl(ivs_region_fd(device->bar2.region), F_DUPFD_CLOEXEC, 0);
	if (fd < 0)
		return ivs_error_errno(err, errno, "cannot duplicate the fd of the region");
	return ivs_device_bar2_replace(device, &fd, err);
}

bool ivs_device_bar2_shows(const struct ivs_device *device, int fd)
{
	struct stat st;

	return device->bar2.fd >= 0 && !fstat(fd, &st) && ivs_stat_same(&st, &device->bar2.st);
}

void ivs_device_bar2_close(struct ivs_device *device)
{
	ivs_fd_close(&device->bar2.fd);
	ivs_region_watch_deinit(&device->bar2.watch);
	ivs_region_close(device->bar2.region);
	device->bar2.region = NULL;
}

struct ivs_vfio_user_memory ivs_device_bar2_memory(const struct ivs_device *device)
{
	return (struct ivs_vfio_user_memory){
		.fd = device->bar2.fd,
		.offset = device->opts.window.offset,
		.writable = device->opts.access == IVS_DEVICE_WRITES,
		.trapped = device->opts.access == IVS_DEVICE_READS_TRAPPED,
	};
}
