/* SPDX-License-Identifier: BSD-3-Clause */
/* libvirt's XML, and virsh commands. */
#ifndef IVS_CONFIG_LIBVIRT_H
#define IVS_CONFIG_LIBVIRT_H

#include "config/config.h"

/** ivs_config_libvirt() - add the pieces for libvirt */
void ivs_config_libvirt(const struct ivs_config *config, struct ivs_pieces *pieces);

#endif
