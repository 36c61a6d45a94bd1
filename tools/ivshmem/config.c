/* SPDX-License-Identifier: BSD-3-Clause */
/* The command config, which prints pieces of configuration that can be pasted. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/parse.h"
#include "base/text.h"
#include "config/escape.h"
#include "config/host.h"
#include "config/libvirt.h"
#include "config/qemu.h"
#include "ivshmem/registers.h"
#include "tools/ivshmem/commands.h"
#include "tools/ivshmem/config_device.h"
#include "tools/ivshmem/program.h"
#include "tools/shared/owners.h"

#define DEVICES_MAX 64
#define TEXT_LEN (4 << 20)
#define OPERAND 1 /* getopt(3) returns this for an operand, if the short options begin with "-" */

static const char help_text[] =
	"usage: ivshmem config TARGET NAME|ADDRESS [OPTION]... [NAME|ADDRESS...]...\n"
	"\n"
	"Prints what to paste into the configuration of a VM or of the host, and where.\n"
	"\n"
	"Targets:\n"
	"  qemu         QEMU's arguments; with --hotplug also commands for its monitor\n"
	"  libvirt      elements of a domain; with --hotplug also virsh commands\n"
	"  tmpfiles     a line for tmpfiles.d(5), which creates the region's file at boot\n"
	"  systemd      units and settings that create the region, or start the server\n"
	"  udev         a rule for /dev/ivshmemN in the guest, or for /dev/kvmfrN\n"
	"  apparmor     lines for the profiles of libvirt's VMs\n"
	"\n"
	"NAME is a region in /dev/shm, or with --kind doorbell a server; ADDRESS is\n"
	"shm:NAME, file:PATH, or unix:PATH of a server; a path alone is that of a socket\n"
	"or file. Options before the first NAME are for all devices, options after a\n"
	"NAME only for that one.\n"
	"\n"
	"      --kind KIND       plain (memory only), doorbell (client of a server) or\n"
	"                        vfio-user (device of ivshmem-device)\n"
	"  -s, --size SIZE       size of the region (that of an existing region)\n"
	"      --role ROLE       master: the VM can be saved and migrated, with the\n"
	"                        region; or peer\n"
	"  -n, --vectors N       interrupts of a device with a server (1)\n"
	"      --server PATH     socket of the server (/run/ivshmem/NAME.sock)\n"
	"      --socket PATH     socket of ivshmem-device\n"
	"                        (/run/ivshmem-device-NAME/vmm.sock)\n"
	"      --id ID           name of the device in QEMU\n"
	"  -o, --owner USER; -g, --group GROUP; -m, --mode MODE\n"
	"                        of the region (root, kvm, 0660)\n"
	"      --hotplug         plug the devices into a running VM\n"
	"      --domain NAME     the VM's name in libvirt, for commands (DOMAIN)\n"
	"      --json            print the pieces in a JSON object\n"
	"  -h, --help; -V, --version\n"
	"\n"
	"Example:\n"
	"  ivshmem config libvirt looking-glass --size 64M\n";

enum {
	OPTION_KIND = 256,
	OPTION_ROLE,
	OPTION_SERVER,
	OPTION_SOCKET,
	OPTION_ID,
	OPTION_HOTPLUG,
	OPTION_DOMAIN,
	OPTION_JSON,
};

static const struct config_target targets[] = {
	{"qemu", ivs_config_qemu, .vm = true, .sized = true},
	{"libvirt", ivs_config_libvirt, .vm = true, .sized = true},
	{"tmpfiles", ivs_config_tmpfiles, .access = true},
	{"systemd", ivs_config_systemd, .access = true, .sized = true, .servers = true},
	{"udev", ivs_config_udev},
	{"apparmor", ivs_config_apparmor},
};

#define TARGETS_N (sizeof(targets) / sizeof(*targets))

/**
 * struct settings - the command line
 * @defaults: options for all devices
 * @given:    options of each device
 */
struct settings {
	const struct config_target *target;
	struct given defaults;
	struct given given[DEVICES_MAX];
	unsigned int n;
	const char *domain;
	bool hotplug;
	bool json;
};

