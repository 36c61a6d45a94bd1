/* SPDX-License-Identifier: BSD-3-Clause */
/* What is known about a guest and its ivshmem devices. A part of facts.h. */
#ifndef IVS_DOCTOR_GUEST_FACTS_H
#define IVS_DOCTOR_GUEST_FACTS_H

#include <stdbool.h>
#include <stdint.h>

#include "ivshmem/driver.h"

#define IVS_DOCTOR_GUEST_LEN 400 /* of texts about a device */
#define IVS_DOCTOR_KERNEL_LEN 256

/* Bits of the command register (PCI Local Bus Specification 3.0, 6.2.2) */
#define IVS_DOCTOR_PCI_MEMORY 2u
#define IVS_DOCTOR_PCI_MASTER 4u

/**
 * enum ivs_doctor_device_knows - facts about a device, beside those of enum ivs_doctor_knows
 * @IVS_DOCTOR_CONFIG: the command register
 * @IVS_DOCTOR_MSIX:   the MSI-X capability, which only root can read
 * @IVS_DOCTOR_DRIVER: what our driver reports
 * @IVS_DOCTOR_ROSTER: whether the region has a roster page, and what the page says of this peer
 */
enum ivs_doctor_device_knows {
	IVS_DOCTOR_CONFIG = 1 << 16,
	IVS_DOCTOR_MSIX = 1 << 17,
	IVS_DOCTOR_DRIVER = 1 << 18,
	IVS_DOCTOR_ROSTER = 1 << 19,
};

/**
 * enum ivs_doctor_module - where our driver's module is
 * @IVS_DOCTOR_MODULE_NONE:     not found
 * @IVS_DOCTOR_MODULE_LOADED:   loaded
 * @IVS_DOCTOR_MODULE_LISTED:   modprobe(8) finds it for the running kernel
 * @IVS_DOCTOR_MODULE_UNLISTED: installed for the running kernel, but depmod(8) was not run
 * @IVS_DOCTOR_MODULE_OTHER:    installed for another kernel only
 */
enum ivs_doctor_module {
	IVS_DOCTOR_MODULE_NONE,
	IVS_DOCTOR_MODULE_LOADED,
	IVS_DOCTOR_MODULE_LISTED,
	IVS_DOCTOR_MODULE_UNLISTED,
	IVS_DOCTOR_MODULE_OTHER,
};

/**
 * struct ivs_doctor_guest - the guest itself
 * @asked:          the user asked about the guest, so it must have a device
 * @module:         where our driver's module is
 * @kernel:         version of the running kernel
 * @other_kernel:   a kernel for which the module is installed, with IVS_DOCTOR_MODULE_OTHER
 * @has_dkms:       DKMS can build the module
 * @is_locked_down: the kernel is locked down
 * @has_no_msi:     the kernel was started with pci=nomsi
 */
struct ivs_doctor_guest {
	bool asked;
	enum ivs_doctor_module module;
	char kernel[IVS_DOCTOR_KERNEL_LEN];
	char other_kernel[IVS_DOCTOR_KERNEL_LEN];
	bool has_dkms;
	bool is_locked_down;
	bool has_no_msi;
};

/**
 * struct ivs_doctor_device - an ivshmem device of the guest
 * @knows:       enum ivs_doctor_knows and enum ivs_doctor_device_knows
 * @bdf:         PCI address
 * @driver:      the driver that is bound; "" if none
 * @driver_override: the only driver that may bind the device; "" if any may
 * @bridge:      address of the bridge that the device is behind; "" if none
 * @bind_ours:   command that binds our driver
 * @bind_vfio:   command that binds vfio-pci
 * @revision:    0 or 1
 * @memory_len:  length of BAR 2 in bytes; 0 if it has no address
 * @has_msix:    the device has BAR 1 and therefore interrupts (ivshmem-doorbell)
 * @has_iommu:   the device is in an IOMMU group
 * @name:        the region's name; "" if it has none
 * @name_known:  the name could be read, if there is one
 * @node:        device node, such as "ivshmem0"; "" if our driver is not bound
 * @node_absent: the node is missing in /dev
 * @node_major, @node_minor: its number
 * @is_denied:   the user may not open the node
 * @denied_why:  why, and what to do about it
 * @command:     the command register in configuration space
 * @msix_n:      size of the MSI-X table
 * @msix_enabled: MSI-X is enabled in the device
 * @vectors_n:   number of vectors that our driver can use
 * @position:    the device's id
 * @is_uncached: programs have mapped the region uncached
 * @has_roster:  the region has a roster page
 * @assigned_n:  number of vectors that the server assigns to this peer; -1: unknown
 */
struct ivs_doctor_device {
	unsigned int knows;
	char bdf[IVS_DRIVER_BDF_LEN];
	char driver[64];
	char driver_override[64];
	char bridge[IVS_DRIVER_BDF_LEN];
	char bind_ours[IVS_DOCTOR_GUEST_LEN];
	char bind_vfio[IVS_DOCTOR_GUEST_LEN];
	unsigned int revision;
	uint64_t memory_len;
	bool has_msix;
	bool has_iommu;
	char name[IVS_NAME_LEN];
	bool name_known;
	char node[32];
	bool node_absent;
	unsigned int node_major;
	unsigned int node_minor;
	bool is_denied;
	char denied_why[IVS_DOCTOR_GUEST_LEN];
	unsigned int command;
	unsigned int msix_n;
	bool msix_enabled;
	unsigned int vectors_n;
	int position;
	bool is_uncached;
	bool has_roster;
	int assigned_n;
};

#endif
