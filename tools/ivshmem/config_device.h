/* SPDX-License-Identifier: BSD-3-Clause */
/* Derive what "ivshmem config" needs to know about a device from the command line. */
#ifndef TOOLS_IVSHMEM_CONFIG_DEVICE_H
#define TOOLS_IVSHMEM_CONFIG_DEVICE_H

#include <limits.h>

#include "config/config.h"
#include "tools/ivshmem/notes.h"

/**
 * struct config_target - what the pieces are for
 * @vm:       whether they configure a VM rather than the host
 * @access:   whether they contain owner, group and mode
 * @sized:    whether they contain the sizes of regions
 * @servers:  whether they contain the sizes of servers' regions, but not the paths of sockets
 */
struct config_target {
	const char *name;
	void (*add)(const struct ivs_config *config, struct ivs_pieces *pieces);
	bool vm;
	bool access;
	bool sized;
	bool servers;
};

/**
 * struct given - the options given for a device; NULL or 0: not given
 * @kind: kind of device; -1: not given
 */
struct given {
	const char *operand;
	int kind;
	enum ivs_config_role role;
	uint64_t size;
	unsigned int vectors;
	const char *id;
	const char *server;
	const char *socket;
	const char *owner;
	const char *group;
	mode_t mode;
};

/** struct config_device - a device, and memory for its texts */
struct config_device {
	char name[NAME_MAX + 1];
	char id[IVS_CONFIG_ID_MAX + 1];
	char region[PATH_MAX + 8];
	char path[PATH_MAX];
	char server[PATH_MAX];
	char socket[PATH_MAX];
};

/**
 * config_device_fill() - fill in what the command line omits, check the result, and examine the
 * host
 *
 * Return: 0, or an exit status after printing the reason.
 */
int config_device_fill(const struct config_target *target, bool hotplug, const struct given *given,
		       struct config_device *texts, struct ivs_config_device *out,
		       struct notes *notes);

#endif
