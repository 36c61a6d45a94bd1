/* SPDX-License-Identifier: BSD-3-Clause */
/* The command line of ivshmem-device: one device after the other. */
#ifndef TOOLS_DEVICE_OPTIONS_H
#define TOOLS_DEVICE_OPTIONS_H

#include <limits.h>

#include "device/loop.h"
#include "tools/device/legacy.h"
#include "tools/shared/usage.h"

#define PROGRAM "ivshmem-device"

enum model {
	MODEL_UNKNOWN, /* plain with a region, doorbell with a server */
	MODEL_PLAIN,
	MODEL_DOORBELL,
};

/**
 * struct device_settings - one device
 * @has_...: this has been said
 * @legacy: with is_legacy
 * @region: room for the address in @opts, of the memory that @legacy names
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
 * struct settings - what was asked for
 * @user:    to become; NULL: no change
 * @filter:  whether to load the filter of system calls; -1: if this build has one
 * @control: where to be asked; path NULL: nowhere
 * @status:  the control socket of a program to be asked, or NULL: serve
 * @json:    show the reply as it came
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
 * parse_arguments() - fill in @settings, defaults first
 *
 * Return: 0; -1 if everything asked for is done (--help); an exit status, with the reason printed.
 */
int parse_arguments(struct settings *settings, int argc, char **argv);

#endif
