/* SPDX-License-Identifier: BSD-3-Clause */
/* What options of ivshmem-device do not go together, and what follows from those that do. */
#ifndef TOOLS_DEVICE_CHECK_H
#define TOOLS_DEVICE_CHECK_H

#include "tools/device/options.h"

/** device_check() - of all devices, and complete them. Return: 0 or an exit status, with the reason printed. */
int device_check(struct settings *settings);

#endif
