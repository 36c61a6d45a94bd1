/* SPDX-License-Identifier: BSD-3-Clause */
#include "config/qemu.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/parse.h"
#include "config/private.h"

#define BUS_LEN 80
#define CHASSIS_FIRST 101 /* other ports do not use such numbers */
#define LARGE_WINDOW (UINT64_C(4) << 30)

void ivs_arguments_add(struct arguments *arguments, const char *option, const char *value)
{
	struct ivs_out *out = arguments->out;

	if (arguments->xml) {
		ivs_out_format(out, "  <qemu:arg value='%s'/>\n  <qemu:arg value='", option);
		ivs_escape(out, IVS_SYNTAX_XML, value);
		ivs_out_text(out, "'/>\n");
	} else {
		ivs_out_format(out, "%s%s ", arguments->any ? " \\\n" : "", option);
		ivs_escape(out, IVS_SYNTAX_SHELL, value);
	}
	arguments->any = true;
}

void ivs_arguments_end(struct arguments *arguments)
{
	if (!arguments->xml)
		ivs_out_text(arguments->out, "\n");
}

static const char *master(const struct ivs_config_device *device)
{
	return device->role == IVS_CONFIG_ROLE_MASTER ? ",master=on" : "";
}

static void arguments_plain(struct arguments *arguments, const struct ivs_config_device *device)
{
	char size[IVS_SIZE_TEXT_LEN];
	char value[ARGUMENT_LEN];
	struct ivs_out backend = IVS_OUT_INIT(value, sizeof(value));
	struct ivs_out option = IVS_OUT_INIT(value, sizeof(value));

	ivs_out_format(&backend, "memory-backend-file,id=%s-mem,share=on,mem-path=", device->id);
	ivs_escape(&backend, IVS_SYNTAX_QEMU, device->path);
	ivs_out_format(&backend, ",size=%s", ivs_size_text(device->size, size));
	ivs_arguments_add(arguments, "-object", value);
	ivs_out_format(&option, "ivshmem-plain,id=%s,memdev=%s-mem%s", device->id, device->id,
		       master(device));
	ivs_arguments_add(arguments, "-device", value);
	arguments->out->full |= backend.full || option.full;
}

static void arguments_doorbell(struct arguments *arguments, const struct ivs_config_device *device)
{
	char value[ARGUMENT_LEN];
	struct ivs_out backend = IVS_OUT_INIT(value, sizeof(value));
	struct ivs_out option = IVS_OUT_INIT(value, sizeof(value));

	ivs_out_format(&backend, "socket,id=%s-server,path=", device->id);
	ivs_escape(&backend, IVS_SYNTAX_QEMU, device->server);
	ivs_arguments_add(arguments, "-chardev", value);
	ivs_out_format(&option, "ivshmem-doorbell,id=%s,chardev=%s-server,vectors=%u%s", device->id,
		       device->id, device->vectors, master(device));
	ivs_arguments_add(arguments, "-device", value);
	arguments->out->full |= backend.full || option.full;
}

static void vfio_user_properties(struct ivs_out *out, const struct ivs_config_device *device,
				 const char *bus)
{
	ivs_out_format(out, "{\"driver\":\"vfio-user-pci\",\"id\":\"%s\",", device->id);
	if (bus)
		ivs_out_format(out, "\"bus\":\"%s\",", bus);
	ivs_out_text(out, "\"socket\":{\"type\":\"unix\",\"path\":\"");
	ivs_escape(out, IVS_SYNTAX_JSON, device->socket);
	ivs_out_text(out, "\"}}");
}

void ivs_arguments_device(struct arguments *arguments, const struct ivs_config_device *device)
{
	char value[ARGUMENT_LEN];
	struct ivs_out option = IVS_OUT_INIT(value, sizeof(value));

	if (device->kind == IVS_CONFIG_PLAIN) {
		arguments_plain(arguments, device);
	} else if (device->kind == IVS_CONFIG_DOORBELL) {
		arguments_doorbell(arguments, device);
	} else {
		vfio_user_properties(&option, device, NULL);
		ivs_arguments_add(arguments, "-device", value);
		arguments->out->full |= option.full;
	}
}

static void qmp_backend(struct ivs_out *out, const struct ivs_config_device *device)
{
	if (device->kind == IVS_CONFIG_PLAIN) {
		ivs_out_format(out,
			       "{\"execute\":\"object-add\",\"arguments\":{\"qom-type\":"
			       "\"memory-backend-file\",\"id\":\"%s-mem\",\"mem-path\":\"",
			       device->id);
		ivs_escape(out, IVS_SYNTAX_JSON, device->path);
		ivs_out_format(out, "\",\"size\":%" PRIu64 ",\"share\":true}}", device->size);
		return;
	}
	ivs_out_format(out,
		       "{\"execute\":\"chardev-add\",\"arguments\":{\"id\":\"%s-server\","
		       "\"backend\":{\"type\":\"socket\",\"data\":{\"server\":false,\"addr\":"
		       "{\"type\":\"unix\",\"data\":{\"path\":\"",
		       device->id);
	ivs_escape(out, IVS_SYNTAX_JSON, device->server);
	ivs_out_text(out, "\"}}}}}}");
}

