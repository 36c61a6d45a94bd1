/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/ivshmem/virsh_attach.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/parse.h"
#include "base/text.h"
#include "config/escape.h"
#include "config/libvirt.h"
#include "daemon/json.h"
#include "tools/ivshmem/virsh.h"
#include "tools/shared/usage.h"

#define SHM "/dev/shm/"
#define SIZE_MIN (1 << 20)
#define BUSES_MAX 256
#define ELEMENT_LEN (16 * 1024)

/* Mark the buses on which the domain has devices. */
static void buses_mark(const char *xml, bool used[BUSES_MAX])
{
	struct xml_part part;
	char text[16];

	for (; xml_next(xml, "address", &part); xml = part.text + part.len) {
		unsigned long bus;

		xml_value(&part, " type=", text, sizeof(text));
		if (strcmp(text, "pci"))
			continue;
		xml_value(&part, " bus=", text, sizeof(text));
		bus = strtoul(text, NULL, 16);
		if (*text && bus < BUSES_MAX)
			used[bus] = true;
	}
}

/**
 * struct ports - the ports of a domain
 * @free:    index of a port without a device; -1: none
 * @next:    the first index that no controller has
 * @bridged: there is a pcie-to-pci-bridge, which libvirt uses if it may choose
 */
struct ports {
	int free;
	int next;
	bool bridged;
};

static void ports_find(const char *xml, struct ports *out)
{
	bool used[BUSES_MAX] = {false};
	struct xml_part part;
	char text[32];

	*out = (struct ports){.free = -1};
	buses_mark(xml, used);
	for (; xml_next(xml, "controller", &part); xml = part.text + part.len) {
		uint64_t index;

		xml_value(&part, " type=", text, sizeof(text));
		if (strcmp(text, "pci"))
			continue;
		xml_value(&part, " index=", text, sizeof(text));
		if (!ivs_parse_uint(text, 0, BUSES_MAX - 1, &index))
			continue;
		if ((int)index >= out->next)
			out->next = (int)index + 1;
		xml_value(&part, " model=", text, sizeof(text));
		out->bridged |= !strcmp(text, "pcie-to-pci-bridge");
		if (!strcmp(text, "pcie-root-port") && !used[index] && out->free < 0)
			out->free = (int)index;
	}
}

/* Choose where to plug the device in. @port: -1: libvirt chooses. */
static int choose_port(const char *xml, const char *wanted, int *port)
{
	struct ports ports;
	uint64_t index;

	*port = -1;
	if (wanted) {
		if (!strncmp(wanted, "pci.", 4))
			wanted += 4;
		if (!ivs_parse_uint(wanted, 0, BUSES_MAX - 1, &index))
			return usage_error("invalid bus", wanted,
					   "with --domain, use the index of a controller, such as "
					   "16");
		*port = (int)index;
		return 0;
	}
	if (!strstr(xml, "machine='pc-q35"))
		return 0;
	ports_find(xml, &ports);
	*port = ports.free;
	if (ports.free >= 0 || ports.bridged)
		return 0;
	return usage_failed("no port of the domain is free: add a controller to its <devices>, and "
			    "start it again: <controller type='pci' model='pcie-root-port' "
			    "index='%d'/>",
			    ports.next);
}

/* The name of a <shmem>: that of the region's file, or of the server's socket. */
static void choose_name(const struct attach_target *target, char name[NAME_MAX + 1])
{
	const char *slash = strrchr(target->path, '/');
	char *end;

	snprintf(name, NAME_MAX + 1, "%.*s", NAME_MAX, slash ? slash + 1 : target->path);
	end = strrchr(name, '.');
	if (target->kind == IVS_CONFIG_DOORBELL && end && end != name && !strcmp(end, ".sock"))
		*end = '\0';
}

static int check_target(const struct attach_target *target)
{
	if (target->kind == IVS_CONFIG_VFIO_USER)
		return usage_failed("libvirt has no element for a device of ivshmem-device, so it "
				    "cannot be plugged in: define it before the domain starts "
				    "(ivshmem config libvirt --kind vfio-user)");
	if (target->kind == IVS_CONFIG_DOORBELL)
		return 0;
	if (strncmp(target->path, SHM, strlen(SHM)) || strchr(target->path + strlen(SHM), '/'))
		return usage_failed("libvirt accepts only regions in /dev/shm, not %s",
				    target->path);
	if (target->size < SIZE_MIN)
		return usage_failed("%s is smaller than 1M, which is libvirt's minimum",
				    target->path);
	return 0;
}

