/* SPDX-License-Identifier: BSD-3-Clause */
/* Configurations of VMs and of the host for given devices, as pieces that users paste. */
#ifndef IVS_CONFIG_CONFIG_H
#define IVS_CONFIG_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "config/pieces.h"

/*
 * Maximum length of NAME: the units run as user ivshmem-NAME, which systemd-sysusers must accept.
 */
#define IVS_CONFIG_SERVER_NAME_MAX 23
#define IVS_CONFIG_DEVICE_NAME_MAX 16

#define IVS_CONFIG_ID_MAX 63

/**
 * enum ivs_config_kind - the device of the VM
 * @IVS_CONFIG_PLAIN:     QEMU's ivshmem-plain
 * @IVS_CONFIG_DOORBELL:  QEMU's ivshmem-doorbell, a client of a server
 * @IVS_CONFIG_VFIO_USER: the device of ivshmem-device(1)
 */
enum ivs_config_kind {
	IVS_CONFIG_PLAIN,
	IVS_CONFIG_DOORBELL,
	IVS_CONFIG_VFIO_USER,
};

enum ivs_config_role {
	IVS_CONFIG_ROLE_DEFAULT,
	IVS_CONFIG_ROLE_PEER,
	IVS_CONFIG_ROLE_MASTER,
};

/**
 * struct ivs_config_device - a device; ivs_escape_valid() accepts all strings
 * @name:      name of the region or of the server; used in the names of units and elements
 * @id:        QEMU's id of the device, which ivs_config_id() accepts
 * @region:    address of the region; NULL: the server supplies the region
 * @path:      path of the region; NULL: the server supplies the region
 * @shm:       whether @path is /dev/shm/@name
 * @size:      size of the region in bytes; 0: unknown, because the server sets it
 * @server:    path of the server's socket; NULL: there is none
 * @socket:    path of ivshmem-device's socket
 * @vectors:   number of vectors; only for a client of a server
 * @owner:     owner of the region or socket, as a name or number; @group has the same form
 * @mode:      mode of the region or socket
 * @names_itself: the device can show @name to the guest
 */
struct ivs_config_device {
	enum ivs_config_kind kind;
	enum ivs_config_role role;
	const char *name;
	const char *id;
	const char *region;
	const char *path;
	bool shm;
	uint64_t size;
	const char *server;
	const char *socket;
	unsigned int vectors;
	const char *owner;
	const char *group;
	unsigned int mode;
	bool names_itself;
};

/**
 * struct ivs_config - what the configuration is for; ivs_escape_valid() accepts all strings
 * @hotplug: the devices are plugged into running VMs
 * @domain:  libvirt's name of the VM
 * @program: path of ivshmem
 */
struct ivs_config {
	const struct ivs_config_device *devices;
	unsigned int devices_n;
	bool hotplug;
	const char *domain;
	const char *program;
};

/** ivs_config_id() - whether QEMU accepts an id: a letter, then letters, digits, "-", "." or "_" */
IVS_MUST_USE bool ivs_config_id(const char *id);

/** ivs_config_unit_name() - whether an instance of the units can have this name */
IVS_MUST_USE bool ivs_config_unit_name(const char *name, unsigned int max);

#endif
