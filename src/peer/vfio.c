/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The transport for a guest with vfio-pci: maps memory and registers, and has the kernel signal an
 * eventfd for each MSI-X vector. Sources: Linux's Documentation/driver-api/vfio.rst and
 * include/uapi/linux/vfio.h.
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

#include "base/access.h"
#include "base/error.h"
#include "base/fd.h"
#include "peer/bar0.h"
#include "peer/pci_advice.h"
#include "peer/pci_device.h"

#define WHY_LEN (IVS_PCI_ADVICE_LEN + 200)

/**
 * struct vfio_state - private data of the transport
 * @why_not_cached: why the memory is not cached
 * @request_fd: an eventfd, readable when the kernel wants the device released; -1: unsupported
 */
struct vfio_state {
	int container_fd;
	int group_fd;
	int device_fd;
	int request_fd;
	struct ivs_bar0 bar0;
	char why_not_cached[WHY_LEN];
};

static struct vfio_state *vfio_state(const struct ivs_peer *peer)
{
	return peer->state;
}

static int vfio_open_group(struct ivs_peer *peer, const struct ivs_pci_device *device,
			   struct ivs_error *err)
{
	struct vfio_group_status status = {.argsz = sizeof(status)};
	char why[IVS_ACCESS_TEXT_LEN];
	char target[256];
	char path[128];
	ssize_t n;

	ivs_pci_device_path(device, "iommu_group", path, sizeof(path));
	n = readlink(path, target, sizeof(target) - 1);
	if (n < 0)
		return ivs_error_errno(err, errno, "the device at %s is not in an IOMMU group",
				       device->bdf);
	target[n] = 0;
	snprintf(path, sizeof(path), "/dev/vfio%s", strrchr(target, '/'));
	vfio_state(peer)->group_fd = open(path, O_RDWR | O_CLOEXEC);
	if (vfio_state(peer)->group_fd < 0 && errno == EBUSY)
		return ivs_error_set(err, -EBUSY, "another process has the device at %s open",
				     device->bdf);
	if (vfio_state(peer)->group_fd < 0 && errno == EACCES)
		return ivs_error_set(err, -EACCES, "cannot open %s: Permission denied: %s", path,
				     ivs_access_explain(path, R_OK | W_OK, why));
	if (vfio_state(peer)->group_fd < 0)
		return ivs_error_errno(err, errno, "cannot open %s", path);
	if (ioctl(vfio_state(peer)->group_fd, VFIO_GROUP_GET_STATUS, &status))
		return ivs_error_errno(err, errno, "cannot query %s", path);
	if (!(status.flags & VFIO_GROUP_FLAGS_VIABLE))
		return ivs_error_set(
			err, -EBUSY,
			"other devices in the IOMMU group of %s have drivers: bind all "
			"to vfio-pci, or put the device on a bus of its own",
			device->bdf);
	return 0;
}

static int vfio_open_device(struct ivs_peer *peer, const struct ivs_pci_device *device,
			    struct ivs_error *err)
{
	int result;

	vfio_state(peer)->container_fd = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);
	if (vfio_state(peer)->container_fd < 0)
		return ivs_error_errno(err, errno, "cannot open /dev/vfio/vfio");
	if (ioctl(vfio_state(peer)->container_fd, VFIO_GET_API_VERSION) != VFIO_API_VERSION)
		return ivs_error_set(err, -ENOTSUP, "the kernel's vfio has a different version");
	result = vfio_open_group(peer, device, err);
	if (result)
		return result;
	if (ioctl(vfio_state(peer)->group_fd, VFIO_GROUP_SET_CONTAINER,
		  &vfio_state(peer)->container_fd))
		return ivs_error_errno(err, errno, "cannot use the IOMMU group of %s", device->bdf);
	if (ioctl(vfio_state(peer)->container_fd, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU)) {
		int errnum = errno;

		return ivs_error_set(
			err, -errnum, "cannot use the IOMMU: %s%s", strerrordesc_np(errnum),
			access("/sys/module/vfio_iommu_type1", F_OK) ? ": modprobe vfio_iommu_type1"
								     : "");
	}
	vfio_state(peer)->device_fd = ioctl(vfio_state(peer)->group_fd, VFIO_GROUP_GET_DEVICE_FD,
					    device->bdf);
	if (vfio_state(peer)->device_fd < 0)
		return ivs_error_errno(err, errno, "cannot open the device at %s", device->bdf);
	return 0;
}

