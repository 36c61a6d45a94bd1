/* SPDX-License-Identifier: BSD-3-Clause */
/* A listening socket in the file system: claimed from the dead, never from the living. */
#ifndef IVS_DAEMON_LISTENER_H
#define IVS_DAEMON_LISTENER_H

#include <sys/stat.h>

#include "base/syscalls.h"
#include "base/unix_address.h"
#include "ivshmem/api.h"

extern const struct ivs_syscall ivs_listener_syscalls[];

/**
 * struct ivs_listener - a listening UNIX stream socket
 * @fd:   non-blocking; -1: none
 * @path: its name
 * @ours: the name's inode when it was made, to know at the end whether it still is ours; all 0: it
 *        was made by somebody else
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
	IVS_LISTENER_E_PATH = 1, /* too long, empty, or something that is no socket is there */
	IVS_LISTENER_E_BUSY,	 /* a living process listens there */
};

/**
 * struct ivs_listener_options - the socket in the file system
 * @path: where; at most 107 bytes
 * @mode: permission bits, of which "write" lets connect; 0: as the umask has it
 * @uid:  owner, or (uid_t)-1 to leave it
 * @gid:  group, or (gid_t)-1
 */
struct ivs_listener_options {
	const char *path;
	mode_t mode;
	uid_t uid;
	gid_t gid;
};

/**
 * ivs_listener_open() - listen; a socket that a dead server left there is replaced
 *
 * Nobody can connect before owner and mode are what they should be.
 *
 * Return: 0, IVS_LISTENER_E_*, -errno.
 */
IVS_MUST_USE int ivs_listener_open(struct ivs_listener *listener,
				   const struct ivs_listener_options *opts, struct ivs_error *err);

/**
 * ivs_listener_adopt() - listen at a socket that another process opened
 * @fd:   set to -1 when taken
 * @ours: its name as it was made, if that is for us to remove; else NULL
 *
 * Return: 0, IVS_LISTENER_E_PATH if the name is gone (only with @ours), -errno.
 */
IVS_MUST_USE int ivs_listener_adopt(struct ivs_listener *listener, int *fd,
				    const struct stat *ours);

/**
 * ivs_listener_refuse_fds() - whoever connects from now on cannot send fds, if the kernel knows how to
 * keep them from it (Linux 6.16: SO_PASSRIGHTS)
 *
 * For who has no use for them: an fd that nobody takes is closed by us, and closing can be made to wait.
 */
void ivs_listener_refuse_fds(const struct ivs_listener *listener);

/** ivs_listener_close() - stop listening; remove the name if it is still ours */
void ivs_listener_close(struct ivs_listener *listener);

#endif
