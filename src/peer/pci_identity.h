/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Finds capabilities in a device's configuration space, and the region's name in one of them.
 * Makes no system calls.
 */
#ifndef IVS_PEER_PCI_IDENTITY_H
#define IVS_PEER_PCI_IDENTITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ivshmem/registers.h"

/**
 * ivs_pci_capability() - find a capability in the list of a device
 * @config: the beginning of configuration space; not trusted
 * @len:    length of @config
 * @skip:   number of capabilities with this id to skip
 *
 * Return: its offset; 0 if there is none within @len.
 */
size_t ivs_pci_capability(const uint8_t *config, size_t len, uint8_t id, unsigned int skip);

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
