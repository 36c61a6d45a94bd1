/* SPDX-License-Identifier: BSD-3-Clause */
/* The way in through our own driver, by its device node: everything that a guest can have. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "ivshmem/registers.h"
#include "peer/pci_drivers.h"

#define PREFIX "/dev/ivshmem"

static int explain_open(const char *path, struct ivs_error *err)
{
	int number = errno;

	switch (number) {
	case ENOENT:
	case ENXIO:
	case ENODEV:
		return ivs_error_set(
			err, IVS_PEER_E_ABSENT,
			"there is no device %s: load the driver (modprobe ivshmem), and "
			"see ls /sys/class/ivshmem for those that there are",
			path);
	case EACCES:
		return ivs_error_set(
			err, -number,
			"you may not open %s: become a member of its group (usermod -aG "
			"ivshmem USER, then log in anew)",
			path);
	case EMFILE:
		return ivs_error_set(err, -number,
				     "cannot open %s: %d are open already, or you are out of file "
				     "descriptors (ulimit -n)",
				     path, IVS_DRIVER_FILES_MAX);
	default:
		return ivs_error_errno(err, number, "cannot open %s", path);
	}
}

static int just_gone(const char *device, struct ivs_error *err)
{
	return ivs_error_set(err, IVS_PEER_E_DEVICE_GONE, "the device %s has just gone", device);
}

static int ask(const struct ivs_peer *peer, const char *path, struct ivs_ioc_info *info,
	       struct ivs_error *err)
{
	if (!ioctl(peer->driver.fd, IVS_IOC_INFO, info))
		return 0;
	if (errno == ENODEV)
		return just_gone(path, err);
	if (errno == ENOTTY)
		return ivs_error_set(
			err, IVS_PEER_E_ADDRESS,
			"%s is no device of the driver; if something made a file of that "
			"name before the driver was loaded, remove it",
			path);
	return ivs_error_errno(err, errno, "cannot ask %s", path);
}

static void *map(const struct ivs_peer *peer, uint64_t offset, int protection)
{
	return mmap(NULL, (size_t)sysconf(_SC_PAGESIZE), protection, MAP_SHARED, peer->driver.fd,
		    (off_t)offset);
}

static int map_all(struct ivs_peer *peer, const struct ivs_ioc_info *info, struct ivs_error *err)
{
	void *page = map(peer, IVS_MMAP_STATUS, PROT_READ);
	int result;

	if (page == MAP_FAILED && errno == ENODEV)
		return just_gone(info->bdf, err);
	if (page == MAP_FAILED)
		return ivs_error_errno(err, errno, "cannot map the driver's status");
	peer->driver.status = page;
	result = ivs_peer_map(peer, peer->driver.fd, IVS_MMAP_MEMORY, info->memory_len, err);
	if (result == -EBUSY)
		return ivs_error_set(err, result,
				     "somebody has the region of %s mapped write-combining, and it "
				     "cannot be mapped cached at the same time",
				     info->bdf);
	if (result)
		return result == -ENODEV ? just_gone(info->bdf, err) : result;
	ivs_peer_allow(peer, IVS_CAP_CACHED);
	page = MAP_FAILED;
	if (info->flags & IVS_INFO_REGISTERS && info->flags & IVS_INFO_DOORBELL)
		page = map(peer, IVS_MMAP_REGISTERS, PROT_READ | PROT_WRITE);
	if (page != MAP_FAILED) { /* else the driver rings for us */
		peer->registers = page;
		peer->registers_len = (size_t)sysconf(_SC_PAGESIZE);
	}
	return 0;
}

static int add_vector(struct ivs_peer *peer, unsigned int vector)
{
	IVS_OWNED_FD fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	struct ivs_ioc_eventfd wanted = {.vector = vector, .fd = fd};

	if (fd < 0 || ioctl(peer->driver.fd, IVS_IOC_EVENTFD, &wanted))
		return -errno;
	return ivs_peer_add_vector(peer, &fd);
}

static int add_vectors(struct ivs_peer *peer, const struct ivs_ioc_info *info,
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
		result = add_vector(peer, i);
		if (result == -ENODEV)
			return just_gone(info->bdf, err);
		if (result)
			return ivs_error_errno(err, -result, "cannot add vector %u", i);
	}
	if (n)
		ivs_peer_allow(peer, IVS_CAP_WAIT);
	else if (info->flags & IVS_INFO_DOORBELL)
		ivs_peer_deny(
			peer, IVS_CAP_WAIT,
			"the guest had no interrupts left for the device: give it more processors");
	return 0;
}

int ivs_driver_open(struct ivs_peer *peer, const char *path, const char *bdf,
		    const struct ivs_peer_options *opts, struct ivs_error *err)
{
	struct ivs_ioc_info info;
	int result;

	peer->name = "driver";
	peer->driver.fd = open(path, O_RDWR | O_CLOEXEC);
	if (peer->driver.fd < 0)
		return explain_open(path, err);
	peer->gone_fd = peer->driver.fd; /* POLLHUP and POLLERR come unasked */
	result = ask(peer, path, &info, err);
	/* The node of a device that has gone may by now be another's. */
	if (!result && bdf && strcmp(info.bdf, bdf) != 0)
		result = just_gone(bdf, err);
	if (!result)
		snprintf(peer->region, sizeof(peer->region), "%.*s", (int)sizeof(info.name) - 1,
			 info.name);
	if (!result)
		result = map_all(peer, &info, err);
	if (!result)
		result = ivs_pci_registers_open(peer, info.bdf, info.flags & IVS_INFO_DOORBELL,
						(uint32_t)info.position, err);
	if (!result)
		result = add_vectors(peer, &info, opts->vectors_n, err);
	return result;
}

void ivs_driver_close(struct ivs_peer *peer)
{
	if (peer->driver.status)
		munmap((void *)peer->driver.status, (size_t)sysconf(_SC_PAGESIZE));
	ivs_fd_close(&peer->driver.fd);
}

bool ivs_driver_gone(const struct ivs_peer *peer)
{
	return peer->driver.status && peer->driver.status->gone;
}

int ivs_driver_ring(struct ivs_peer *peer, unsigned int id, unsigned int vector)
{
	struct ivs_ioc_ring ring = {.peer = id, .vector = vector};
	int result = ivs_peer_roster_check(peer, id, vector);

	if (peer->registers)
		ivs_pci_registers_ring(peer, id, vector);
	else if (ioctl(peer->driver.fd, IVS_IOC_RING, &ring))
		return errno == ENODEV ? IVS_PEER_E_DEVICE_GONE : -errno;
	return result;
}

static int open_driver(struct ivs_peer *peer, const char *name, const struct ivs_peer_options *opts,
		       struct ivs_error *err)
{
	char path[4096];

	if (snprintf(path, sizeof(path), PREFIX "%s", name) >= (int)sizeof(path))
		return ivs_error_set(err, IVS_PEER_E_ADDRESS, "the device's path is too long");
	return ivs_driver_open(peer, path, NULL, opts, err);
}

static void close_driver(struct ivs_peer *peer)
{
	if (peer->registers)
		munmap((void *)peer->registers, peer->registers_len);
	ivs_driver_close(peer);
}

const struct ivs_transport_ops ivs_transport_driver = {
	.open = open_driver,
	.close = close_driver,
	.ring = ivs_driver_ring,
	.gone = ivs_driver_gone,
};
