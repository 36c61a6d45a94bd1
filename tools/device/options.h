/* SPDX-License-Identifier: BSD-3-Clause */
/* The command line of ivshmem-device: options of the program and of each device in turn. */
#ifndef TOOLS_DEVICE_OPTIONS_H
#define TOOLS_DEVICE_OPTIONS_H

#include <limits.h>

#include "device/loop.h"
#include "tools/device/legacy.h"
#include "tools/shared/usage.h"

#define PROGRAM "ivshmem-device"

enum model {
	MODEL_UNKNOWN, /* --model not given: plain for a region, doorbell for a server */
	MODEL_PLAIN,
	MODEL_DOORBELL,
};

/**
 * struct device_settings - one device
 * @has_...: whether that option was given
 * @legacy:  the parsed string of --legacy, if @is_legacy
 * @region:  buffer for opts.region, if the address is composed from @legacy
 */
struct device_settings {
	enum model model;
	bool is_legacy;
	bool has_model;
	bool has_size;
	bool has_vectors;
	bool has_role;
	struct ivs_device_options opts;
	struct legacy legacy;
	char region[sizeof("shm:") + LEGACY_SHM_MAX];
	uint8_t uuid[IVS_PCI_UUID_LEN];
};

/**
 * struct settings - the command line
 * @user:    user to become; NULL: no change
 * @uid:     id of @user
 * @filter:  whether to load the system call filter; -1: load it if this build has one
 * @control: the control socket to create; if its path is NULL, none is created
 * @status:  control socket of the running program whose status is shown; NULL: serve devices
 * @json:    show the status as JSON
 */
struct settings {
	bool verbose;
	const char *user;
	uid_t uid;
	int filter;
	struct ivs_listener_options control;
	const char *status;
	bool json;
	struct device_settings devices[IVS_DEVICES_MAX];
	unsigned int devices_n;
};

/**
 * parse_arguments() - parse the command line into @settings, after setting defaults
 *
 * Return: 0, -1 after --help or --version, or an exit status after printing the reason.
 */
int parse_arguments(struct settings *settings, int argc, char **argv);

#endif
