/* SPDX-License-Identifier: BSD-3-Clause */
#include "peer/pci_identity.h"

#include <string.h>

/* PCI Local Bus Specification 3.0, 6.1 and 6.7. */
#define STATUS 0x06
#define STATUS_CAPABILITIES 0x10
#define CAPABILITIES 0x34
#define CAPABILITIES_BEGIN 0x40
#define CAPABILITIES_MAX 48 /* the most that fit into 192 bytes; a longer list has a loop */
#define CAP_NEXT 1
#define CAP_VENDOR 0x09

/*
 * If the capability at @at is ours, complete and valid, set @name. Return: whether @name was set.
 */
static bool identity_take(const uint8_t *config, size_t config_len, size_t at,
			  char name[IVS_PCI_CAP_NAME_MAX + 1])
{
	const uint8_t *cap = config + at;
	size_t len;

	if (config_len - at < IVS_PCI_CAP_NAME_OFFSET)
		return false;
	len = cap[IVS_PCI_CAP_LEN_OFFSET];
	if (cap[IVS_PCI_CAP_LAYOUT_OFFSET] != IVS_PCI_CAP_LAYOUT || len < IVS_PCI_CAP_NAME_OFFSET ||
	    len > config_len - at || len - IVS_PCI_CAP_NAME_OFFSET > IVS_PCI_CAP_NAME_MAX ||
	    memcmp(cap + IVS_PCI_CAP_MAGIC_OFFSET, IVS_PCI_CAP_MAGIC, strlen(IVS_PCI_CAP_MAGIC)) !=
		    0)
		return false;
	for (size_t i = IVS_PCI_CAP_NAME_OFFSET; i < len; i++) {
		if (!cap[i] || !strchr(IVS_PCI_CAP_NAME_BYTES, cap[i]))
			return false;
	}
	memcpy(name, cap + IVS_PCI_CAP_NAME_OFFSET, len - IVS_PCI_CAP_NAME_OFFSET);
	name[len - IVS_PCI_CAP_NAME_OFFSET] = 0;
	return true;
}

size_t ivs_pci_capability(const uint8_t *config, size_t len, uint8_t id, unsigned int skip)
{
	size_t at;

	if (len < CAPABILITIES_BEGIN || !(config[STATUS] & STATUS_CAPABILITIES))
		return 0;
	at = config[CAPABILITIES] & ~3U;
	for (unsigned int i = 0; i < CAPABILITIES_MAX; i++) {
		if (at < CAPABILITIES_BEGIN || at + CAP_NEXT >= len)
			return 0;
		if (config[at] == id && !skip--)
			return at;
		at = config[at + CAP_NEXT] & ~3U;
	}
	return 0;
}

bool ivs_pci_identity(const uint8_t *config, size_t len, char name[IVS_PCI_CAP_NAME_MAX + 1])
{
	size_t at;

	*name = 0;
	for (unsigned int i = 0; (at = ivs_pci_capability(config, len, CAP_VENDOR, i)); i++) {
		if (identity_take(config, len, at, name))
			return true;
	}
	return false;
}
