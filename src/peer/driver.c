/* SPDX-License-Identifier: BSD-3-Clause */
/* The transport for a guest with our driver, which provides a device node. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/shell.h"
#include "peer/bar0.h"
#include "peer/node_advice.h"
#include "peer/pci_advice.h"

#define PREFIX "/dev/ivshmem"

/**
 * struct driver_state - private data of the transport
 * @fd:     the device node
 * @status: the driver's status page
 * @bar0:   the registers; if they are not mapped, doorbells are rung with IVS_IOC_RING
 */
struct driver_state {
	int fd;
	const volatile struct ivs_driver_status *status;
	struct ivs_bar0 bar0;
};

static struct driver_state *driver_state(const struct ivs_peer *peer)
{
	return peer->state;
}

/* Return: whether EMFILE means that this process, and not the device, has too many open files. */
static bool out_of_files(void)
{
	IVS_OWNED_FD fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	return fd < 0;
}

static int driver_open_error(const char *path, struct ivs_error *err)
{
	int errnum = errno;

	switch (errnum) {
	case ENOENT:
	case ENXIO:
	case ENODEV:
		return ivs_node_absent(path, err);
	case EACCES:
		return ivs_node_denied(path, err);
	case EMFILE:
		if (out_of_files())
			return ivs_error_set(err, -errnum,
					     "cannot open %s: out of file descriptors; raise the "
					     "limit (ulimit -n)",
					     path);
		ivs_error_set(err, -errnum,
			      "cannot open %s: it is open %d times, and the driver permits no "
			      "more: end a program that uses it",
			      path, IVS_DRIVER_FILES_MAX);
		ivs_shell_add_error(err, " (fuser ", path, ")");
		return -errnum;
	default:
		return ivs_error_errno(err, errnum, "cannot open %s", path);
	}
}

static int driver_gone_error(const char *device, struct ivs_error *err)
{
	return ivs_error_set(err, IVS_PEER_E_DEVICE_GONE, "the device %s has just been removed",
			     device);
}

/* A program that was started before the driver was loaded may have created a file at @path. */
static int driver_foreign_error(const struct ivs_peer *peer, const char *path,
				struct ivs_error *err)
{
	bool regular;
	struct stat st;

	if (fstat(driver_state(peer)->fd, &st))
		return ivs_error_errno(err, errno, "cannot stat %s", path);
	regular = S_ISREG(st.st_mode);
	return ivs_error_set(err, IVS_PEER_E_ADDRESS, "%s is %s, not a device of the driver%s%s%s",
			     path, ivs_file_kind(st.st_mode), regular ? ": rm " : "",
			     regular ? path : "",
			     regular ? " (as root), and load the driver again" : "");
}

static int driver_info(const struct ivs_peer *peer, const char *path, struct ivs_ioc_info *info,
		       struct ivs_error *err)
{
	if (!ioctl(driver_state(peer)->fd, IVS_IOC_INFO, info))
		return 0;
	if (errno == ENODEV)
		return driver_gone_error(path, err);
	if (errno == ENOTTY)
		return driver_foreign_error(peer, path, err);
	return ivs_error_errno(err, errno, "cannot query %s", path);
}

static void *driver_map_page(const struct ivs_peer *peer, uint64_t offset, int protection)
{
	return mmap(NULL, (size_t)sysconf(_SC_PAGESIZE), protection, MAP_SHARED,
		    driver_state(peer)->fd, (off_t)offset);
}

static int driver_map(struct ivs_peer *peer, const struct ivs_ioc_info *info, struct ivs_error *err)
{
	void *page = driver_map_page(peer, IVS_MMAP_STATUS, PROT_READ);
	int result;

	if (page == MAP_FAILED && errno == ENODEV)
		return driver_gone_error(info->bdf, err);
	if (page == MAP_FAILED)
		return ivs_error_errno(err, errno, "cannot map the driver's status");
	driver_state(peer)->status = page;
	result = ivs_peer_map(peer, driver_state(peer)->fd, IVS_MMAP_MEMORY, info->memory_len, err);
	if (result == -EBUSY)
		return ivs_error_set(err, result,
				     "another process has the region of %s mapped write-combining; "
				     "it cannot be mapped cached at the same time",
				     info->bdf);
	if (result)
		return result == -ENODEV ? driver_gone_error(info->bdf, err) : result;
	ivs_peer_allow(peer, IVS_CAP_CACHED);
	if (info->flags & IVS_INFO_REGISTERS && info->flags & IVS_INFO_DOORBELL)
		(void)!ivs_bar0_map(&driver_state(peer)->bar0, driver_state(peer)->fd,
				    IVS_MMAP_REGISTERS); /* if this fails, use IVS_IOC_RING */
	return 0;
}

