/* SPDX-License-Identifier: BSD-3-Clause */
/* Getting rid of what strangers have sent, without being made to wait for it. */
#ifndef IVS_DAEMON_CLOSE_H
#define IVS_DAEMON_CLOSE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/syscalls.h"

extern const struct ivs_syscall ivs_close_syscalls[];

/*
 * Of a socket with SO_LINGER and unsent data close(2) waits for as long as its owner wants, and so it does of one that
 * has such a socket in it, unread or not yet accepted. The waiting is cut short by a signal:
 * ivs_stall_open() first. A file of a FUSE file system can make close(2) wait, too, and nothing keeps it
 * from that.
 */

/** ivs_socket_close() - close a socket with all that is in it, connections that nobody accepted among it; set to -1 */
void ivs_socket_close(int *sock);

/**
 * ivs_fd_discard() - close an fd that a stranger has sent; it is set to -1
 *
 * Return: false: it was a socket, which nobody has reason to send, and who has sent it should go.
 */
bool ivs_fd_discard(int *fd);

/**
 * ivs_socket_take() - recv(2) that does not wait, and discards the fds that come with the bytes
 *
 * recv(2) would have the kernel close them, whatever that takes.
 *
 * Return: how many bytes; 0: the end; -1 with errno, EPROTO: a socket has come, see ivs_fd_discard().
 */
ssize_t ivs_socket_take(int sock, void *bytes, size_t len);

/** ivs_socket_discard() - close a connected stream socket, with all that is in it; it is set to -1 */
void ivs_socket_discard(int *sock);

#endif
