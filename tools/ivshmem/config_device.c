/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/ivshmem/config_device.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/parse.h"
#include "base/text.h"
#include "base/unix_address.h"
#include "config/escape.h"
#include "pci/function.h"
#include "tools/shared/address.h"
#include "tools/shared/usage.h"

#define SHM "/dev/shm/"
#define KVMFR "/dev/kvmfr"
#define SHOWN_LEN 256
#define DEFAULT_OWNER "root"
#define DEFAULT_GROUP "kvm"
#define DEFAULT_GUEST_GROUP "ivshmem" /* as in the driver's udev rule */
#define DEFAULT_MODE 0660
#define LIBVIRT_SIZE_MIN (1 << 20)

static int wrong(const char *what, const char *value, const char *fix)
{
	char shown[SHOWN_LEN];

	return usage_error(what, ivs_text_shown(value, shown, sizeof(shown)), fix);
}

static bool starts(const char *text, const char *prefix)
{
	return !strncmp(text, prefix, strlen(prefix));
}

/* Use the last part of the path as the name. */
static int take_path(const char *path, char *out, struct config_device *texts)
{
	const char *name = strrchr(path, '/');

	if (*path != '/' || !name[1] || !strcmp(name, "/.") || !strcmp(name, "/.."))
		return wrong("invalid path", path, "give the absolute path of a file");
	if (strlen(path) >= PATH_MAX || strlen(name + 1) > NAME_MAX)
		return wrong("path too long", path, "use a shorter one");
	snprintf(out, PATH_MAX, "%s", path);
	snprintf(texts->name, sizeof(texts->name), "%.*s", NAME_MAX, name + 1);
	return 0;
}

static int take_shm(const char *name, struct config_device *texts)
{
	if (!*name || strchr(name, '/') || !strcmp(name, ".") || !strcmp(name, ".."))
		return wrong("invalid name", name, "use a name without \"/\", or a path");
	if (strlen(name) > NAME_MAX)
		return wrong("name too long", name, "use up to 255 bytes");
	snprintf(texts->name, sizeof(texts->name), "%.*s", NAME_MAX, name);
	snprintf(texts->path, sizeof(texts->path), SHM "%s", texts->name);
	return 0;
}

/* The name of the device is that of the socket, without ".sock". */
static int take_server(const char *path, struct config_device *texts)
{
	int status = take_path(path, texts->server, texts);
	char *end = strrchr(texts->name, '.');

	if (!status && end && end != texts->name && !strcmp(end, ".sock"))
		*end = '\0';
	return status;
}

/* Handle the operand: a name, a path, or an address of a region or of a server. */
static int take_operand(const char *operand, struct config_device *texts)
{
	char address[ADDRESS_LEN];
	int status = address_complete(operand, address);

	if (status)
		return status;
	if (starts(address, "memfd:") || starts(address, "dir:"))
		return wrong("a VM cannot open the region", operand,
			     "only a server can pass it on: give the name of the server and "
			     "--kind doorbell");
	if (starts(address, "unix:"))
		return take_server(address + 5, texts);
	status = address_check_region(address);
	if (status)
		return status;
	if (starts(address, "shm:"))
		return take_shm(address + 4, texts);
	status = take_path(address + 5, texts->path, texts);
	if (!status && starts(texts->path, SHM) && !strchr(texts->path + strlen(SHM), '/'))
		return take_shm(texts->path + strlen(SHM), texts);
	return status;
}

static bool is_shm(const struct config_device *texts)
{
	return starts(texts->path, SHM) && !strcmp(texts->path + strlen(SHM), texts->name);
}

static void make_region(struct config_device *texts)
{
	if (is_shm(texts))
		snprintf(texts->region, sizeof(texts->region), "shm:%s", texts->name);
	else if (*texts->path)
		snprintf(texts->region, sizeof(texts->region), "file:%s", texts->path);
}

/* Derive an id from the name: characters that are invalid in an id become "_". */
static int take_id(const struct given *given, struct config_device *texts)
{
	size_t len;

	if (given->id) {
		if (!ivs_config_id(given->id))
			return wrong("invalid id", given->id,
				     "use a letter, then letters, digits, \"-\", \".\" or \"_\"; "
				     "63 at most");
		snprintf(texts->id, sizeof(texts->id), "%s", given->id);
		return 0;
	}
	snprintf(texts->id, sizeof(texts->id), "%.40s", texts->name);
	if (!ivs_config_id((char[]){texts->id[0], '\0'}))
		snprintf(texts->id, sizeof(texts->id), "ivshmem-%.40s", texts->name);
	len = strlen(texts->id);
	for (size_t i = 0; i < len; i++) {
		if (!ivs_config_id((char[]){'a', texts->id[i], '\0'}))
			texts->id[i] = '_';
	}
	return 0;
}

