/* SPDX-License-Identifier: BSD-3-Clause */
/* Opens a guest's device by its PCI address, with the transport for the driver it is bound to. */
#include <stdio.h>
#include <string.h>

#include "peer/pci_advice.h"
#include "peer/pci_choice.h"

int ivs_pci_open(struct ivs_peer *peer, const char *name, const struct ivs_peer_options *opts,
		 struct ivs_error *err)
{
	struct ivs_pci_device device;
	char path[64];
	int result;

	result = ivs_pci_choose(name, &device, err);
	if (result)
		return result;
	strcpy(peer->region, device.name);
	snprintf(path, sizeof(path), "/dev/%s", device.node);
	if (*device.node)
		return ivs_driver_open(peer, path, device.bdf, opts, err);
	if (!device.memory_len)
		return ivs_pci_no_address(&device, err);
	if (!strcmp(device.driver, "vfio-pci"))
		return ivs_vfio_open(peer, &device, opts, err);
	return ivs_sysfs_open(peer, &device, opts, err);
}
