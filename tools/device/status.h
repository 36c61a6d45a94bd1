/* SPDX-License-Identifier: BSD-3-Clause */
/* ivshmem-device --status: asks a running program. */
#ifndef TOOLS_DEVICE_STATUS_H
#define TOOLS_DEVICE_STATUS_H

#include <stdbool.h>

/**
 * show_status() - print the status of the program with the control socket @path
 * @json: the reply as it is
 *
 * Return: an exit status, after printing errors.
 */
int show_status(const char *path, bool json);

#endif
