/* SPDX-License-Identifier: BSD-3-Clause */
/* A device of "ivshmem config": from what the command line says to what the pieces need. */
#ifndef TOOLS_IVSHMEM_CONFIG_DEVICE_H
#define TOOLS_IVSHMEM_CONFIG_DEVICE_H

#include <limits.h>

#include "config/config.h"
#include "tools/ivshmem/notes.h"

/**
 * struct config_target - what the pieces are for
 * @vm:       the configuration of a VM, and not of the host
 * @access:   contains owner, group and mode
 * @sized:    contains the size of regions
 * @servers:  contains the size of servers' regions, and no paths of their sockets
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
 * struct given - what the command line says about a device; NULL and 0: nothing
 * @kind: -1: nothing
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
 * config_device_fill() - fill in what the command line leaves out, check it, and look at the host
 *
 * Return: 0, or an exit status after printing the reason.
 */
int config_device_fill(const struct config_target *target, bool hotplug, const struct given *given,
		       struct config_device *texts, struct ivs_config_device *out,
		       struct notes *notes);

#endif
