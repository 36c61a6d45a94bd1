/* SPDX-License-Identifier: BSD-3-Clause */
/* QEMU's command line, and commands for its monitor. */
#ifndef IVS_CONFIG_QEMU_H
#define IVS_CONFIG_QEMU_H

#include "config/config.h"

/** ivs_config_qemu() - add the pieces for QEMU */
void ivs_config_qemu(const struct ivs_config *config, struct ivs_pieces *pieces);

#endif
