/* SPDX-License-Identifier: BSD-3-Clause */
/* Addresses as people write them. */
#ifndef TOOLS_SHARED_ADDRESS_H
#define TOOLS_SHARED_ADDRESS_H

#include <stdbool.h>

#define ADDRESS_LEN 4096

/**
 * address_complete() - add the prefix to an address that lacks it
 * @text: an address of the library; a NAME, which means shm:NAME; or a path, which means unix:PATH
 *        if a socket is there, and file:PATH if not. /dev/ivshmemN is an address already.
 * @out:  the address
 *
 * Return: 0, or STATUS_USAGE after printing the reason.
 */
int address_complete(const char *text, char out[ADDRESS_LEN]);

#endif
