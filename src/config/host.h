/* SPDX-License-Identifier: BSD-3-Clause */
/* Files on the host, and udev rules for the host and the guest. */
#ifndef IVS_CONFIG_HOST_H
#define IVS_CONFIG_HOST_H

#include "config/config.h"

/** ivs_config_tmpfiles() and the functions below - add the pieces for a target */
void ivs_config_tmpfiles(const struct ivs_config *config, struct ivs_pieces *pieces);
void ivs_config_systemd(const struct ivs_config *config, struct ivs_pieces *pieces);
void ivs_config_udev(const struct ivs_config *config, struct ivs_pieces *pieces);
void ivs_config_apparmor(const struct ivs_config *config, struct ivs_pieces *pieces);

#endif
