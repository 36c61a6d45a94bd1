/* SPDX-License-Identifier: BSD-3-Clause */
#include "config/host.h"

#include <stdio.h>
#include <string.h>

#include "base/parse.h"
#include "config/private.h"
#include "config/region_boot.h"

#define KVMFR "/dev/kvmfr"
#define STEM_LEN (4 * 4096) /* escaping can turn each byte of a path into four */

static void add_option(struct ivs_out *out, enum ivs_syntax syntax, const char *option,
		       const char *value)
{
	ivs_out_format(out, " %s ", option);
	ivs_escape(out, syntax, value);
}

void ivs_device_program(struct ivs_out *out, const struct ivs_config_device *device,
			enum ivs_syntax syntax)
{
	char size[IVS_SIZE_TEXT_LEN];

	if (device->server) {
		ivs_out_text(out, "--server ");
		ivs_escape(out, syntax, device->server);
		ivs_out_format(out, " --vectors %u", device->vectors);
	} else {
		ivs_out_text(out, "--region ");
		ivs_escape(out, syntax, device->region);
		ivs_out_format(out, " --size %s --region-mode 0%o",
			       ivs_size_text(device->size, size), device->mode);
		if (strcmp(device->owner, "root") != 0)
			add_option(out, syntax, "--region-owner", device->owner);
		add_option(out, syntax, "--region-group", device->group);
	}
	if (device->role == IVS_CONFIG_ROLE_MASTER)
		ivs_out_text(out, " --role master");
	if (device->names_itself)
		add_option(out, syntax, "--name", device->name);
}

void ivs_pieces_device_program(struct ivs_pieces *pieces, const struct ivs_config_device *device)
{
	struct ivs_out *out;

	out = ivs_pieces_add(pieces, IVS_LANGUAGE_SHELL,
			     "On the host, before the VM starts; \"ivshmem config systemd\" makes "
			     "it a service");
	ivs_out_text(out, "ivshmem-device --socket ");
	ivs_escape(out, IVS_SYNTAX_SHELL, device->socket);
	add_option(out, IVS_SYNTAX_SHELL, "--socket-group", device->group);
	ivs_out_text(out, " --socket-mode 0660 \\\n    ");
	ivs_device_program(out, device, IVS_SYNTAX_SHELL);
	ivs_out_text(out, " &\n");
}

static void tmpfiles_line(struct ivs_out *out, const struct ivs_config_device *device)
{
	ivs_out_text(out, "f ");
	ivs_escape(out, IVS_SYNTAX_TMPFILES, device->path);
	ivs_out_format(out, " 0%o %s %s -\n", device->mode, device->owner, device->group);
}

/* Add a line for the directory of a socket, which is often missing after a reboot. */
static void tmpfiles_directory(struct ivs_out *out, const char *socket)
{
	const char *end = strrchr(socket, '/');
	char directory[ARGUMENT_LEN];

	if (!end || end == socket)
		return;
	snprintf(directory, sizeof(directory), "%.*s", (int)(end - socket), socket);
	ivs_out_text(out, "d ");
	ivs_escape(out, IVS_SYNTAX_TMPFILES, directory);
	ivs_out_text(out, " 0755 root root -\n");
}

void ivs_config_tmpfiles(const struct ivs_config *config, struct ivs_pieces *pieces)
{
	ivs_config_check(config, pieces);
	for (unsigned int i = 0; i < config->devices_n; i++) {
		const struct ivs_config_device *device = &config->devices[i];
		bool plain = device->kind == IVS_CONFIG_PLAIN;
		struct ivs_out *out;

		out = ivs_pieces_add(pieces, IVS_LANGUAGE_TMPFILES,
				     "In /etc/tmpfiles.d/ivshmem-%.63s.conf; to apply it now: "
				     "systemd-tmpfiles --create FILE%s",
				     device->id,
				     plain ? ". The file is empty until the first VM starts" : "");
		if (plain)
			tmpfiles_line(out, device);
		else
			tmpfiles_directory(out, device->kind == IVS_CONFIG_DOORBELL
							? device->server
							: device->socket);
	}
}