static int wrong(const char *what, const char *value, const char *fix)
{
	char shown[256];

	return usage_error(what, ivs_text_shown(value, shown, sizeof(shown)), fix);
}

static int take_argument(struct settings *settings, const char *value)
{
	if (!settings->target) {
		for (size_t i = 0; i < TARGETS_N; i++) {
			if (!strcmp(value, targets[i].name))
				settings->target = &targets[i];
		}
		if (settings->target)
			return 0;
		return wrong("no such target", value,
			     "use qemu, libvirt, tmpfiles, systemd, udev or apparmor");
	}
	if (settings->n == DEVICES_MAX)
		return wrong("surplus device", value, "give up to 64");
	settings->given[settings->n] = settings->defaults;
	settings->given[settings->n++].operand = value;
	return 0;
}

static int take_operand(void *context, char *value)
{
	return take_argument(context, value);
}

static int take_word(const char *const *words, const char *what, const char *value, const char *fix,
		     int *out)
{
	for (int i = 0; words[i]; i++) {
		if (!strcmp(value, words[i])) {
			*out = i;
			return 0;
		}
	}
	return wrong(what, value, fix);
}

static int take_kind(struct given *given, const char *value)
{
	static const char *const kinds[] = {
		[IVS_CONFIG_PLAIN] = "plain",
		[IVS_CONFIG_DOORBELL] = "doorbell",
		[IVS_CONFIG_VFIO_USER] = "vfio-user",
		NULL,
	};

	return take_word(kinds, "no such kind", value, "use plain, doorbell or vfio-user",
			 &given->kind);
}

static int take_role(struct given *given, const char *value)
{
	static const char *const roles[] = {"peer", "master", NULL};
	int role = 0;
	int status = take_word(roles, "no such role", value, "use master or peer", &role);

	given->role = role ? IVS_CONFIG_ROLE_MASTER : IVS_CONFIG_ROLE_PEER;
	return status;
}

static int take_numbers(struct given *given, int option, const char *value)
{
	uint64_t n = 0;

	if (option == 's') {
		if (!ivs_parse_size(value, &given->size) || !given->size)
			return wrong("invalid size", value,
				     "use a power of two with K, M or G, such as 64M");
		return 0;
	}
	if (!ivs_parse_uint(value, 1, IVS_MSIX_VECTORS_MAX, &n))
		return wrong("invalid number of vectors", value, "use 1 to 2048");
	given->vectors = (unsigned int)n;
	return 0;
}

static int take_text(struct given *given, int option, const char *value)
{
	switch (option) {
	case OPTION_SERVER:
		given->server = value;
		return 0;
	case OPTION_SOCKET:
		given->socket = value;
		return 0;
	case OPTION_ID:
		given->id = value;
		return 0;
	case 'o':
		given->owner = value;
		return 0;
	case 'g':
		given->group = value;
		return 0;
	default:
		return STATUS_USAGE;
	}
}

static int take_option(void *context, int option, const char *value)
{
	struct settings *settings = context;
	struct given *given = settings->n ? &settings->given[settings->n - 1] : &settings->defaults;

	switch (option) {
	case OPERAND:
		return take_argument(settings, value);
	case OPTION_KIND:
		return take_kind(given, value);
	case OPTION_ROLE:
		return take_role(given, value);
	case 's':
	case 'n':
		return take_numbers(given, option, value);
	case 'm':
		return take_mode(value, &given->mode);
	case OPTION_HOTPLUG:
		settings->hotplug = true;
		return 0;
	case OPTION_DOMAIN:
		settings->domain = value;
		return ivs_escape_valid(value)
			       ? 0
			       : wrong("invalid domain", value, "use its name in virsh list");
	case OPTION_JSON:
		settings->json = true;
		return 0;
	default:
		return take_text(given, option, value);
	}
}

