/* SPDX-License-Identifier: BSD-3-Clause */
/* Addresses of UNIX sockets in the file system. */
#ifndef IVS_BASE_UNIX_ADDRESS_H
#define IVS_BASE_UNIX_ADDRESS_H

#include <stdbool.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "ivshmem/api.h"

/** IVS_UNIX_PATH_LEN - size of a buffer for the path of a socket: 107 bytes and a NUL */
#define IVS_UNIX_PATH_LEN sizeof(((struct sockaddr_un *)0)->sun_path)

/**
 * ivs_unix_address() - create the address of the socket @path
 * @err: set if @path is empty or too long
 *
 * Return: whether @path can be used.
 */
IVS_MUST_USE bool ivs_unix_address(const char *path, struct sockaddr_un *out,
				   struct ivs_error *err);

#endif
