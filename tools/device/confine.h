/* SPDX-License-Identifier: BSD-3-Clause */
/* What ivshmem-device gives up before it serves anybody. */
#ifndef TOOLS_DEVICE_CONFINE_H
#define TOOLS_DEVICE_CONFINE_H

#include "tools/device/options.h"

/** confine() - after everything has been opened. Return: as ivs_sandbox(). */
int confine(const struct settings *settings, struct ivs_error *err);

#endif
