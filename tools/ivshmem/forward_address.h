/* SPDX-License-Identifier: BSD-3-Clause */
/* Addresses of sockets on the command line of forward: unix:PATH, tcp:HOST:PORT. */
#ifndef TOOLS_IVSHMEM_FORWARD_ADDRESS_H
#define TOOLS_IVSHMEM_FORWARD_ADDRESS_H

#include <stdbool.h>
#include <sys/socket.h>

#include "base/unix_address.h"
#include "daemon/listener.h"
#include "ivshmem/api.h"

#define FORWARD_ADDRESS_LEN 160 /* room for the text of an address */

/**
 * struct forward_address - where to listen or to connect
 * @text: as on the command line
 */
struct forward_address {
	const char *text;
	struct sockaddr_storage to;
	socklen_t len;
};

/** forward_address_parse() - Return: 0, or STATUS_USAGE after printing the reason */
IVS_MUST_USE int forward_address_parse(const char *text, struct forward_address *out);

/** forward_address_is_unix() - whether it is unix:PATH */
static inline bool forward_address_is_unix(const struct forward_address *address)
{
	return address->to.ss_family == AF_UNIX;
}

/**
 * forward_address_listen() - open a listening socket, which is non-blocking
 * @out: the listener; also for TCP, which has no socket file
 *
 * Return: 0, or STATUS_FAILED after printing the reason.
 */
IVS_MUST_USE int forward_address_listen(const struct forward_address *address,
					struct ivs_listener *out);

/** forward_address_bound() - the text of the address of a listening socket, with its real port */
const char *forward_address_bound(const struct forward_address *address, int fd,
				  char out[FORWARD_ADDRESS_LEN]);

/**
 * forward_address_connect() - begin to connect a non-blocking socket
 *
 * Return: the socket, which is connected when poll(2) reports POLLOUT; -errno.
 */
IVS_MUST_USE int forward_address_connect(const struct forward_address *address);

/** forward_address_accept() - accept a connection. Return: the non-blocking socket; -errno. */
IVS_MUST_USE int forward_address_accept(const struct forward_address *address, int fd);

#endif
