/* SPDX-License-Identifier: BSD-3-Clause */
/* The transport for a guest without a driver: maps the BARs through sysfs, without interrupts. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/access.h"
#include "base/error.h"
#include "base/fd.h"
#include "peer/bar0.h"
#include "peer/pci_advice.h"
#include "peer/pci_device.h"

#define START_IOMMU                                                                                \
	"start QEMU with -device intel-iommu,intremap=on,caching-mode=on and "                     \
	"kernel-irqchip=split"
#define WHY_LEN (3 * IVS_PCI_ADVICE_LEN + 256)

/**
 * struct sysfs_state - private data of the transport
 * @why_no_wait, @why_not_cached: why capabilities are missing
 */
struct sysfs_state {
	struct ivs_bar0 bar0;
	char why_no_wait[WHY_LEN];
	char why_not_cached[WHY_LEN];
};

static struct sysfs_state *sysfs_state(const struct ivs_peer *peer)
{
	return peer->state;
}

/* EPERM has only one cause: a kernel in lockdown mode does not map resource files. */
static int sysfs_locked_down(const struct ivs_pci_device *device, struct ivs_error *err)
{
	char vfio[IVS_PCI_ADVICE_LEN];

	if (device->has_iommu)
		return ivs_error_set(err, -EPERM,
				     "the kernel is locked down (Secure Boot) and does not map the "
				     "device at %s through sysfs: bind it to vfio-pci: %s",
				     device->bdf, ivs_pci_advise_bind(device, "vfio-pci", vfio));
	return ivs_error_set(err, -EPERM,
			     "the kernel is locked down (Secure Boot) and does not map the device "
			     "at %s through sysfs: " START_IOMMU ", for vfio-pci",
			     device->bdf);
}

static int sysfs_error(const struct ivs_pci_device *device, const char *file, struct ivs_error *err)
{
	char advice[IVS_PCI_ADVICE_LEN];
	char why[IVS_ACCESS_TEXT_LEN];
	int errnum = errno;
	char path[128];

	if (errnum == EINVAL && *device->driver)
		return ivs_error_set(
			err, -errnum,
			"the driver %s holds the device at %s and does not let programs map it: %s",
			device->driver, device->bdf,
			ivs_pci_advise_bind(device, IVS_OUR_DRIVER, advice));
	if (errnum == EPERM)
		return sysfs_locked_down(device, err);
	ivs_pci_device_path(device, file, path, sizeof(path));
	if (errnum == EACCES)
		return ivs_error_set(err, -errnum, "cannot open %s: Permission denied: %s", path,
				     ivs_access_explain(path, R_OK | W_OK, why));
	return ivs_error_errno(err, errnum, "cannot map %s", path);
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
		return; /* report no error here: mapping the BARs will fail and report one */
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
	int result;

	if (fd < 0)
		return fd;
	result = ivs_peer_map(peer, fd, 0, device->memory_len, err);
	if (!result)
		return 0;
	errno = -result;
	return sysfs_error(device, "resource2", err);
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

/* Say why there are no interrupts, why the memory is not cached, and how to get both. */
static void sysfs_deny(struct ivs_peer *peer, const struct ivs_pci_device *device)
{
	struct sysfs_state *state = sysfs_state(peer);
	char holder[IVS_PCI_ADVICE_LEN];
	char ours[IVS_PCI_ADVICE_LEN];
	char vfio[IVS_PCI_ADVICE_LEN];

	ivs_pci_holder(device, holder);
	ivs_pci_advise_bind(device, IVS_OUR_DRIVER, ours);
	ivs_pci_advise_bind(device, "vfio-pci", vfio);
	if (device->has_iommu)
		snprintf(state->why_no_wait, WHY_LEN,
			 "%sinterrupts need our driver (%s), or vfio (%s)", holder, ours, vfio);
	else
		snprintf(state->why_no_wait, WHY_LEN,
			 "%sinterrupts need our driver (%s), or vfio, for which this guest has no "
			 "IOMMU: " START_IOMMU,
			 holder, ours);
	snprintf(state->why_not_cached, WHY_LEN,
		 "%ssysfs maps the memory uncached, which is 20 times slower on machines that "
		 "honour it (AMD; Intel with an assigned GPU): use our driver (%s)",
		 holder, ours);
	ivs_peer_deny(peer, IVS_CAP_WAIT, state->why_no_wait);
	ivs_peer_deny(peer, IVS_CAP_CACHED, state->why_not_cached);
}

int ivs_sysfs_open(struct ivs_peer *peer, const struct ivs_pci_device *device,
		   const struct ivs_peer_options *opts, struct ivs_error *err)
{
	int result = ivs_peer_set_transport(peer, &sysfs_ops, err);
	char holder[IVS_PCI_ADVICE_LEN];
	char advice[IVS_PCI_ADVICE_LEN];

	if (result)
		return result;
	if (opts->vectors_n)
		return ivs_error_set(err, IVS_PEER_E_VECTOR,
				     "%u vectors were requested, for which the device at %s needs "
				     "a driver: %s%s",
				     opts->vectors_n, device->bdf, ivs_pci_holder(device, holder),
				     ivs_pci_advise_bind(device, IVS_OUR_DRIVER, advice));
	sysfs_deny(peer, device);
	sysfs_enable(device);
	result = sysfs_map_registers(peer, device, err);
	if (!result)
		result = sysfs_map_memory(peer, device, err);
	if (!result)
		result = ivs_bar0_allow(peer, device->bdf, device->has_msix,
					ivs_bar0_id(&sysfs_state(peer)->bar0), err);
	return result;
}
