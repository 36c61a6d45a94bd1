/* SPDX-License-Identifier: BSD-3-Clause */
/* Interface between scan.c and the files that look for something in /proc. */
#ifndef IVS_HOST_PRIVATE_H
#define IVS_HOST_PRIVATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "host/users.h"
#include "host/vm.h"

/**
 * struct ivs_host_process - a process that was examined, or could not be
 * @qemu:    @vm is set
 * @server:  it is an ivshmem-server
 * @peer:    it may use a region: it has loaded libivshmem, or is a program of this project, or
 *           Looking Glass' client
 * @unseen:  its files cannot be seen
 * @socket:  of an ivshmem-server: the path according to its arguments; NULL: unknown. Untrusted
 * @program: safe to print
 */
struct ivs_host_process {
	pid_t pid;
	bool qemu;
	bool server;
	bool peer;
	bool unseen;
	char *socket;
	char program[IVS_HOST_PROGRAM_LEN];
	struct ivs_host_vm vm;
};

/**
 * struct ivs_host_use - a process's use of a file
 * @process:  its index
 * @dev, @ino: of the file. Unless @exact, @dev is what /proc/PID/maps shows, which on btrfs and
 *            overlayfs is not st_dev
 * @maps, @shared, @open: as in struct ivs_host_user
 * @len:      end of the file's mapped part, in bytes
 * @known:    @size, @mode, @uid, @gid are known
 * @chr:      it is a character device
 * @name:     the kernel's name for it, perhaps with " (deleted)"; untrusted
 */
struct ivs_host_use {
	size_t process;
	dev_t dev;
	ino_t ino;
	bool exact;
	bool maps;
	bool shared;
	bool open;
	bool known;
	bool chr;
	uint64_t len;
	uint64_t size;
	mode_t mode;
	uid_t uid;
	gid_t gid;
	const char *name;
};

/**
 * struct ivs_host_scan - what a pass over /proc has found
 * @processes: QEMUs, servers, and processes with uses
 * @uses:      by process; the parts of a file that a process maps are one use
 */
struct ivs_host_scan {
	struct ivs_host_process *processes;
	size_t processes_n;
	struct ivs_host_use *uses;
	size_t uses_n;
	unsigned int unseen_n;
	bool hidden;
};

/**
 * struct ivs_host_filter - which uses are wanted
 * @wanted: whether @use of @process is. @use->name may be NULL: then it has been opened, and the
 *          question is whether to find out its name and to ask again
 */
struct ivs_host_filter {
	bool (*wanted)(const void *context, const struct ivs_host_process *process,
		       const struct ivs_host_use *use);
	const void *context;
};

/** ivs_host_scan_run() - look at all processes but the calling one. Return: 0, -errno. */
IVS_MUST_USE int ivs_host_scan_run(const struct ivs_host_filter *filter, struct ivs_host_scan *out);

void ivs_host_scan_deinit(struct ivs_host_scan *scan);

/** ivs_host_name_is() - is @name, of the kernel, @path, or @path with " (deleted)"? */
bool ivs_host_name_is(const char *name, const char *path);

#endif