static int vfio_get_bar(const struct ivs_peer *peer, uint32_t index, struct vfio_region_info *info,
			struct ivs_error *err)
{
	*info = (struct vfio_region_info){.argsz = sizeof(*info), .index = index};
	if (ioctl(vfio_state(peer)->device_fd, VFIO_DEVICE_GET_REGION_INFO, info))
		return ivs_error_errno(err, errno, "cannot query region %u of the device", index);
	return 0;
}

static int vfio_map_registers(struct ivs_peer *peer, struct ivs_error *err)
{
	struct vfio_region_info info;
	int result;

	result = vfio_get_bar(peer, VFIO_PCI_BAR0_REGION_INDEX, &info, err);
	if (result)
		return result;
	result = ivs_bar0_map(&vfio_state(peer)->bar0, vfio_state(peer)->device_fd, info.offset);
	return result ? ivs_error_errno(err, -result, "cannot map the device's registers") : 0;
}

static int vfio_map_memory(struct ivs_peer *peer, struct ivs_error *err)
{
	struct vfio_region_info info;
	int result;

	result = vfio_get_bar(peer, VFIO_PCI_BAR2_REGION_INDEX, &info, err);
	if (result)
		return result;
	return ivs_peer_map(peer, vfio_state(peer)->device_fd, info.offset, info.size, err);
}

/* MSI-X messages are memory writes by the device, so they require bus mastering. */
static int vfio_set_bus_master(const struct ivs_peer *peer, struct ivs_error *err)
{
	struct vfio_region_info info;
	uint16_t command;
	int result;

	result = vfio_get_bar(peer, VFIO_PCI_CONFIG_REGION_INDEX, &info, err);
	if (result)
		return result;
	if (pread(vfio_state(peer)->device_fd, &command, sizeof(command),
		  (off_t)info.offset + PCI_COMMAND) != sizeof(command))
		return ivs_error_errno(err, errno, "cannot read the device's command register");
	command |= PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
	if (pwrite(vfio_state(peer)->device_fd, &command, sizeof(command),
		   (off_t)info.offset + PCI_COMMAND) != sizeof(command))
		return ivs_error_errno(err, errno, "cannot write the device's command register");
	return 0;
}

static int vfio_add_vectors(struct ivs_peer *peer, unsigned int n, struct ivs_error *err)
{
	for (unsigned int i = 0; i < n; i++) {
		IVS_OWNED_FD fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		int result;

		if (fd < 0)
			return ivs_error_errno(err, errno, "cannot create an eventfd");
		result = ivs_peer_add_vector(peer, &fd);
		if (result)
			return ivs_error_errno(err, -result, "cannot add a vector");
	}
	return 0;
}

static int vfio_set_irqs(const struct ivs_peer *peer, uint32_t index, const int *fds,
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
	if (ioctl(vfio_state(peer)->device_fd, VFIO_DEVICE_SET_IRQS, set))
		result = -errno;
	free(set);
	return result;
}

/*
 * vfio cannot revoke a device that is in use. When the device is unplugged, the kernel signals the
 * REQ interrupt and waits until the device is closed. Older kernels lack this interrupt.
 */
