/* SPDX-License-Identifier: BSD-3-Clause */
/* ivshmem-device --status: show the status of a running program. */
#ifndef TOOLS_DEVICE_STATUS_H
#define TOOLS_DEVICE_STATUS_H

#include <stdbool.h>

/**
 * show_status() - print the status of the program with the control socket @path
 * @json: print the reply as received, otherwise as text
 *
 * Return: an exit status, after printing the reason for a failure.
 */
int show_status(const char *path, bool json);

#endif
