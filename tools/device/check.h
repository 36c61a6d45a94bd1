/* SPDX-License-Identifier: BSD-3-Clause */
/* Checks which options of ivshmem-device exclude or imply each other. */
#ifndef TOOLS_DEVICE_CHECK_H
#define TOOLS_DEVICE_CHECK_H

#include "tools/device/options.h"

/**
 * device_check() - check the options of all devices, and set options that follow from others
 *
 * Return: 0, or an exit status after printing the reason.
 */
int device_check(struct settings *settings);

#endif
