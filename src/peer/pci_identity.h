/* SPDX-License-Identifier: BSD-3-Clause */
/* Which region a device says that it has: R-9, read from configuration space. Pure. */
#ifndef IVS_PEER_PCI_IDENTITY_H
#define IVS_PEER_PCI_IDENTITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ivshmem/registers.h"

/**
 * ivs_pci_identity() - find the capability, and the name in it
 * @config: any bytes; from the beginning of configuration space
 * @len:    of them there are so many: who is not root gets 64
 * @name:   "" if there is none
 *
 * Return: whether there is such a capability, as it has to be.
 */
bool ivs_pci_identity(const uint8_t *config, size_t len, char name[IVS_PCI_CAP_NAME_MAX + 1]);

#endif