static int compose(const struct attach *attach, int port, char text[ELEMENT_LEN])
{
	const struct attach_target *target = &attach->target;
	struct ivs_out out = IVS_OUT_INIT(text, ELEMENT_LEN);
	char name[NAME_MAX + 1];
	const struct ivs_config_device device = {
		.kind = target->kind,
		.role = target->master ? IVS_CONFIG_ROLE_MASTER : IVS_CONFIG_ROLE_DEFAULT,
		.name = name,
		.id = "ivshmem",
		.path = target->path,
		.shm = true,
		.size = target->size,
		.server = target->path,
		.vectors = target->vectors,
	};

	choose_name(target, name);
	ivs_escape_check(&out, name);
	ivs_config_libvirt_element(&out, &device, port);
	return out.full
		       ? usage_failed("%s cannot be written in XML: use another name", target->path)
		       : 0;
}

/* Find the alias of the new device. @alias: "" if there is none. */
static void find_alias(const char *before, const char *after, char alias[VIRSH_ALIAS_LEN])
{
	struct xml_part part;
	struct xml_part other;

	for (; xml_next(after, "shmem", &part); after = part.text + part.len) {
		xml_value(&part, "<alias name=", alias, VIRSH_ALIAS_LEN);
		if (*alias && !xml_find_shmem(before, alias, &other))
			return;
	}
	*alias = '\0';
}

static int print_result(const struct attach *attach, const char *alias, bool json)
{
	const struct attach_target *target = &attach->target;
	json_t *object;
	char shown[1024];

	if (!json) {
		printf("attached %s: %s, %s\n", alias, attach_target_driver(target),
		       ivs_text_shown(target->path, shown, sizeof(shown)));
	} else {
		object = json_pack("{s:o, s:s, s:o, s:I}", "id", ivs_json_text(alias), "driver",
				   attach_target_driver(target), "path",
				   ivs_json_text(target->path), "size", (json_int_t)target->size);
		if (!object || ivs_json_write(object, JSON_INDENT(2), stdout))
			usage_failed("cannot print");
		json_decref(object);
		putchar('\n');
	}
	return fflush(stdout) ? usage_failed("cannot print: %s", strerror(errno)) : 0;
}

static int attach_with(const char *domain, struct attach *attach, const char *before, bool json)
{
	char alias[VIRSH_ALIAS_LEN];
	char text[ELEMENT_LEN];
	char *after = NULL;
	char *said = NULL;
	int port;
	int status = choose_port(before, attach->wanted_bus, &port);

	if (!status)
		status = compose(attach, port, text);
	if (!status)
		status = virsh_run(
			(const char *[]){"attach-device", domain, "/dev/stdin", "--live", NULL},
			text, &said);
	free(said);
	if (status)
		return status;
	status = virsh_run((const char *[]){"dumpxml", domain, NULL}, NULL, &after);
	if (status) {
		usage_failed("the device is plugged in, but its alias is not known: virsh dumpxml "
			     "shows it");
		return status;
	}
	find_alias(before, after, alias);
	free(after);
	if (attach->target.kind == IVS_CONFIG_DOORBELL && attach->target.master)
		usage_failed("note: libvirt 9.0 does not pass the role of a device with a server "
			     "on to QEMU: the domain needs <qemu:arg value='-global'/> and "
			     "<qemu:arg value='ivshmem-doorbell.master=on'/>");
	return print_result(attach, alias, json);
}

int virsh_attach(const char *domain, struct attach *attach, bool json)
{
	char *before;
	int status;

	if (!ivs_escape_valid(domain) || *domain == '-')
		return usage_error("invalid domain", domain, "use its name in virsh list");
	if (attach->wanted_id)
		return usage_error("unexpected --id", attach->wanted_id,
				   "libvirt chooses the name of the device");
	status = virsh_run((const char *[]){"dumpxml", domain, NULL}, NULL, &before);
	if (status)
		return status;
	status = attach_target_check(&attach->target);
	if (!status)
		status = check_target(&attach->target);
	if (!status)
		status = attach_with(domain, attach, before, json);
	free(before);
	return status;
}