static int check_socket(const char *value)
{
	struct sockaddr_un address;
	struct ivs_error err;

	if (!ivs_escape_valid(value) || *value != '/')
		return wrong("invalid path", value,
			     "give the absolute path of a socket, without control characters");
	if (!ivs_unix_address(value, &address, &err))
		return usage_failed("%s", err.text), STATUS_USAGE;
	return 0;
}

static int take_socket(const char *value, char *out)
{
	int status = check_socket(value);

	if (!status)
		snprintf(out, PATH_MAX, "%s", value);
	return status;
}

/* Set the server of a doorbell device, or of an ivshmem-device that is a client of a server. */
static int fill_server(const struct config_target *target, const struct given *given,
		       struct config_device *texts, struct ivs_config_device *out)
{
	if (target->servers && out->kind == IVS_CONFIG_DOORBELL) {
		if (given->server || *texts->server)
			return wrong("invalid address",
				     given->server ? given->server : given->operand,
				     "give the name of a server: its unit chooses the socket, "
				     "/run/ivshmem/NAME.sock");
	} else if (given->server) {
		int status = take_socket(given->server, texts->server);

		if (status)
			return status;
	}
	if (!*texts->server && out->kind == IVS_CONFIG_DOORBELL) {
		if (!ivs_config_unit_name(texts->name, IVS_CONFIG_SERVER_NAME_MAX))
			return wrong("a server's unit cannot have the name", texts->name,
				     target->servers
					     ? "use up to 23 letters, digits, \"-\" and \"_\""
					     : "give the path of its socket with --server");
		snprintf(texts->server, sizeof(texts->server), "/run/ivshmem/%s.sock", texts->name);
	}
	out->server = *texts->server ? texts->server : NULL;
	if (given->vectors && !out->server)
		return wrong("no server for --vectors of", given->operand,
			     "give --kind doorbell, or --server");
	out->vectors = given->vectors ? given->vectors : 1;
	return out->server ? check_socket(texts->server) : 0;
}

static int fill_socket(const struct config_target *target, const struct given *given,
		       struct config_device *texts, struct ivs_config_device *out)
{
	if (given->socket && (out->kind != IVS_CONFIG_VFIO_USER || target->servers))
		return wrong("unexpected --socket", given->socket,
			     target->servers ? "the unit chooses the socket"
					     : "it is for --kind vfio-user");
	if (out->kind != IVS_CONFIG_VFIO_USER)
		return 0;
	out->socket = texts->socket;
	if (given->socket)
		return take_socket(given->socket, texts->socket);
	if (!ivs_config_unit_name(texts->name, IVS_CONFIG_DEVICE_NAME_MAX))
		return wrong("a device's unit cannot have the name", texts->name,
			     target->servers ? "use up to 16 letters, digits, \"-\" and \"_\""
					     : "give the path of its socket with --socket");
	snprintf(texts->socket, sizeof(texts->socket), "/run/ivshmem-device-%s/vmm.sock",
		 texts->name);
	return 0;
}

/* Reject what units and tmpfiles.d cannot do. */
static int check_host(const struct config_target *target, const struct given *given,
		      const struct ivs_config_device *device)
{
	if (!target->access)
		return 0;
	if (device->kind == IVS_CONFIG_PLAIN && starts(device->path, KVMFR))
		return wrong("the kvmfr driver creates the region", device->path,
			     "\"ivshmem config udev\" prints the rule for its owner and group");
	if (target->servers && device->kind == IVS_CONFIG_VFIO_USER && given->owner)
		return wrong("unexpected --owner", given->owner,
			     "the region belongs to the user of the unit: use --group");
	return 0;
}

/* Return: whether the pieces contain the size of the device. */
static bool needs_size(const struct config_target *target, bool hotplug,
		       const struct ivs_config_device *device)
{
	if (device->server)
		return (device->kind == IVS_CONFIG_DOORBELL && target->servers) ||
		       (hotplug && target->vm);
	return target->sized || (hotplug && target->vm);
}