static void qmp_device(struct ivs_out *out, const struct ivs_config_device *device, const char *bus)
{
	ivs_out_text(out, "{\"execute\":\"device_add\",\"arguments\":");
	if (device->kind == IVS_CONFIG_VFIO_USER) {
		vfio_user_properties(out, device, bus);
	} else {
		bool plain = device->kind == IVS_CONFIG_PLAIN;

		ivs_out_format(out, "{\"driver\":\"ivshmem-%s\",\"id\":\"%s\",\"bus\":\"%s\",",
			       plain ? "plain" : "doorbell", device->id, bus);
		if (plain)
			ivs_out_format(out, "\"memdev\":\"%s-mem\"", device->id);
		else
			ivs_out_format(out, "\"chardev\":\"%s-server\",\"vectors\":%u", device->id,
				       device->vectors);
		if (device->role == IVS_CONFIG_ROLE_MASTER)
			ivs_out_text(out, ",\"master\":true");
		ivs_out_text(out, "}");
	}
	ivs_out_text(out, "}");
}

/*
 * QEMU may crash if a device with vectors is unplugged; see ivshmem-qemu(7), ivshmem-device-vmm(7).
 */
static bool can_unplug(const struct ivs_config_device *device)
{
	return !device->server;
}

bool ivs_qmp_command(struct ivs_out *out, const struct ivs_config_device *device, enum step step,
		     const char *bus)
{
	switch (step) {
	case STEP_BACKEND:
		if (device->kind == IVS_CONFIG_VFIO_USER)
			return false;
		qmp_backend(out, device);
		return true;
	case STEP_DEVICE:
		qmp_device(out, device, bus);
		return true;
	case STEP_UNPLUG:
		ivs_out_format(out, "{\"execute\":\"device_del\",\"arguments\":{\"id\":\"%s\"}}",
			       device->id);
		return can_unplug(device);
	default:
		ivs_out_format(out,
			       "{\"execute\":\"object-del\",\"arguments\":{\"id\":\"%s-mem\"}}",
			       device->id);
		return device->kind == IVS_CONFIG_PLAIN;
	}
}

const char *ivs_window_text(const struct ivs_config_device *device, char *out)
{
	return ivs_size_text(device->size > 2 << 20 ? device->size : 2 << 20, out);
}

static void qemu_ports(const struct ivs_config *config, struct ivs_pieces *pieces)
{
	bool large = false;
	struct arguments arguments = {0};

	for (unsigned int i = 0; i < config->devices_n; i++)
		large |= config->devices[i].size >= LARGE_WINDOW;
	arguments.out = ivs_pieces_add(
		pieces, IVS_LANGUAGE_SHELL, "%s%s",
		"In the command that starts QEMU (-M q35), after its other arguments: a port for "
		"each device",
		large ? ". Linux may fail to assign an address in a window of 4G or more: if so, "
			"leave out --hotplug"
		      : "");
	for (unsigned int i = 0; i < config->devices_n; i++) {
		const struct ivs_config_device *device = &config->devices[i];
		char value[2 * BUS_LEN];
		char size[IVS_SIZE_TEXT_LEN];

		snprintf(value, sizeof(value),
			 "pcie-root-port,id=%.63s-port,chassis=%u,pref64-reserve=%s", device->id,
			 CHASSIS_FIRST + i, ivs_window_text(device, size));
		ivs_arguments_add(&arguments, "-device", value);
	}
	ivs_arguments_end(&arguments);
}

static void qemu_step(struct ivs_pieces *pieces, const struct ivs_config_device *device,
		      enum step step)
{
	char text[ARGUMENT_LEN];
	char bus[BUS_LEN];
	struct ivs_out command = IVS_OUT_INIT(text, sizeof(text));

	snprintf(bus, sizeof(bus), "%.63s-port", device->id);
	if (ivs_qmp_command(&command, device, step, bus))
		ivs_out_format(&pieces->out, "%s\n", text);
	pieces->out.full |= command.full;
}

static void qemu_hotplug(const struct ivs_config *config, struct ivs_pieces *pieces)
{
	qemu_ports(config, pieces);
	for (unsigned int i = 0; i < config->devices_n; i++) {
		const struct ivs_config_device *device = &config->devices[i];

		ivs_pieces_add(pieces, IVS_LANGUAGE_QMP,
			       "In QEMU's monitor socket (QMP), to plug in %.63s%s", device->id,
			       can_unplug(device) ? "" : ". Do not unplug it: QEMU may crash");
		qemu_step(pieces, device, STEP_BACKEND);
		qemu_step(pieces, device, STEP_DEVICE);
		if (!can_unplug(device))
			continue;
		ivs_pieces_add(pieces, IVS_LANGUAGE_QMP, "To unplug %.63s%s", device->id,
			       device->kind == IVS_CONFIG_PLAIN
				       ? "; send the second line after the DEVICE_DELETED event"
				       : "");
		qemu_step(pieces, device, STEP_UNPLUG);
		qemu_step(pieces, device, STEP_REMOVE_BACKEND);
	}
}

void ivs_config_qemu(const struct ivs_config *config, struct ivs_pieces *pieces)
{
	struct arguments arguments = {0};

	ivs_config_check(config, pieces);
	for (unsigned int i = 0; i < config->devices_n; i++) {
		if (config->devices[i].kind == IVS_CONFIG_VFIO_USER)
			ivs_pieces_device_program(pieces, &config->devices[i]);
	}
	if (config->hotplug) {
		qemu_hotplug(config, pieces);
		return;
	}
	arguments.out = ivs_pieces_add(
		pieces, IVS_LANGUAGE_SHELL,
		"In the command that starts QEMU, after its other arguments");
	for (unsigned int i = 0; i < config->devices_n; i++)
		ivs_arguments_device(&arguments, &config->devices[i]);
	ivs_arguments_end(&arguments);
}
