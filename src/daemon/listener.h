/* SPDX-License-Identifier: BSD-3-Clause */
/* Listening UNIX sockets. A stale socket file is replaced, but never one that is in use. */
#ifndef IVS_DAEMON_LISTENER_H
#define IVS_DAEMON_LISTENER_H

#include <sys/stat.h>

#include "base/syscalls.h"
#include "base/unix_address.h"
#include "ivshmem/api.h"

extern const struct ivs_syscall ivs_listener_syscalls[];

/**
 * struct ivs_listener - a listening UNIX stream socket
 * @fd:   the socket, which is non-blocking; -1: none
 * @path: path of the socket file
 * @ours: the socket file as this process created it; all 0 if another process created it. The file
 *        at @path is removed at exit if it is still the same file
 */
struct ivs_listener {
	int fd;
	char path[IVS_UNIX_PATH_LEN];
	struct stat ours;
};

#define IVS_LISTENER_INIT                                                                          \
	{                                                                                          \
		.fd = -1                                                                           \
	}

enum ivs_listener_error {
	IVS_LISTENER_E_PATH = 1, /* the path is too long, empty, or does not name a socket */
	IVS_LISTENER_E_BUSY,	 /* another process is listening at the path */
};

/**
 * struct ivs_listener_options - the socket in the file system
 * @path: path of the socket file, at most 107 bytes
 * @mode: permission bits (to connect, a process needs write permission); 0: as the umask permits
 * @uid:  owner, or (uid_t)-1 for no change
 * @gid:  group, or (gid_t)-1 for no change
 */
struct ivs_listener_options {
	const char *path;
	mode_t mode;
	uid_t uid;
	gid_t gid;
};

/**
 * ivs_listener_open() - listen, replacing a stale socket file
 *
 * No process can connect before owner and mode are set.
 *
 * Return: 0, IVS_LISTENER_E_*, -errno.
 */
IVS_MUST_USE int ivs_listener_open(struct ivs_listener *listener,
				   const struct ivs_listener_options *opts, struct ivs_error *err);

/**
 * ivs_listener_adopt() - take over a listening socket that another process or program opened
 * @fd:   set to -1 when taken over
 * @ours: the socket file as it was created, if it is to be removed at exit; otherwise NULL
 *
 * Return: 0; IVS_LISTENER_E_PATH: the file was removed or replaced (only with @ours); -errno.
 */
IVS_MUST_USE int ivs_listener_adopt(struct ivs_listener *listener, int *fd,
				    const struct stat *ours);

/**
 * ivs_listener_refuse_fds() - have the kernel refuse fds on new connections, if it can
 * (SO_PASSRIGHTS, Linux 6.16)
 *
 * Servers that never accept fds call this, because closing an unwanted fd may block.
 */
void ivs_listener_refuse_fds(const struct ivs_listener *listener);

/** ivs_listener_close() - stop listening, and remove the socket file if it is still ours */
void ivs_listener_close(struct ivs_listener *listener);

#endif
