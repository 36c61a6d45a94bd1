/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What to do about a guest's device that cannot be used as wanted. Each text fits the state that
 * sysfs shows: which driver holds the device, which drivers are loaded or installed.
 */
#ifndef IVS_PEER_PCI_ADVICE_H
#define IVS_PEER_PCI_ADVICE_H

#include "peer/pci_device.h"

#define IVS_PCI_ADVICE_LEN 400
#define IVS_OUR_DRIVER "ivshmem"

/**
 * ivs_pci_advise_bind() - the commands that bind @device to @driver, "ivshmem" or "vfio-pci"
 *
 * The result is, for example, "modprobe ivshmem", if no driver holds the device.
 *
 * Return: @out.
 */
const char *ivs_pci_advise_bind(const struct ivs_pci_device *device, const char *driver,
				char out[IVS_PCI_ADVICE_LEN]);

/**
 * ivs_pci_holder() - write "the driver NAME holds the device: ", or "" if no driver holds it.
 * Return: @out.
 */
const char *ivs_pci_holder(const struct ivs_pci_device *device, char out[IVS_PCI_ADVICE_LEN]);

/** ivs_pci_driver_is_installed() - whether modprobe(8) finds our driver for a kernel's version */
bool ivs_pci_driver_is_installed(const char *kernel);

/** ivs_pci_kernel_has_no_msi() - whether this kernel was started with the parameter pci=nomsi */
bool ivs_pci_kernel_has_no_msi(void);

/** ivs_pci_find_bridge() - find the bridge that @device is behind. Return: whether there is one. */
bool ivs_pci_find_bridge(const struct ivs_pci_device *device, char bridge[IVS_BDF_LEN]);

/** ivs_pci_no_address() - report that BAR 2 has no address. Return: IVS_PEER_E_ABSENT. */
int ivs_pci_no_address(const struct ivs_pci_device *device, struct ivs_error *err);

#endif
