/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The way in through vfio-pci: memory, registers and interrupts, each MSI-X vector an eventfd.
 * Linux: Documentation/driver-api/vfio.rst, include/uapi/linux/vfio.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "ivshmem/registers.h"
#include "peer/pci_drivers.h"

static int open_group(struct ivs_peer *peer, const struct ivs_pci_device *device,
		      struct ivs_error *err)
{
	struct vfio_group_status status = {.argsz = sizeof(status)};
	char target[256];
	char path[128];
	ssize_t n;

	ivs_pci_device_path(device, "iommu_group", path, sizeof(path));
	n = readlink(path, target, sizeof(target) - 1);
	if (n < 0)
		return ivs_error_errno(err, errno, "the device at %s is in no IOMMU group",
				       device->bdf);
	target[n] = 0;
	snprintf(path, sizeof(path), "/dev/vfio%s", strrchr(target, '/'));
	peer->vfio.group = open(path, O_RDWR | O_CLOEXEC);
	if (peer->vfio.group < 0 && errno == EBUSY)
		return ivs_error_set(err, -EBUSY, "another process has the device at %s open",
				     device->bdf);
	if (peer->vfio.group < 0)
		return ivs_error_errno(err, errno, "cannot open %s", path);
	if (ioctl(peer->vfio.group, VFIO_GROUP_GET_STATUS, &status))
		return ivs_error_errno(err, errno, "cannot ask %s", path);
	if (!(status.flags & VFIO_GROUP_FLAGS_VIABLE))
		return ivs_error_set(
			err, -EBUSY,
			"other devices in the IOMMU group of %s have drivers: bind all "
			"to vfio-pci, or put the device on a bus of its own",
			device->bdf);
	return 0;
}

static int open_device(struct ivs_peer *peer, const struct ivs_pci_device *device,
		       struct ivs_error *err)
{
	int result;

	peer->vfio.container = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);
	if (peer->vfio.container < 0)
		return ivs_error_errno(err, errno, "cannot open /dev/vfio/vfio");
	if (ioctl(peer->vfio.container, VFIO_GET_API_VERSION) != VFIO_API_VERSION)
		return ivs_error_set(err, -ENOTSUP, "the kernel's vfio has another version");
	result = open_group(peer, device, err);
	if (result)
		return result;
	if (ioctl(peer->vfio.group, VFIO_GROUP_SET_CONTAINER, &peer->vfio.container))
		return ivs_error_errno(err, errno, "cannot use the IOMMU group of %s", device->bdf);
	if (ioctl(peer->vfio.container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU))
		return ivs_error_errno(err, errno,
				       "cannot use the IOMMU (is vfio_iommu_type1 loaded?)");
	peer->vfio.device = ioctl(peer->vfio.group, VFIO_GROUP_GET_DEVICE_FD, device->bdf);
	if (peer->vfio.device < 0)
		return ivs_error_errno(err, errno, "cannot open the device at %s", device->bdf);
	return 0;
}

static int get_region(const struct ivs_peer *peer, uint32_t index, struct vfio_region_info *info,
		      struct ivs_error *err)
{
	*info = (struct vfio_region_info){.argsz = sizeof(*info), .index = index};
	if (ioctl(peer->vfio.device, VFIO_DEVICE_GET_REGION_INFO, info))
		return ivs_error_errno(err, errno, "cannot ask the device for its region %u",
				       index);
	return 0;
}

static int map_registers(struct ivs_peer *peer, struct ivs_error *err)
{
	struct vfio_region_info info;
	void *registers;
	int result;

	result = get_region(peer, VFIO_PCI_BAR0_REGION_INDEX, &info, err);
	if (result)
		return result;
	peer->registers_len = (size_t)sysconf(_SC_PAGESIZE);
	registers = mmap(NULL, peer->registers_len, PROT_READ | PROT_WRITE, MAP_SHARED,
			 peer->vfio.device, (off_t)info.offset);
	if (registers == MAP_FAILED)
		return ivs_error_errno(err, errno, "cannot map the device's registers");
	peer->registers = registers;
	return 0;
}

static int map_memory(struct ivs_peer *peer, struct ivs_error *err)
{
	struct vfio_region_info info;
	int result;

	result = get_region(peer, VFIO_PCI_BAR2_REGION_INDEX, &info, err);
	if (result)
		return result;
	return ivs_peer_map(peer, peer->vfio.device, info.offset, info.size, err);
}

