/* SPDX-License-Identifier: BSD-3-Clause */
/* The privileges and system calls that ivshmem-device gives up before it serves a VMM. */
#ifndef TOOLS_DEVICE_CONFINE_H
#define TOOLS_DEVICE_CONFINE_H

#include "tools/device/options.h"

/**
 * confine() - drop privileges and load the system call filter, after everything has been opened
 *
 * Return: as ivs_sandbox().
 */
int confine(const struct settings *settings, struct ivs_error *err);

#endif
