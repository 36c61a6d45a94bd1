/* SPDX-License-Identifier: BSD-3-Clause */
/* Closing fds and sockets received from untrusted processes, without blocking. */
#ifndef IVS_DAEMON_CLOSE_H
#define IVS_DAEMON_CLOSE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/syscalls.h"

extern const struct ivs_syscall ivs_close_syscalls[];

/*
 * close(2) of a socket with SO_LINGER and unsent data blocks for as long as its owner chose. So
 * does closing a socket that holds such a socket, as an unread fd or as a connection not yet
 * accepted. A signal ends the wait: call ivs_stall_open() first. A file on FUSE can make close(2)
 * block, too, which cannot be prevented.
 */

/**
 * ivs_socket_close() - close a socket that may hold unread fds or connections not yet accepted
 * @sock: set to -1
 */
void ivs_socket_close(int *sock);

/**
 * ivs_fd_discard() - close an fd received from an untrusted process
 * @fd: set to -1
 *
 * Return: false if the fd was a socket. Then disconnect the client, which had no reason to send it.
 */
bool ivs_fd_discard(int *fd);

/**
 * ivs_socket_take() - non-blocking recv(2) that discards the fds that come with the bytes
 *
 * A plain recv(2) would make the kernel close these fds, which may block.
 *
 * Return: the number of bytes; 0: end of input; -1 with errno. EPROTO: a socket was received, see
 * ivs_fd_discard().
 */
ssize_t ivs_socket_take(int sock, void *bytes, size_t len);

/** ivs_socket_discard() - close a connected stream socket and its unread fds; set @sock to -1 */
void ivs_socket_discard(int *sock);

#endif
