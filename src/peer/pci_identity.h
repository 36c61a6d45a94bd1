/* SPDX-License-Identifier: BSD-3-Clause */
/* Finds the region's name in a device's configuration space. Makes no system calls. */
#ifndef IVS_PEER_PCI_IDENTITY_H
#define IVS_PEER_PCI_IDENTITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ivshmem/registers.h"

/**
 * ivs_pci_identity() - find the capability with the region's name
 * @config: the beginning of configuration space; not trusted
 * @len:    length of @config; without root permissions Linux returns only 64 bytes
 * @name:   set to the name, or to "" if there is no valid capability
 *
 * Return: whether there is a valid capability.
 */
bool ivs_pci_identity(const uint8_t *config, size_t len, char name[IVS_PCI_CAP_NAME_MAX + 1]);

#endif
