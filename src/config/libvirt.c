/* SPDX-License-Identifier: BSD-3-Clause */
#include "config/libvirt.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/parse.h"
#include "config/private.h"

#define DOMAIN_OF_DEVICE "In <devices> of the domain (virsh edit DOMAIN)"

/*
 * libvirt has an element only for QEMU's own devices; plain ones must have their region in
 * /dev/shm.
 */
bool ivs_config_libvirt_has_element(const struct ivs_config_device *device)
{
	return device->kind == IVS_CONFIG_DOORBELL ||
	       (device->kind == IVS_CONFIG_PLAIN && device->shm);
}

void ivs_config_libvirt_element(struct ivs_out *out, const struct ivs_config_device *device,
				int port)
{
	static const char *const roles[] = {
		[IVS_CONFIG_ROLE_DEFAULT] = "",
		[IVS_CONFIG_ROLE_PEER] = " role='peer'",
		[IVS_CONFIG_ROLE_MASTER] = " role='master'",
	};

	ivs_out_text(out, "<shmem name='");
	ivs_escape(out, IVS_SYNTAX_XML, device->name);
	ivs_out_format(out, "'%s>\n", roles[device->role]);
	if (device->kind == IVS_CONFIG_PLAIN) {
		ivs_out_format(out,
			       "  <model type='ivshmem-plain'/>\n"
			       "  <size unit='M'>%" PRIu64 "</size>\n",
			       device->size >> 20);
	} else {
		ivs_out_text(out, "  <model type='ivshmem-doorbell'/>\n  <server path='");
		ivs_escape(out, IVS_SYNTAX_XML, device->server);
		ivs_out_format(out, "'/>\n  <msi vectors='%u' ioeventfd='on'/>\n", device->vectors);
	}
	if (port >= 0)
		ivs_out_format(out,
			       "  <address type='pci' domain='0x0000' bus='0x%02x' slot='0x00' "
			       "function='0x0'/>\n",
			       (unsigned int)port);
	ivs_out_text(out, "</shmem>\n");
}

static void libvirt_elements(const struct ivs_config *config, struct ivs_pieces *pieces)
{
	struct ivs_out *out = NULL;

	for (unsigned int i = 0; i < config->devices_n; i++) {
		if (!ivs_config_libvirt_has_element(&config->devices[i]))
			continue;
		if (!out)
			out = ivs_pieces_add(pieces, IVS_LANGUAGE_XML, DOMAIN_OF_DEVICE);
		ivs_config_libvirt_element(out, &config->devices[i], -1);
	}
}

/*
 * Return: whether the role "master" must be set separately, because libvirt 9.0 does not pass it
 * on.
 */
static bool needs_master(const struct ivs_config *config)
{
	for (unsigned int i = 0; i < config->devices_n; i++) {
		if (config->devices[i].kind == IVS_CONFIG_DOORBELL &&
		    config->devices[i].role == IVS_CONFIG_ROLE_MASTER)
			return true;
	}
	return false;
}

static const char *largest_window(const struct ivs_config *config, char *out)
{
	struct ivs_config_device largest = {0};

	for (unsigned int i = 0; i < config->devices_n; i++) {
		if (config->devices[i].size > largest.size)
			largest = config->devices[i];
	}
	return ivs_window_text(&largest, out);
}

static void commandline_fill(const struct ivs_config *config, struct arguments *arguments)
{
	if (needs_master(config))
		ivs_arguments_add(arguments, "-global", "ivshmem-doorbell.master=on");
	if (config->hotplug) {
		char value[64];
		char size[IVS_SIZE_TEXT_LEN];

		snprintf(value, sizeof(value), "pcie-root-port.pref64-reserve=%s",
			 largest_window(config, size));
		ivs_arguments_add(arguments, "-global", value);
		return;
	}
	for (unsigned int i = 0; i < config->devices_n; i++) {
		if (!ivs_config_libvirt_has_element(&config->devices[i]))
			ivs_arguments_device(arguments, &config->devices[i]);
	}
}

/*
 * A domain has one such element. The element declares its namespace, so that it can be pasted as it
 * is.
 */
static void libvirt_commandline(const struct ivs_config *config, struct ivs_pieces *pieces)
{
	bool needed = config->hotplug || needs_master(config);
	struct arguments arguments = {.xml = true};

	for (unsigned int i = 0; i < config->devices_n; i++)
		needed |= !ivs_config_libvirt_has_element(&config->devices[i]);
	if (!needed)
		return;
	arguments.out = ivs_pieces_add(
		pieces, IVS_LANGUAGE_XML,
		"In <domain>, after </devices>; if there is such an element, add the inner lines "
		"to it");
	ivs_out_text(arguments.out, "<qemu:commandline "
				    "xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>\n");
	commandline_fill(config, &arguments);
	ivs_out_text(arguments.out, "</qemu:commandline>\n");
}

/* Regions in /dev, other than those in /dev/shm, are device nodes. */
static bool is_node(const struct ivs_config_device *device)
{
	return device->kind == IVS_CONFIG_PLAIN && !device->shm &&
	       !strncmp(device->path, "/dev/", 5) && strncmp(device->path, "/dev/hugepages/", 15);
}