static int vfio_watch_request(struct ivs_peer *peer, struct ivs_error *err)
{
	struct vfio_irq_info info = {.argsz = sizeof(info), .index = VFIO_PCI_REQ_IRQ_INDEX};
	int result;

	if (ioctl(vfio_state(peer)->device_fd, VFIO_DEVICE_GET_IRQ_INFO, &info) || !info.count)
		return 0;
	vfio_state(peer)->request_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (vfio_state(peer)->request_fd < 0)
		return ivs_error_errno(err, errno, "cannot create an eventfd");
	result = vfio_set_irqs(peer, VFIO_PCI_REQ_IRQ_INDEX, &vfio_state(peer)->request_fd, 1);
	if (result)
		return ivs_error_errno(err, -result, "cannot watch for the removal of the device");
	peer->gone_fd = vfio_state(peer)->request_fd;
	peer->gone_events = POLLIN;
	return 0;
}

static int vfio_set_vectors(struct ivs_peer *peer, unsigned int wanted_n, struct ivs_error *err)
{
	struct vfio_irq_info info = {.argsz = sizeof(info), .index = VFIO_PCI_MSIX_IRQ_INDEX};
	int result;

	if (ioctl(vfio_state(peer)->device_fd, VFIO_DEVICE_GET_IRQ_INFO, &info))
		return ivs_error_errno(err, errno, "cannot query the interrupts of the device");
	if (wanted_n > info.count)
		return ivs_error_set(err, IVS_PEER_E_VECTOR,
				     "the device has %u vectors, not %u: start QEMU with "
				     "ivshmem-doorbell,vectors=%u",
				     info.count, wanted_n, wanted_n);
	if (!info.count)
		return 0; /* the device is ivshmem-plain */
	result = vfio_set_bus_master(peer, err);
	if (!result)
		result = vfio_add_vectors(peer, wanted_n ? wanted_n : info.count, err);
	if (result)
		return result;
	result = vfio_set_irqs(peer, VFIO_PCI_MSIX_IRQ_INDEX, peer->vectors, peer->vectors_n);
	if (result)
		return ivs_error_errno(err, -result, "cannot set the device's %u interrupts",
				       peer->vectors_n);
	ivs_peer_allow(peer, IVS_CAP_WAIT);
	return 0;
}

static void vfio_close(struct ivs_peer *peer)
{
	struct vfio_state *state = vfio_state(peer);

	ivs_bar0_unmap(&state->bar0);
	ivs_fd_close(&state->device_fd);
	ivs_fd_close(&state->group_fd);
	ivs_fd_close(&state->container_fd);
	ivs_fd_close(&state->request_fd);
}

static int vfio_doorbell(struct ivs_peer *peer, struct ivs_doorbell *out)
{
	ivs_bar0_doorbell(&vfio_state(peer)->bar0, out);
	return 0;
}

static const struct ivs_transport_ops vfio_ops = {
	.name = "vfio",
	.state_len = sizeof(struct vfio_state),
	.close = vfio_close,
	.doorbell = vfio_doorbell,
};

int ivs_vfio_open(struct ivs_peer *peer, const struct ivs_pci_device *device,
		  const struct ivs_peer_options *opts, struct ivs_error *err)
{
	int result = ivs_peer_set_transport(peer, &vfio_ops, err);
	char advice[IVS_PCI_ADVICE_LEN];

	if (result)
		return result;
	*vfio_state(peer) = (struct vfio_state){-1, -1, -1, -1, {0}, ""};
	ivs_pci_advise_bind(device, IVS_OUR_DRIVER, advice);
	snprintf(vfio_state(peer)->why_not_cached, WHY_LEN,
		 "vfio maps the memory uncached, which is 20 times slower on machines that honour "
		 "it (AMD; Intel with an assigned GPU): use our driver (%s)",
		 advice);
	ivs_peer_deny(peer, IVS_CAP_CACHED, vfio_state(peer)->why_not_cached);
	result = vfio_open_device(peer, device, err);
	if (!result)
		result = vfio_map_registers(peer, err);
	if (!result)
		result = vfio_map_memory(peer, err);
	if (!result)
		result = ivs_bar0_allow(peer, device->bdf, device->has_msix,
					ivs_bar0_id(&vfio_state(peer)->bar0), err);
	if (!result)
		result = vfio_set_vectors(peer, opts->vectors_n, err);
	if (!result)
		result = vfio_watch_request(peer, err);
	return result;
}
