/* SPDX-License-Identifier: BSD-3-Clause */
/* ivshmem-server --status: ask a running server how it is. */
#ifndef TOOLS_SERVER_STATUS_H
#define TOOLS_SERVER_STATUS_H

#include <stdbool.h>

/**
 * show_status() - print what the server at the control socket @path says
 * @json: as it came; else as a table
 *
 * Return: an exit status, with the reason printed.
 */
int show_status(const char *path, bool json);

#endif