/* Add the unit that "ivshmem create --boot" also writes; the unit also reserves the memory. */
static void systemd_plain(const struct ivs_config *config, struct ivs_pieces *pieces,
			  const struct ivs_config_device *device)
{
	const struct ivs_region_boot boot = {
		.address = device->region,
		.path = device->path,
		.size = device->size,
		.owner = device->owner,
		.group = device->group,
		.mode = device->mode,
		.program = config->program,
	};
	char stem[STEM_LEN];
	char unit[STEM_LEN + 32];
	struct ivs_out stem_out = IVS_OUT_INIT(stem, sizeof(stem));
	struct ivs_out *out;

	ivs_region_boot_stem(&stem_out, device->region);
	snprintf(unit, sizeof(unit), "ivshmem-region-%s.service", stem);
	out = ivs_pieces_add(pieces, IVS_LANGUAGE_UNIT, "In /etc/systemd/system/%s", unit);
	ivs_region_boot_unit(out, &boot);
	out->full |= stem_out.full;
	out = ivs_pieces_add(pieces, IVS_LANGUAGE_SHELL, "Then, as root");
	ivs_out_text(out, "systemctl daemon-reload\nsystemctl enable --now ");
	ivs_escape(out, IVS_SYNTAX_SHELL, unit);
	ivs_out_text(out, "\n");
}

/* The socket unit has the group kvm and mode 0660 unless a drop-in changes them. */
static void systemd_socket_drop_in(struct ivs_pieces *pieces,
				   const struct ivs_config_device *device)
{
	struct ivs_out *out;

	if (!strcmp(device->owner, "root") && !strcmp(device->group, "kvm") && device->mode == 0660)
		return;
	out = ivs_pieces_add(
		pieces, IVS_LANGUAGE_UNIT,
		"In /etc/systemd/system/ivshmem@%.63s.socket.d/access.conf: users that may connect",
		device->name);
	ivs_out_format(out, "[Socket]\nSocketUser=%s\nSocketGroup=%s\nSocketMode=0%o\n",
		       device->owner, device->group, device->mode);
}

static void systemd_doorbell(struct ivs_pieces *pieces, const struct ivs_config_device *device)
{
	char size[IVS_SIZE_TEXT_LEN];
	struct ivs_out *out;

	out = ivs_pieces_add(pieces, IVS_LANGUAGE_ENVIRONMENT,
			     "In /etc/ivshmem/%.63s.conf: settings of ivshmem@%.63s.service",
			     device->name, device->name);
	ivs_out_text(out, "REGION=");
	ivs_escape(out, IVS_SYNTAX_ENVIRONMENT, device->region ? device->region : "memfd:");
	ivs_out_format(out, "\nSIZE=%s\nVECTORS=%u\n", ivs_size_text(device->size, size),
		       device->vectors);
	systemd_socket_drop_in(pieces, device);
	out = ivs_pieces_add(pieces, IVS_LANGUAGE_SHELL, "Then, as root");
	ivs_out_format(out,
		       "systemctl daemon-reload\n"
		       "systemctl enable --now ivshmem@%s.socket\n",
		       device->name);
}

static void systemd_vfio_user(struct ivs_pieces *pieces, const struct ivs_config_device *device)
{
	char text[ARGUMENT_LEN];
	struct ivs_out words = IVS_OUT_INIT(text, sizeof(text));
	struct ivs_out *out;

	ivs_device_program(&words, device, IVS_SYNTAX_WORDS);
	out = ivs_pieces_add(
		pieces, IVS_LANGUAGE_ENVIRONMENT,
		"In /etc/ivshmem/device-%.63s.conf: settings of ivshmem-device@%.63s.service",
		device->name, device->name);
	ivs_out_text(out, "DEVICE=");
	ivs_escape(out, IVS_SYNTAX_ENVIRONMENT, text);
	ivs_out_text(out, "\n");
	out->full |= words.full;
	out = ivs_pieces_add(pieces, IVS_LANGUAGE_SHELL, "Then, as root");
	ivs_out_format(out, "systemctl enable --now ivshmem-device@%s.service\n", device->name);
}