static int check_size(const struct config_target *target, const struct ivs_config_device *device)
{
	char text[IVS_SIZE_TEXT_LEN];

	ivs_size_text(device->size, text);
	if (!ivs_is_power_of_two(device->size) || device->size < 4096)
		return wrong("invalid size", text, "use a power of two, at least 4K, such as 64M");
	if (!strcmp(target->name, "libvirt") && device->kind == IVS_CONFIG_PLAIN &&
	    device->size < LIBVIRT_SIZE_MIN)
		return wrong("invalid size", text, "libvirt's minimum is 1M");
	return 0;
}

static int fill_size(const struct config_target *target, bool hotplug, const struct given *given,
		     struct ivs_config_device *out, struct notes *notes)
{
	struct look look = {0};

	out->size = given->size;
	if (out->path && !out->server)
		look_at(out->path, &look);
	if (!out->size && look.file)
		out->size = look.size;
	if (!out->size && needs_size(target, hotplug, out))
		return wrong("no size for", given->operand,
			     look.exists
				     ? "give --size, such as --size 64M"
				     : "it does not exist yet: give --size, such as --size 64M");
	if (!out->server)
		notes_compare(notes,
			      &(struct wish){
				      .address = out->region,
				      .path = out->path,
				      .size = out->size,
				      .owner = target->access ? out->owner : given->owner,
				      .group = target->access ? out->group : given->group,
				      .mode = target->access ? out->mode : given->mode,
			      },
			      &look);
	return out->size ? check_size(target, out) : 0;
}

/* Check a name or number of a user or group, which need not exist on this host. */
static int check_user(const char *name)
{
	static const char good[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				   "0123456789_.-";

	if (*name && *name != '-' && !name[strspn(name, good)])
		return 0;
	return wrong("invalid user or group", name, "use a name or a number");
}

static int fill_access(const struct config_target *target, const struct given *given,
		       struct ivs_config_device *out)
{
	bool guest = !strcmp(target->name, "udev") && !(out->path && starts(out->path, KVMFR));
	int status;

	out->owner = given->owner ? given->owner : DEFAULT_OWNER;
	out->group = given->group ? given->group : guest ? DEFAULT_GUEST_GROUP : DEFAULT_GROUP;
	out->mode = given->mode ? given->mode : DEFAULT_MODE;
	status = check_user(out->owner);
	return status ? status : check_user(out->group);
}

static void note_socket(const struct config_target *target, const struct ivs_config_device *device,
			struct notes *notes)
{
	if (target->vm && device->server && access(device->server, F_OK) && errno == ENOENT)
		notes_add(notes, NULL,
			  "no server has the socket \"%s\" yet: start it before the VM (ivshmem "
			  "config systemd NAME --kind doorbell --size SIZE)",
			  device->server);
}

int config_device_fill(const struct config_target *target, bool hotplug, const struct given *given,
		       struct config_device *texts, struct ivs_config_device *out,
		       struct notes *notes)
{
	bool named = address_is_name(given->operand);
	int status = take_operand(given->operand, texts);

	if (status)
		return status;
	make_region(texts);
	*out = (struct ivs_config_device){
		.kind = given->kind >= 0 ? (enum ivs_config_kind)given->kind
			: *texts->server ? IVS_CONFIG_DOORBELL
					 : IVS_CONFIG_PLAIN,
		.role = given->role,
		.name = texts->name,
		.id = texts->id,
		.shm = is_shm(texts),
		.names_itself = !ivs_pci_check_name(texts->name, NULL),
	};
	if (out->kind == IVS_CONFIG_PLAIN && (given->server || *texts->server))
		return wrong("a plain device has no server", given->operand,
			     "use --kind doorbell or vfio-user");
	if (!*texts->server && !given->server && !(out->kind == IVS_CONFIG_DOORBELL && named)) {
		out->region = texts->region;
		out->path = texts->path;
	}
	if ((status = take_id(given, texts)) || (status = fill_access(target, given, out)) ||
	    (status = fill_server(target, given, texts, out)) ||
	    (status = fill_socket(target, given, texts, out)) ||
	    (status = check_host(target, given, out)) ||
	    (status = fill_size(target, hotplug, given, out, notes)))
		return status;
	note_socket(target, out, notes);
	return 0;
}