static void libvirt_nodes(const struct ivs_config *config, struct ivs_pieces *pieces)
{
	struct ivs_out *out = NULL;

	for (unsigned int i = 0; i < config->devices_n; i++) {
		if (!is_node(&config->devices[i]))
			continue;
		if (!out) {
			out = ivs_pieces_add(pieces, IVS_LANGUAGE_QEMU_CONF,
					     "In /etc/libvirt/qemu.conf, so that QEMU may open the "
					     "device; then: systemctl restart libvirtd");
			ivs_out_text(out, "cgroup_device_acl = [\n"
					  "  \"/dev/null\", \"/dev/full\", \"/dev/zero\",\n"
					  "  \"/dev/random\", \"/dev/urandom\",\n"
					  "  \"/dev/ptmx\", \"/dev/kvm\", \"/dev/userfaultfd\"");
		}
		ivs_out_text(out, ",\n  \"");
		ivs_escape(out, IVS_SYNTAX_JSON, config->devices[i].path);
		ivs_out_text(out, "\"");
	}
	if (out)
		ivs_out_text(out, "\n]\n");
}

static void virsh_step(const struct ivs_config *config, struct ivs_out *out, unsigned int index,
		       enum step step)
{
	char text[ARGUMENT_LEN];
	char bus[16];
	struct ivs_out command = IVS_OUT_INIT(text, sizeof(text));

	snprintf(bus, sizeof(bus), "pci.%u", LIBVIRT_PORT + index);
	if (ivs_qmp_command(&command, &config->devices[index], step, bus)) {
		ivs_out_text(out, "virsh qemu-monitor-command ");
		ivs_escape(out, IVS_SYNTAX_SHELL, config->domain);
		ivs_out_text(out, " ");
		ivs_escape(out, IVS_SYNTAX_SHELL, text);
		ivs_out_text(out, "\n");
	}
	out->full |= command.full;
}

/* Plug in a device for which libvirt has an element. */
static void attach_element(const struct ivs_config *config, struct ivs_pieces *pieces,
			   unsigned int index)
{
	const struct ivs_config_device *device = &config->devices[index];
	bool plain = device->kind == IVS_CONFIG_PLAIN;
	struct ivs_out *out;

	out = ivs_pieces_add(pieces, IVS_LANGUAGE_XML, "In a new file: %.63s.xml", device->id);
	ivs_config_libvirt_element(out, device, LIBVIRT_PORT + (int)index);
	out = ivs_pieces_add(pieces, IVS_LANGUAGE_SHELL,
			     "On the host, to plug it into the running domain%s",
			     plain ? "" : ". Do not unplug it: QEMU may crash");
	ivs_out_text(out, "virsh attach-device ");
	ivs_escape(out, IVS_SYNTAX_SHELL, config->domain);
	ivs_out_format(out, " %s.xml --live\n", device->id);
	if (!plain)
		return;
	out = ivs_pieces_add(pieces, IVS_LANGUAGE_SHELL, "On the host, to unplug it");
	ivs_out_text(out, "virsh detach-device ");
	ivs_escape(out, IVS_SYNTAX_SHELL, config->domain);
	ivs_out_format(out, " %s.xml --live\n", device->id);
}

/* Plug in a device for which libvirt has no element. */
static void attach_by_monitor(const struct ivs_config *config, struct ivs_pieces *pieces,
			      unsigned int index)
{
	const struct ivs_config_device *device = &config->devices[index];
	struct ivs_out *out;

	out = ivs_pieces_add(pieces, IVS_LANGUAGE_SHELL,
			     "On the host, to plug it into the running domain%s",
			     device->server ? ". Do not unplug it: QEMU may crash" : "");
	virsh_step(config, out, index, STEP_BACKEND);
	virsh_step(config, out, index, STEP_DEVICE);
	if (device->server)
		return;
	out = ivs_pieces_add(pieces, IVS_LANGUAGE_SHELL, "On the host, to unplug it%s",
			     device->kind == IVS_CONFIG_PLAIN
				     ? "; run the second command when the guest has released it"
				     : "");
	virsh_step(config, out, index, STEP_UNPLUG);
	virsh_step(config, out, index, STEP_REMOVE_BACKEND);
}

static void libvirt_hotplug(const struct ivs_config *config, struct ivs_pieces *pieces)
{
	struct ivs_out *out;

	out = ivs_pieces_add(pieces, IVS_LANGUAGE_XML,
			     DOMAIN_OF_DEVICE ", before it starts: a port for each device (q35)");
	for (unsigned int i = 0; i < config->devices_n; i++)
		ivs_out_format(out, "<controller type='pci' model='pcie-root-port' index='%u'/>\n",
			       LIBVIRT_PORT + i);
	libvirt_commandline(config, pieces);
	for (unsigned int i = 0; i < config->devices_n; i++) {
		if (ivs_config_libvirt_has_element(&config->devices[i]))
			attach_element(config, pieces, i);
		else
			attach_by_monitor(config, pieces, i);
	}
}

void ivs_config_libvirt(const struct ivs_config *config, struct ivs_pieces *pieces)
{
	ivs_config_check(config, pieces);
	for (unsigned int i = 0; i < config->devices_n; i++) {
		if (config->devices[i].kind == IVS_CONFIG_VFIO_USER)
			ivs_pieces_device_program(pieces, &config->devices[i]);
	}
	libvirt_nodes(config, pieces);
	if (config->hotplug) {
		libvirt_hotplug(config, pieces);
		return;
	}
	libvirt_elements(config, pieces);
	libvirt_commandline(config, pieces);
}
