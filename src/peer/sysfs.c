/* SPDX-License-Identifier: BSD-3-Clause */
/* The transport for a guest without a driver: maps the BARs through sysfs. No interrupts. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "peer/bar0.h"
#include "peer/pci_device.h"

/** struct sysfs_state - private data of the transport */
struct sysfs_state {
	struct ivs_bar0 bar0;
};

static struct sysfs_state *sysfs_state(const struct ivs_peer *peer)
{
	return peer->state;
}

static int sysfs_error(const struct ivs_pci_device *device, const char *file, struct ivs_error *err)
{
	int errnum = errno;

	if (errnum == EINVAL && *device->driver)
		return ivs_error_set(err, -errnum,
				     "the driver %s holds the device at %s: unbind it (echo %s > "
				     "/sys/bus/pci/devices/%s/driver/unbind)",
				     device->driver, device->bdf, device->bdf, device->bdf);
	if (errnum == EPERM)
		return ivs_error_set(err, -errnum,
				     "the kernel is locked down (Secure Boot) and does not map %s: "
				     "bind the device to vfio-pci",
				     file);
	if (errnum == EACCES)
		return ivs_error_set(
			err, -errnum,
			"only root may open %s of the device at %s: run as root, or let a udev "
			"rule change its group",
			file, device->bdf);
	return ivs_error_errno(err, errnum, "cannot map %s of the device at %s", file, device->bdf);
}

static int sysfs_open_resource(const struct ivs_pci_device *device, const char *file,
			       struct ivs_error *err)
{
	char path[128];
	int fd;

	ivs_pci_device_path(device, file, path, sizeof(path));
	fd = open(path, O_RDWR | O_CLOEXEC);
	return fd < 0 ? sysfs_error(device, file, err) : fd;
}

/* A hot-plugged device does not respond until it is enabled. */
static void sysfs_enable(const struct ivs_pci_device *device)
{
	IVS_OWNED_FD fd = -1;
	char path[128];

	ivs_pci_device_path(device, "enable", path, sizeof(path));
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd >= 0 && write(fd, "1", 1) != 1)
		return; /* no error here: mapping the BARs will fail and report one */
}

static int sysfs_map_registers(struct ivs_peer *peer, const struct ivs_pci_device *device,
			       struct ivs_error *err)
{
	IVS_OWNED_FD fd = sysfs_open_resource(device, "resource0", err);

	if (fd < 0)
		return fd;
	if (ivs_bar0_map(&sysfs_state(peer)->bar0, fd, 0))
		return sysfs_error(device, "resource0", err);
	return 0;
}

static int sysfs_map_memory(struct ivs_peer *peer, const struct ivs_pci_device *device,
			    struct ivs_error *err)
{
	IVS_OWNED_FD fd = sysfs_open_resource(device, "resource2", err);
	void *memory;

	if (fd < 0)
		return fd;
	memory = mmap(NULL, device->memory_len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (memory == MAP_FAILED)
		return sysfs_error(device, "resource2", err);
	peer->memory = memory;
	peer->memory_len = device->memory_len;
	return 0;
}

static void sysfs_close(struct ivs_peer *peer)
{
	ivs_bar0_unmap(&sysfs_state(peer)->bar0);
}

static int sysfs_doorbell(struct ivs_peer *peer, struct ivs_doorbell *out)
{
	ivs_bar0_doorbell(&sysfs_state(peer)->bar0, out);
	return 0;
}

static const struct ivs_transport_ops sysfs_ops = {
	.name = "sysfs",
	.state_len = sizeof(struct sysfs_state),
	.close = sysfs_close,
	.doorbell = sysfs_doorbell,
};

int ivs_sysfs_open(struct ivs_peer *peer, const struct ivs_pci_device *device,
		   const struct ivs_peer_options *opts, struct ivs_error *err)
{
	int result = ivs_peer_set_transport(peer, &sysfs_ops, err);

	if (result)
		return result;
	if (opts->vectors_n)
		return ivs_error_set(
			err, IVS_PEER_E_VECTOR,
			"the device at %s is bound neither to ivshmem nor to vfio-pci, so it has "
			"no vectors here, and %u are wanted",
			device->bdf, opts->vectors_n);
	ivs_peer_deny(
		peer, IVS_CAP_WAIT,
		device->has_iommu
			? "interrupts need our driver (modprobe ivshmem), or vfio: load vfio-pci "
			  "and bind the device to it (echo vfio-pci > driver_override, then echo "
			  "its address > /sys/bus/pci/drivers_probe)"
			: "interrupts need our driver (modprobe ivshmem), or vfio, for which this "
			  "guest has no IOMMU: start QEMU with -device "
			  "intel-iommu,intremap=on and kernel-irqchip=split");
	ivs_peer_deny(
		peer, IVS_CAP_CACHED,
		"sysfs maps the memory uncached, which is 20 times slower on machines that honour "
		"it (AMD; Intel with an assigned GPU): load our driver (modprobe ivshmem)");
	sysfs_enable(device);
	result = sysfs_map_registers(peer, device, err);
	if (!result)
		result = sysfs_map_memory(peer, device, err);
	if (!result)
		result = ivs_bar0_allow(peer, device->bdf, device->has_msix,
					ivs_bar0_id(&sysfs_state(peer)->bar0), err);
	return result;
}