void ivs_config_systemd(const struct ivs_config *config, struct ivs_pieces *pieces)
{
	ivs_config_check(config, pieces);
	for (unsigned int i = 0; i < config->devices_n; i++) {
		const struct ivs_config_device *device = &config->devices[i];

		if (device->kind == IVS_CONFIG_PLAIN)
			systemd_plain(config, pieces, device);
		else if (device->kind == IVS_CONFIG_DOORBELL)
			systemd_doorbell(pieces, device);
		else
			systemd_vfio_user(pieces, device);
	}
}

static bool is_kvmfr(const struct ivs_config_device *device)
{
	const char *number = device->path ? device->path + strlen(KVMFR) : "";

	return device->path && !strncmp(device->path, KVMFR, strlen(KVMFR)) && *number &&
	       !number[strspn(number, "0123456789")];
}

static void udev_assign(struct ivs_out *out, const struct ivs_config_device *device)
{
	if (strcmp(device->owner, "root") != 0) {
		ivs_out_text(out, ", OWNER=");
		ivs_escape(out, IVS_SYNTAX_UDEV, device->owner);
	}
	ivs_out_text(out, ", GROUP=");
	ivs_escape(out, IVS_SYNTAX_UDEV, device->group);
	ivs_out_format(out, ", MODE=\"0%o\"\n", device->mode);
}

void ivs_config_udev(const struct ivs_config *config, struct ivs_pieces *pieces)
{
	ivs_config_check(config, pieces);
	for (unsigned int i = 0; i < config->devices_n; i++) {
		const struct ivs_config_device *device = &config->devices[i];
		struct ivs_out *out;

		if (is_kvmfr(device)) {
			out = ivs_pieces_add(pieces, IVS_LANGUAGE_UDEV,
					     "On the host, in /etc/udev/rules.d/70-%.63s.rules; "
					     "then: udevadm control --reload; udevadm trigger",
					     device->id);
			ivs_out_format(out, "SUBSYSTEM==\"kvmfr\", KERNEL==\"%s\"", device->name);
		} else {
			/*
			 * A guest sees a region's name only if ivshmem-device gives the region that
			 * name.
			 */
			bool named = device->kind == IVS_CONFIG_VFIO_USER && device->names_itself;

			out = ivs_pieces_add(pieces, IVS_LANGUAGE_UDEV,
					     "In the guest, in /etc/udev/rules.d/70-%.63s.rules; "
					     "then: udevadm control --reload; udevadm trigger%s",
					     device->id,
					     named ? ""
						   : ". It applies to all devices in the guest");
			ivs_out_text(out, "SUBSYSTEM==\"ivshmem\", KERNEL==\"ivshmem[0-9]*\"");
			if (named)
				ivs_out_format(out, ", ATTR{name}==\"%s\"", device->name);
		}
		udev_assign(out, device);
	}
}

void ivs_config_apparmor(const struct ivs_config *config, struct ivs_pieces *pieces)
{
	struct ivs_out *out;

	ivs_config_check(config, pieces);
	out = ivs_pieces_add(
		pieces, IVS_LANGUAGE_APPARMOR,
		"In /etc/apparmor.d/local/abstractions/libvirt-qemu. For a <shmem>, libvirt 5.10 "
		"and later does this itself");
	for (unsigned int i = 0; i < config->devices_n; i++) {
		const struct ivs_config_device *device = &config->devices[i];
		const char *const paths[] = {
			[IVS_CONFIG_PLAIN] = device->path,
			[IVS_CONFIG_DOORBELL] = device->server,
			[IVS_CONFIG_VFIO_USER] = device->socket,
		};

		ivs_escape(out, IVS_SYNTAX_APPARMOR, paths[device->kind]);
		ivs_out_text(out, " rw,\n");
	}
}
