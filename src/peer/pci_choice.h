/* SPDX-License-Identifier: BSD-3-Clause */
/* Chooses the device that an address names, or lists the devices in an error. */
#ifndef IVS_PEER_PCI_CHOICE_H
#define IVS_PEER_PCI_CHOICE_H

#include "peer/pci_device.h"

/** ivs_pci_list() - format addresses and properties of as many devices as fit. Return: @out. */
const char *ivs_pci_list(const struct ivs_pci_device *devices, unsigned int n, char *out,
			 size_t out_len);

/** ivs_pci_none() - report that this machine has no ivshmem device. Return: IVS_PEER_E_ABSENT. */
int ivs_pci_none(struct ivs_error *err);

/**
 * ivs_pci_choose() - find the device that @name selects: see ivs_pci_devices_find()
 *
 * If @name selects no device, or several, the error lists the devices.
 *
 * Return: 0, IVS_PEER_E_ABSENT, IVS_PEER_E_AMBIGUOUS.
 */
IVS_MUST_USE int ivs_pci_choose(const char *name, struct ivs_pci_device *out,
				struct ivs_error *err);

#endif
