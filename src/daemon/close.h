/* SPDX-License-Identifier: BSD-3-Clause */
/* Closing fds and sockets received from untrusted processes, without blocking. */
#ifndef IVS_DAEMON_CLOSE_H
#define IVS_DAEMON_CLOSE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "base/syscalls.h"

extern const struct ivs_syscall ivs_close_syscalls[];

/*
 * Socket option: whether a socket receives fds. A connection inherits it from its listening socket.
 */
#ifndef SO_PASSRIGHTS
#define SO_PASSRIGHTS 83 /* since Linux 6.16 */
#endif

/*
 * close(2) of a socket with SO_LINGER and unsent data blocks for as long as its owner has chosen.
 * Closing a socket that holds such a socket, as an unread fd or as a connection not yet accepted,
 * blocks in the same way. A file on FUSE, and any file that an epoll instance watches (closer.h),
 * can make close(2) block forever. So these functions pass the fds to helper processes, if
 * ivs_closer_open() has started them. Otherwise the calling thread closes the fds.
 * ivs_stall_open(), which must have been called, then ends each wait that a signal can end.
 */

/**
 * ivs_fds_release() - close fds of which untrusted processes have copies; skip negative fds
 * @fds: set to -1
 *
 * Return: false: some fds stay open, and remain in @fds, because all helper processes are blocked
 * or memory is low. Retry later.
 */
bool ivs_fds_release(int *fds, unsigned int fds_n);

/**
 * ivs_fds_discard() - close fds of which untrusted processes have copies; skip negative fds
 * @fds: set to -1; an fd that the helper processes do not take now stays open until they take it
 */
void ivs_fds_discard(int *fds, unsigned int fds_n);

/**
 * ivs_socket_close() - close a listening socket, which may have connections not yet accepted. It is
 * not passed to a helper process, so no process is still listening when this function returns
 * @sock: set to -1
 */
void ivs_socket_close(int *sock);

enum ivs_close_error {
	IVS_CLOSE_E_SOCKET = 1, /* the fd was a socket, which no client has a reason to send */
	IVS_CLOSE_E_KEPT,	/* the fd stays open until the helper processes take it */
};

/**
 * ivs_fd_discard() - close an fd received from an untrusted process
 * @fd: set to -1
 *
 * Return: 0; IVS_CLOSE_E_SOCKET, even if the socket stays open; IVS_CLOSE_E_KEPT.
 */
int ivs_fd_discard(int *fd);

/**
 * ivs_socket_take() - non-blocking recv(2) that discards the fds that come with the bytes
 *
 * A plain recv(2) would make the kernel close these fds, which may block.
 *
 * Return: the number of bytes; 0: end of input; -1 with errno. EPROTO: a socket was received.
 * EBUSY: a received fd stays open. See ivs_fd_discard().
 */
ssize_t ivs_socket_take(int sock, void *bytes, size_t len);

/**
 * ivs_socket_release() - close a connected stream socket and its unread fds; set @sock to -1
 *
 * The connection must have been shut down, unless a trusted process has a copy of the socket.
 *
 * Return: like ivs_fds_release().
 */
bool ivs_socket_release(int *sock);

/** ivs_socket_discard() - shut down a connected stream socket, then call ivs_socket_release() */
void ivs_socket_discard(int *sock);

#endif