/* MSI-X messages are memory writes by the device: without bus mastering no interrupt arrives. */
static int set_bus_master(const struct ivs_peer *peer, struct ivs_error *err)
{
	struct vfio_region_info info;
	uint16_t command;
	int result;

	result = get_region(peer, VFIO_PCI_CONFIG_REGION_INDEX, &info, err);
	if (result)
		return result;
	if (pread(peer->vfio.device, &command, sizeof(command), (off_t)info.offset + PCI_COMMAND) !=
	    sizeof(command))
		return ivs_error_errno(err, errno, "cannot read the device's command register");
	command |= PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
	if (pwrite(peer->vfio.device, &command, sizeof(command),
		   (off_t)info.offset + PCI_COMMAND) != sizeof(command))
		return ivs_error_errno(err, errno, "cannot write the device's command register");
	return 0;
}

static int add_eventfds(struct ivs_peer *peer, unsigned int n, struct ivs_error *err)
{
	for (unsigned int i = 0; i < n; i++) {
		IVS_OWNED_FD fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		int result;

		if (fd < 0)
			return ivs_error_errno(err, errno, "cannot make an eventfd");
		result = ivs_peer_add_vector(peer, &fd);
		if (result)
			return ivs_error_errno(err, -result, "cannot add a vector");
	}
	return 0;
}

static int give_eventfds(const struct ivs_peer *peer, uint32_t index, const int *fds,
			 unsigned int fds_n)
{
	size_t fds_len = fds_n * sizeof(int);
	struct vfio_irq_set *set = calloc(1, sizeof(*set) + fds_len);
	int result = 0;

	if (!set)
		return -ENOMEM;
	set->argsz = (uint32_t)(sizeof(*set) + fds_len);
	set->flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER;
	set->index = index;
	set->count = fds_n;
	memcpy(set->data, fds, fds_len);
	if (ioctl(peer->vfio.device, VFIO_DEVICE_SET_IRQS, set))
		result = -errno;
	free(set);
	return result;
}

/* The kernel cannot take an unplugged device away from us; it asks. Older ones do not. */
static int listen_for_request(struct ivs_peer *peer, struct ivs_error *err)
{
	struct vfio_irq_info info = {.argsz = sizeof(info), .index = VFIO_PCI_REQ_IRQ_INDEX};
	int result;

	if (ioctl(peer->vfio.device, VFIO_DEVICE_GET_IRQ_INFO, &info) || !info.count)
		return 0;
	peer->vfio.request = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (peer->vfio.request < 0)
		return ivs_error_errno(err, errno, "cannot make an eventfd");
	result = give_eventfds(peer, VFIO_PCI_REQ_IRQ_INDEX, &peer->vfio.request, 1);
	if (result)
		return ivs_error_errno(err, -result, "cannot listen for the device's end");
	peer->gone_fd = peer->vfio.request;
	peer->gone_events = POLLIN;
	return 0;
}

static int set_vectors(struct ivs_peer *peer, unsigned int wanted_n, struct ivs_error *err)
{
	struct vfio_irq_info info = {.argsz = sizeof(info), .index = VFIO_PCI_MSIX_IRQ_INDEX};
	int result;

	if (ioctl(peer->vfio.device, VFIO_DEVICE_GET_IRQ_INFO, &info))
		return ivs_error_errno(err, errno, "cannot ask the device for its interrupts");
	if (wanted_n > info.count)
		return ivs_error_set(err, IVS_PEER_E_VECTOR,
				     "the device has %u vectors, not %u: start QEMU with "
				     "ivshmem-doorbell,vectors=%u",
				     info.count, wanted_n, wanted_n);
	if (!info.count)
		return 0; /* ivshmem-plain */
	result = set_bus_master(peer, err);
	if (!result)
		result = add_eventfds(peer, wanted_n ? wanted_n : info.count, err);
	if (result)
		return result;
	result = give_eventfds(peer, VFIO_PCI_MSIX_IRQ_INDEX, peer->vectors, peer->vectors_n);
	if (result)
		return ivs_error_errno(err, -result, "cannot set the device's %u interrupts",
				       peer->vectors_n);
	ivs_peer_allow(peer, IVS_CAP_WAIT);
	return 0;
}

int ivs_vfio_open(struct ivs_peer *peer, const struct ivs_pci_device *device,
		  const struct ivs_peer_options *opts, struct ivs_error *err)
{
	int result;

	peer->name = "vfio";
	ivs_peer_deny(peer, IVS_CAP_CACHED,
		      "vfio maps the memory uncached, which some machines obey (AMD; Intel with an "
		      "assigned GPU) and are 20 times slower: bind the device to our driver "
		      "(ivshmem)");
	result = open_device(peer, device, err);
	if (!result)
		result = map_registers(peer, err);
	if (!result)
		result = map_memory(peer, err);
	if (!result)
		result = ivs_pci_registers_open(peer, device->bdf, device->has_msix,
						ivs_pci_registers_id(peer), err);
	if (!result)
		result = set_vectors(peer, opts->vectors_n, err);
	if (!result)
		result = listen_for_request(peer, err);
	return result;
}
