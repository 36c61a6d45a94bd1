/* SPDX-License-Identifier: BSD-3-Clause */
/* Finds a guest's ivshmem device in sysfs. */
#ifndef IVS_PEER_PCI_DEVICE_H
#define IVS_PEER_PCI_DEVICE_H

#include "peer/private.h"

/* Room for "0000:00:03.0", even with the longest domain that Linux prints. */
#define IVS_BDF_LEN 24

#define IVS_PCI_BY_NAME "name="
#define IVS_PCI_DEVICES_MAX 32 /* more devices would not fit into an error message */

/**
 * struct ivs_pci_device - an ivshmem device as sysfs shows it
 * @bdf:       PCI address
 * @driver:    the driver that is bound to the device; "" if none
 * @driver_override: the only driver that may bind the device; "" if any may
 * @revision:  0 or 1
 * @memory_len: length of BAR 2 in bytes; 0 if it has no address
 * @has_msix:  the device has BAR 1 and therefore interrupts (ivshmem-doorbell)
 * @has_iommu: the device is in an IOMMU group, which vfio requires
 * @node:      device node, such as "ivshmem0"; "" if the device is not bound to our driver
 * @name:      the region's name, from our driver or configuration space; "" if unknown
 * @name_readable: the name could be read, if there is one
 */
struct ivs_pci_device {
	char bdf[IVS_BDF_LEN];
	char driver[64];
	char driver_override[64];
	unsigned int revision;
	uint64_t memory_len;
	bool has_msix;
	bool has_iommu;
	char node[32];
	char name[IVS_NAME_LEN];
	bool name_readable;
};

/** ivs_pci_device_path() - write the path "/sys/bus/pci/devices/BDF/FILE" to @out */
void ivs_pci_device_path(const struct ivs_pci_device *device, const char *file, char *out,
			 size_t out_len);

/** ivs_pci_ids() - read vendor and device id of the device at @bdf. Return: whether it exists. */
bool ivs_pci_ids(const char *bdf, unsigned int *vendor, unsigned int *device);

/**
 * ivs_pci_devices_find() - find devices, in the order of their addresses
 * @name: the PCI address; "name=" and the name of the region; or "" for all devices
 *
 * Return: their number, which is at most IVS_PCI_DEVICES_MAX.
 */
unsigned int ivs_pci_devices_find(const char *name,
				  struct ivs_pci_device devices[IVS_PCI_DEVICES_MAX]);

#endif
