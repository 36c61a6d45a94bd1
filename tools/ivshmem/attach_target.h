/* SPDX-License-Identifier: BSD-3-Clause */
/* What is to be plugged in: a region, a server's region, or a device of ivshmem-device. */
#ifndef TOOLS_IVSHMEM_ATTACH_TARGET_H
#define TOOLS_IVSHMEM_ATTACH_TARGET_H

#include <limits.h>
#include <sys/types.h>

#include "config/config.h"
#include "tools/ivshmem/attach_probe.h"

/**
 * struct attach_target - what is to be plugged in; start from zeroes
 * @region, @server, @device: as given; one of them is not NULL
 * @peer:    the VM is a peer even if the server gives it id 0
 * @vectors: number of vectors; 0: as many as the server has
 * @kind:    set to the kind of device
 * @path:    set to the absolute path of the region, or of a socket
 * @size:    set to the size of the region; 0: unknown
 * @dev, @ino: set to the file of the region, with @region
 * @probe:   set to what the server has said, with @server
 */
struct attach_target {
	const char *region;
	const char *server;
	const char *device;
	bool master;
	bool peer;
	unsigned int vectors;
	enum ivs_config_kind kind;
	char path[PATH_MAX];
	uint64_t size;
	dev_t dev;
	ino_t ino;
	struct probe probe;
};

/**
 * attach_target_check() - check what can be checked without the VM
 *
 * Return: 0, or an exit status after printing the reason.
 */
int attach_target_check(struct attach_target *target);

/** attach_target_driver() - QEMU's name of the device */
const char *attach_target_driver(const struct attach_target *target);

#endif
