/* SPDX-License-Identifier: BSD-3-Clause */
/* ivshmem-device --status: asks one that runs. */
#ifndef TOOLS_DEVICE_STATUS_H
#define TOOLS_DEVICE_STATUS_H

#include <stdbool.h>

/**
 * show_status() - print what the program with the control socket @path says of itself
 * @json: as it came
 *
 * Return: an exit status, with the reason printed.
 */
int show_status(const char *path, bool json);

#endif
