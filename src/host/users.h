/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Finds which processes on this host use a file, that is, map it or hold it open. One pass over
 * /proc suffices for any number of files.
 *
 * No file is opened, and no file system is queried: the kernel knows the device and inode of each
 * file that a process maps or holds open. The following cannot be seen: processes of other users,
 * unless the caller is root; fds in flight in a socket; users in the kernel; processes in other PID
 * namespaces.
 */
#ifndef IVS_HOST_USERS_H
#define IVS_HOST_USERS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "host/vm.h"
#include "ivshmem/api.h"

#define IVS_HOST_PROGRAM_LEN 64
#define IVS_HOST_USES_MAX 4096	/* uses by one process: it must not use up all memory */
#define IVS_HOST_SOCKET_LEN 109 /* room for the longest socket path, and a NUL */

/**
 * struct ivs_host_file - a file to look for
 * @dev:  st_dev
 * @ino:  st_ino
 * @path: absolute path, as realpath(3) returns it, or NULL. With a path, VMs that cannot be
 *        examined are also found, by their arguments, and so are mappings on btrfs and overlayfs if
 *        the caller is not root
 */
struct ivs_host_file {
	dev_t dev;
	ino_t ino;
	const char *path;
};

/**
 * struct ivs_host_user - a process that uses a file
 * @file:    index of the file
 * @pid:     pid of the process
 * @maps:    the process maps the file
 * @shared:  at least one of the mappings is MAP_SHARED
 * @open:    the process holds the file open
 * @named:   the members above are unknown, because the process cannot be examined; but it is a
 *           QEMU, and its arguments name @path
 * @copies:  the process is a VM that uses the file as ivshmem memory but has a private copy of it,
 *           because share=on is missing. Set only by ivs_host_regions_find()
 * @server:  the process is an ivshmem-server (of this project or of QEMU)
 * @program: name of the program; safe to print
 * @socket:  for an ivshmem-server, the path of its socket according to its arguments, or ""; safe
 *           to print
 * @vm:      name of the VM, if the process is a QEMU and its VM has a name, or ""; safe to print
 * @qemu:    the process is a QEMU
 */
struct ivs_host_user {
	size_t file;
	pid_t pid;
	bool maps;
	bool shared;
	bool open;
	bool named;
	bool copies;
	bool server;
	bool qemu;
	char program[IVS_HOST_PROGRAM_LEN];
	char socket[IVS_HOST_SOCKET_LEN];
	char vm[IVS_HOST_VM_LEN];
};

/**
 * struct ivs_host_users - the result of ivs_host_users_find()
 * @list:     the users, sorted by pid; a process appears at most once for each file
 * @n:        length of @list
 * @unseen_n: processes that could not be examined
 * @hidden: /proc hides processes of other users (its option hidepid), so other processes may have
 *            been missed
 */
struct ivs_host_users {
	struct ivs_host_user *list;
	size_t n;
	unsigned int unseen_n;
	bool hidden;
};

/**
 * ivs_host_users_find() - find the users of files, other than the calling process
 * @files: @n files
 * @out:   set on success; free it with ivs_host_users_deinit()
 *
 * Processes may come and go during the call: the result is a snapshot.
 *
 * Return: 0 or -errno (-ENOMEM; -ENOENT and such if /proc is not mounted).
 */
IVS_MUST_USE int ivs_host_users_find(const struct ivs_host_file *files, size_t n,
				     struct ivs_host_users *out);

void ivs_host_users_deinit(struct ivs_host_users *users);

#define IVS_HOST_USER_TEXT_LEN 224

/**
 * ivs_host_users_text() - describe a user in words: "VM win10 (pid 123)", "looking-glass-client
 * (pid 5)", "ivshmem-server at /run/net.sock (pid 7)"
 */
const char *ivs_host_users_text(const struct ivs_host_user *user, char out[IVS_HOST_USER_TEXT_LEN]);

#define IVS_HOST_UNSEEN_TEXT_LEN 160

/**
 * ivs_host_users_unseen() - describe what could not be seen, and how to see it
 *
 * Return: such as "12 processes of other users could not be examined: run this as root"; "" if all
 * processes could be examined.
 */
const char *ivs_host_users_unseen(unsigned int unseen_n, bool hidden,
				  char out[IVS_HOST_UNSEEN_TEXT_LEN]);

#endif
