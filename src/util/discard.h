/* SPDX-License-Identifier: BSD-3-Clause */
/* Getting rid of what strangers have sent, without being made to wait for it. */
#ifndef IVS_UTIL_DISCARD_H
#define IVS_UTIL_DISCARD_H

#include <stddef.h>
#include <sys/types.h>

#include "util/syscalls.h"

/** The most fds that the kernel lets come with one message (SCM_MAX_FD). */
#define IVS_RECEIVED_FDS_MAX 253

extern const struct ivs_syscall ivs_discard_syscalls[];

/**
 * ivs_fd_disarm() - a received fd can be closed without waiting
 *
 * Of a socket with SO_LINGER and unsent data close(2) waits for as long as its owner wants. To be called for
 * each fd that was received, before anything closes it, also at the end of the process. (A file of a
 * FUSE file system can make close(2) wait, too, and nothing keeps it from that.)
 */
void ivs_fd_disarm(int fd);

/**
 * ivs_socket_take() - recv(2) that does not wait, and discards the fds that come with the bytes
 *
 * recv(2) would have the kernel close them. Return: how many bytes; 0: the end; -1 with errno.
 */
ssize_t ivs_socket_take(int sock, void *bytes, size_t len);

/**
 * ivs_socket_discard() - close a connected stream socket, with what has come and was not read
 * @sock: set to -1
 *
 * Closing alone would have the kernel close the fds in it, which could wait.
 */
void ivs_socket_discard(int *sock);

#endif
