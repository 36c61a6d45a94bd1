/* SPDX-License-Identifier: BSD-3-Clause */
/* Names, paths and addresses as people write them. */
#ifndef TOOLS_SHARED_ADDRESS_H
#define TOOLS_SHARED_ADDRESS_H

#include <limits.h>
#include <stdbool.h>

#define ADDRESS_LEN (PATH_MAX + 8) /* including the longest prefix */

/** address_is_name() - whether @text is a NAME: it has neither a slash nor a colon */
bool address_is_name(const char *text);

/**
 * address_complete() - turn a NAME, a path or an address into a complete address
 * @text: NAME, which means shm:NAME; a path, which means unix:PATH if a socket is there, and
 *        file:PATH if not; or an address of a peer or a region, of any kind. /dev/ivshmemN is an
 *        address. A path has a slash, before any colon.
 * @out:  the address; shm:/NAME becomes shm:NAME
 *
 * Return: 0, or STATUS_USAGE after printing the reason.
 */
int address_complete(const char *text, char out[ADDRESS_LEN]);

/**
 * address_check_region() - refuse an address that is neither shm:NAME nor file:PATH
 *
 * Return: 0, or STATUS_USAGE after printing the reason.
 */
int address_check_region(const char *address);

#endif