static int parse(struct settings *settings, int argc, char **argv)
{
	static const struct option options[] = {
		{"kind", required_argument, NULL, OPTION_KIND},
		{"size", required_argument, NULL, 's'},
		{"role", required_argument, NULL, OPTION_ROLE},
		{"vectors", required_argument, NULL, 'n'},
		{"server", required_argument, NULL, OPTION_SERVER},
		{"socket", required_argument, NULL, OPTION_SOCKET},
		{"id", required_argument, NULL, OPTION_ID},
		{"owner", required_argument, NULL, 'o'},
		{"group", required_argument, NULL, 'g'},
		{"mode", required_argument, NULL, 'm'},
		{"hotplug", no_argument, NULL, OPTION_HOTPLUG},
		{"domain", required_argument, NULL, OPTION_DOMAIN},
		{"json", no_argument, NULL, OPTION_JSON},
		{"version", no_argument, NULL, 'V'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	static const struct usage usage = {help_text, "-s:o:g:m:n:Vh", options, take_option,
					   "",	      take_operand};
	int status = usage_parse(&usage, settings, argc, argv);

	if (status)
		return status;
	if (!settings->target) {
		usage_failed("no target: give qemu, libvirt, tmpfiles, systemd, udev or apparmor, "
			     "and a NAME");
		return STATUS_USAGE;
	}
	if (!settings->n) {
		usage_failed("no name: give the name of a region or server, or its address");
		return STATUS_USAGE;
	}
	if (settings->hotplug && !settings->target->vm)
		return wrong("unexpected --hotplug for", settings->target->name,
			     "it is for qemu and libvirt");
	return 0;
}

/* Return: the path of the program that units run: this one, unless other users can replace it. */
static const char *unit_program(char out[PATH_MAX])
{
	char why[PROGRAM_WHY_LEN];

	return program_find(out) && program_is_safe(out, why) ? out : "/usr/bin/ivshmem";
}

static int check_ids(const struct ivs_config_device *devices, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		for (unsigned int k = 0; k < i; k++) {
			if (!strcmp(devices[i].id, devices[k].id))
				return wrong("two devices have the id", devices[i].id,
					     "give one of them a different one with --id");
		}
	}
	return 0;
}

/* Memory for the texts of all devices. */
struct work {
	struct config_device texts[DEVICES_MAX];
	struct ivs_config_device devices[DEVICES_MAX];
	struct ivs_pieces pieces;
	struct notes notes;
	char program[PATH_MAX];
	char text[TEXT_LEN];
};

static int print_all(const struct settings *settings, struct work *work)
{
	json_t *json = NULL;
	int status;

	if (settings->json) {
		json = json_pack("{s:s}", "target", settings->target->name);
		if (!json)
			return usage_failed("out of memory");
	}
	status = pieces_print(&work->pieces, &work->notes, json);
	json_decref(json);
	return status;
}

static int work_do(const struct settings *settings, struct work *work)
{
	const struct ivs_config config = {
		.devices = work->devices,
		.devices_n = settings->n,
		.hotplug = settings->hotplug,
		.domain = settings->domain ? settings->domain : "DOMAIN",
		.program = unit_program(work->program),
	};
	int status = 0;

	for (unsigned int i = 0; !status && i < settings->n; i++)
		status = config_device_fill(settings->target, settings->hotplug,
					    &settings->given[i], &work->texts[i], &work->devices[i],
					    &work->notes);
	if (!status)
		status = check_ids(work->devices, settings->n);
	if (status)
		return status;
	work->pieces = (struct ivs_pieces)IVS_PIECES_INIT(work->text, sizeof(work->text));
	settings->target->add(&config, &work->pieces);
	return print_all(settings, work);
}

static int run(int argc, char **argv)
{
	struct settings settings = {.defaults = {.kind = -1}};
	struct work *work;
	int status = parse(&settings, argc, argv);

	if (status)
		return status < 0 ? 0 : status;
	work = calloc(1, sizeof(*work));
	if (!work)
		return usage_failed("out of memory");
	status = work_do(&settings, work);
	notes_deinit(&work->notes);
	free(work);
	return status;
}

const struct command command_config = {
	.name = "config",
	.summary = "print configuration for QEMU, libvirt, systemd and others",
	.run = run,
};
