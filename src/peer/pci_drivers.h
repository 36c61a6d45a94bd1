/* SPDX-License-Identifier: BSD-3-Clause */
/* The drivers through which a guest's device can be used. */
#ifndef IVS_PEER_PCI_DRIVERS_H
#define IVS_PEER_PCI_DRIVERS_H

#include "peer/pci_device.h"

/** ivs_driver_open() - through our driver's node at @path, of the device at @bdf or (NULL) of any */
IVS_MUST_USE int ivs_driver_open(struct ivs_peer *peer, const char *path, const char *bdf,
				 const struct ivs_peer_options *opts, struct ivs_error *err);

/** ivs_driver_close() - also after ivs_driver_open() has failed */
void ivs_driver_close(struct ivs_peer *peer);

/** ivs_driver_ring() - as ivs_peer_ring() */
IVS_MUST_USE int ivs_driver_ring(struct ivs_peer *peer, unsigned int id, unsigned int vector);

/** ivs_driver_gone() - the device is; false on another way in */
bool ivs_driver_gone(const struct ivs_peer *peer);

/** ivs_vfio_open() - through vfio-pci, to which the device is bound */
IVS_MUST_USE int ivs_vfio_open(struct ivs_peer *peer, const struct ivs_pci_device *device,
			       const struct ivs_peer_options *opts, struct ivs_error *err);

/** ivs_sysfs_open() - through the resource files, which need no driver */
IVS_MUST_USE int ivs_sysfs_open(struct ivs_peer *peer, const struct ivs_pci_device *device,
				const struct ivs_peer_options *opts, struct ivs_error *err);

#endif
