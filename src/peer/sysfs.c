/* SPDX-License-Identifier: BSD-3-Clause */
/* The way in that needs no driver: the BARs as files in sysfs. Memory and ringing, no interrupts.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "ivshmem/registers.h"
#include "peer/pci_drivers.h"

static int explain(const struct ivs_pci_device *device, const char *file, struct ivs_error *err)
{
	int number = errno;

	if (number == EINVAL && *device->driver)
		return ivs_error_set(err, -number,
				     "the driver %s holds the device at %s: unbind it (echo %s > "
				     "/sys/bus/pci/devices/%s/driver/unbind)",
				     device->driver, device->bdf, device->bdf, device->bdf);
	if (number == EPERM)
		return ivs_error_set(err, -number,
				     "the kernel is locked down (Secure Boot) and does not map %s: "
				     "bind the device to vfio-pci",
				     file);
	if (number == EACCES)
		return ivs_error_set(
			err, -number,
			"%s of the device at %s is for root alone: run as root, or give "
			"it to your group with a udev rule",
			file, device->bdf);
	return ivs_error_errno(err, number, "cannot map %s of the device at %s", file, device->bdf);
}

static int open_resource(const struct ivs_pci_device *device, const char *file,
			 struct ivs_error *err)
{
	char path[128];
	int fd;

	ivs_pci_device_path(device, file, path, sizeof(path));
	fd = open(path, O_RDWR | O_CLOEXEC);
	return fd < 0 ? explain(device, file, err) : fd;
}

/* A hot-plugged device answers only when it has been enabled. */
static void enable(const struct ivs_pci_device *device)
{
	IVS_OWNED_FD fd = -1;
	char path[128];

	ivs_pci_device_path(device, "enable", path, sizeof(path));
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd >= 0 && write(fd, "1", 1) != 1)
		return; /* then mapping tells the reason */
}

static int map_registers(struct ivs_peer *peer, const struct ivs_pci_device *device,
			 struct ivs_error *err)
{
	IVS_OWNED_FD fd = open_resource(device, "resource0", err);
	void *registers;

	if (fd < 0)
		return fd;
	peer->registers_len = (size_t)sysconf(_SC_PAGESIZE);
	registers = mmap(NULL, peer->registers_len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (registers == MAP_FAILED)
		return explain(device, "resource0", err);
	peer->registers = registers;
	return 0;
}

static int map_memory(struct ivs_peer *peer, const struct ivs_pci_device *device,
		      struct ivs_error *err)
{
	IVS_OWNED_FD fd = open_resource(device, "resource2", err);
	void *memory;

	if (fd < 0)
		return fd;
	memory = mmap(NULL, device->memory_len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (memory == MAP_FAILED)
		return explain(device, "resource2", err);
	peer->memory = memory;
	peer->memory_len = device->memory_len;
	return 0;
}

int ivs_sysfs_open(struct ivs_peer *peer, const struct ivs_pci_device *device,
		   const struct ivs_peer_options *opts, struct ivs_error *err)
{
	int result;

	peer->name = "sysfs";
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
		"sysfs maps the memory uncached, which some machines obey (AMD; Intel with an "
		"assigned GPU) and are 20 times slower: load our driver (modprobe ivshmem)");
	enable(device);
	result = map_registers(peer, device, err);
	if (!result)
		result = map_memory(peer, device, err);
	if (!result)
		result = ivs_pci_registers_open(peer, device->bdf, device->has_msix,
						ivs_pci_registers_id(peer), err);
	return result;
}
