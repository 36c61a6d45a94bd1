/* SPDX-License-Identifier: BSD-3-Clause */
/* libvirt's XML, and virsh commands. */
#ifndef IVS_CONFIG_LIBVIRT_H
#define IVS_CONFIG_LIBVIRT_H

#include "config/config.h"

/** ivs_config_libvirt() - add the pieces for libvirt */
void ivs_config_libvirt(const struct ivs_config *config, struct ivs_pieces *pieces);

/** ivs_config_libvirt_has_element() - whether libvirt has an element for a device */
IVS_MUST_USE bool ivs_config_libvirt_has_element(const struct ivs_config_device *device);

/**
 * ivs_config_libvirt_element() - add the element of a device: <shmem ...>...</shmem>
 * @port: index of the controller behind which the device is placed; -1: libvirt chooses
 */
void ivs_config_libvirt_element(struct ivs_out *out, const struct ivs_config_device *device,
				int port);

#endif