static int driver_add_vector(struct ivs_peer *peer, unsigned int vector)
{
	IVS_OWNED_FD fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	struct ivs_ioc_eventfd wanted = {.vector = vector, .fd = fd};

	if (fd < 0 || ioctl(driver_state(peer)->fd, IVS_IOC_EVENTFD, &wanted))
		return -errno;
	return ivs_peer_add_vector(peer, &fd);
}

static int driver_add_vectors(struct ivs_peer *peer, const struct ivs_ioc_info *info,
			      unsigned int wanted_n, struct ivs_error *err)
{
	unsigned int n = wanted_n ? wanted_n : info->vectors_n;
	int result;

	if (wanted_n > info->vectors_n)
		return ivs_error_set(err, IVS_PEER_E_VECTOR,
				     "the device at %s has %u vectors, not %u: start QEMU with "
				     "ivshmem-doorbell,vectors=%u",
				     info->bdf, info->vectors_n, wanted_n, wanted_n);
	for (unsigned int i = 0; i < n; i++) {
		result = driver_add_vector(peer, i);
		if (result == -ENODEV)
			return driver_gone_error(info->bdf, err);
		if (result)
			return ivs_error_errno(err, -result, "cannot add vector %u", i);
	}
	if (n)
		ivs_peer_allow(peer, IVS_CAP_WAIT);
	else if (info->flags & IVS_INFO_DOORBELL)
		ivs_peer_deny(peer, IVS_CAP_WAIT,
			      ivs_pci_kernel_has_no_msi()
				      ? "the guest's kernel was started with the parameter "
					"pci=nomsi: remove it, because the device has no other "
					"interrupts"
				      : "the guest had no interrupts left for the device: give it "
					"more processors");
	return 0;
}

static void driver_close(struct ivs_peer *peer)
{
	struct driver_state *state = driver_state(peer);

	ivs_bar0_unmap(&state->bar0);
	if (state->status)
		munmap((void *)state->status, (size_t)sysconf(_SC_PAGESIZE));
	ivs_fd_close(&state->fd);
}

static bool driver_is_gone(const struct ivs_peer *peer)
{
	return driver_state(peer)->status && driver_state(peer)->status->gone;
}

static int driver_ring(const struct ivs_doorbell *doorbell)
{
	struct ivs_ioc_ring ring = {.peer = doorbell->id, .vector = doorbell->vector};

	if (!ioctl(doorbell->fd, IVS_IOC_RING, &ring))
		return 0;
	return errno == ENODEV ? IVS_PEER_E_DEVICE_GONE : -errno;
}

static int driver_doorbell(struct ivs_peer *peer, struct ivs_doorbell *out)
{
	out->fd = driver_state(peer)->fd;
	out->ring = driver_ring;
	if (driver_state(peer)->bar0.base)
		ivs_bar0_doorbell(&driver_state(peer)->bar0, out);
	return 0;
}

static const struct ivs_transport_ops driver_ops = {
	.name = "driver",
	.state_len = sizeof(struct driver_state),
	.close = driver_close,
	.doorbell = driver_doorbell,
	.is_gone = driver_is_gone,
};

int ivs_driver_open(struct ivs_peer *peer, const char *path, const char *bdf,
		    const struct ivs_peer_options *opts, struct ivs_error *err)
{
	int result = ivs_peer_set_transport(peer, &driver_ops, err);
	struct ivs_ioc_info info;

	if (result)
		return result;
	driver_state(peer)->fd = open(path, O_RDWR | O_CLOEXEC);
	if (driver_state(peer)->fd < 0)
		return driver_open_error(path, err);
	peer->gone_fd = driver_state(peer)->fd; /* poll(2) always reports POLLHUP and POLLERR */
	result = driver_info(peer, path, &info, err);
	/* If the device has been removed, another device may have taken over its node. */
	if (!result && bdf && strcmp(info.bdf, bdf) != 0)
		result = driver_gone_error(bdf, err);
	if (result)
		return result;
	snprintf(peer->region, sizeof(peer->region), "%.*s", (int)sizeof(info.name) - 1, info.name);
	result = driver_map(peer, &info, err);
	if (!result)
		result = ivs_bar0_allow(peer, info.bdf, info.flags & IVS_INFO_DOORBELL,
					(uint32_t)info.position, err);
	if (!result)
		result = driver_add_vectors(peer, &info, opts->vectors_n, err);
	return result;
}

int ivs_node_open(struct ivs_peer *peer, const char *name, const struct ivs_peer_options *opts,
		  struct ivs_error *err)
{
	char path[4096];

	if (snprintf(path, sizeof(path), PREFIX "%s", name) >= (int)sizeof(path))
		return ivs_error_set(err, IVS_PEER_E_ADDRESS, "the device's path is too long");
	return ivs_driver_open(peer, path, NULL, opts, err);
}
