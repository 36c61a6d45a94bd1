/* SPDX-License-Identifier: BSD-3-Clause */
/* ivshmem-server --status: show the status of a running server. */
#ifndef TOOLS_SERVER_STATUS_H
#define TOOLS_SERVER_STATUS_H

#include <stdbool.h>

/**
 * show_status() - print the status of the server with the control socket @path
 * @json: print the reply as received, otherwise a table
 *
 * Return: an exit status, after printing the reason for a failure.
 */
int show_status(const char *path, bool json);

#endif
