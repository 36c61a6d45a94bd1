/* SPDX-License-Identifier: BSD-3-Clause */
/* The command attach, which plugs a device into a running VM. */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/parse.h"
#include "base/text.h"
#include "config/escape.h"
#include "daemon/json.h"
#include "ivshmem/registers.h"
#include "tools/ivshmem/attach_steps.h"
#include "tools/ivshmem/commands.h"
#include "tools/ivshmem/json_print.h"
#include "tools/ivshmem/virsh_attach.h"

#define TIMEOUT_S 30
#define TIMEOUT_MAX_S 86400

static const char help_text[] =
	"usage: ivshmem attach --qmp SOCKET|--domain DOMAIN\n"
	"                      --region REGION|--server PATH|--device PATH [OPTION]...\n"
	"\n"
	"Plugs shared memory into a running VM, and waits until the guest has enabled it.\n"
	"If a step fails, the steps before it are undone.\n"
	"\n"
	"The VM:\n"
	"      --qmp SOCKET      QEMU's monitor (-qmp unix:SOCKET,server=on,wait=off)\n"
	"      --domain DOMAIN   a domain of libvirt\n"
	"\n"
	"What to plug in:\n"
	"      --region REGION   memory only: a NAME in /dev/shm, a path or an address\n"
	"      --server PATH     memory and doorbells: socket of an ivshmem-server\n"
	"      --device PATH     a device of ivshmem-device: its socket (QEMU 10.1 or later)\n"
	"\n"
	"      --id ID           name of the device (the first free one of ivshmem0, ...)\n"
	"      --bus BUS         a port or bus of the VM (the first free one)\n"
	"      --master          the VM is the master: saved and migrated with the region\n"
	"      --control PATH    control socket of the server, to check if it is too old\n"
	"                        for detach (those of the units, /run/ivshmem-NAME/control)\n"
	"  -n, --vectors N       interrupts, with --server (as many as the server has)\n"
	"  -t, --timeout SECONDS time limit for the guest (30); 0: do not wait\n"
	"  -j, --json            print JSON\n"
	"  -h, --help; -V, --version\n"
	"\n"
	"The exit status is 3 if the device is plugged in, but the guest has not enabled it\n"
	"in time: no driver is loaded, or no operating system is running.\n"
	"\n"
	"Example:\n"
	"  ivshmem attach --qmp /run/vm1.qmp --region my-region\n";

enum {
	OPTION_QMP = 256,
	OPTION_DOMAIN,
	OPTION_REGION,
	OPTION_SERVER,
	OPTION_DEVICE,
	OPTION_ID,
	OPTION_BUS,
	OPTION_MASTER,
	OPTION_CONTROL,
};

struct settings {
	struct attach attach;
	const char *qmp;
	const char *domain;
	const char *control;
	bool json;
};

static int wrong(const char *what, const char *value, const char *fix)
{
	char shown[256];

	return usage_error(what, ivs_text_shown(value, shown, sizeof(shown)), fix);
}

static int take_numbers(struct attach *attach, int option, const char *value)
{
	uint64_t n;

	if (option == 'n') {
		if (!ivs_parse_uint(value, 1, IVS_MSIX_VECTORS_MAX, &n))
			return wrong("invalid number of vectors", value, "use 1 to 2048");
		attach->target.vectors = (unsigned int)n;
		return 0;
	}
	if (!ivs_parse_uint(value, 0, TIMEOUT_MAX_S, &n))
		return wrong("invalid time limit", value, "use a number of seconds, such as 30");
	attach->timeout_ms = (int)n * 1000;
	return 0;
}

static int take_names(struct attach *attach, int option, const char *value)
{
	if (option == OPTION_ID) {
		attach->wanted_id = value;
		if (ivs_config_id(value) && strlen(value) <= IVS_CONFIG_ID_MAX)
			return 0;
		return wrong("invalid id", value,
			     "use a letter, then letters, digits, \"-\", \".\" or \"_\"; 63 at "
			     "most");
	}
	attach->wanted_bus = value;
	if (ivs_escape_valid(value) && strlen(value) < BUS_LEN)
		return 0;
	return wrong("invalid bus", value, "use the name of a port or bus, such as hp0");
}

static int take_option(void *context, int option, const char *value)
{
	struct settings *settings = context;
	struct attach *attach = &settings->attach;

	switch (option) {
	case OPTION_QMP:
		settings->qmp = value;
		return 0;
	case OPTION_DOMAIN:
		settings->domain = value;
		return 0;
	case OPTION_REGION:
		attach->target.region = value;
		return 0;
	case OPTION_SERVER:
		attach->target.server = value;
		return 0;
	case OPTION_DEVICE:
		attach->target.device = value;
		return 0;
	case OPTION_MASTER:
		attach->target.master = true;
		return 0;
	case OPTION_CONTROL:
		settings->control = value;
		return 0;
	case OPTION_ID:
	case OPTION_BUS:
		return take_names(attach, option, value);
	case 'n':
	case 't':
		return take_numbers(attach, option, value);
	case 'j':
		settings->json = true;
		return 0;
	default:
		fprintf(stderr, "Try \"%s --help\".\n", usage_name());
		return STATUS_USAGE;
	}
}

/* Refuse options that contradict each other. */
static int check_options(const struct settings *settings)
{
	const struct attach_target *target = &settings->attach.target;
	int targets_n = !!target->region + !!target->server + !!target->device;

	if (!settings->qmp == !settings->domain)
		usage_failed("give the VM: either --qmp SOCKET or --domain DOMAIN");
	else if (targets_n != 1)
		usage_failed("give one of --region, --server and --device");
	else if (target->vectors && !target->server)
		usage_failed("--vectors is for --server: a region has no doorbells, and an "
			     "ivshmem-device has its own --vectors");
	else if (target->master && target->device)
		usage_failed("--master is for --region and --server: QEMU cannot migrate the "
			     "region of --device");
	else if (settings->control && (settings->domain || !target->server))
		usage_failed("--control is for --qmp and --server");
	else
		return 0;
	return STATUS_USAGE;
}

static int parse(struct settings *settings, int argc, char **argv)
{
	static const struct option options[] = {
		{"qmp", required_argument, NULL, OPTION_QMP},
		{"domain", required_argument, NULL, OPTION_DOMAIN},
		{"region", required_argument, NULL, OPTION_REGION},
		{"server", required_argument, NULL, OPTION_SERVER},
		{"device", required_argument, NULL, OPTION_DEVICE},
		{"id", required_argument, NULL, OPTION_ID},
		{"bus", required_argument, NULL, OPTION_BUS},
		{"master", no_argument, NULL, OPTION_MASTER},
		{"control", required_argument, NULL, OPTION_CONTROL},
		{"vectors", required_argument, NULL, 'n'},
		{"timeout", required_argument, NULL, 't'},
		{"json", no_argument, NULL, 'j'},
		{"version", no_argument, NULL, 'V'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	static const struct usage usage = {help_text,	"n:t:jVh",    options,
					   take_option, "see --help", NULL};
	int status = usage_parse(&usage, settings, argc, argv);

	return status ? status : check_options(settings);
}

/* Print what may surprise the user although nothing has failed. */
static void print_notes(const struct settings *settings, const struct monitor *monitor)
{
	const struct attach *attach = &settings->attach;
	const struct attach_target *target = &attach->target;
	unsigned int server_n = target->probe.vectors_n;
	char old[SERVER_OLD_LEN];

	if (target->kind == IVS_CONFIG_DOORBELL &&
	    *server_note_old(settings->control, monitor->pid, old))
		usage_failed("note: %s", old);
	if (target->kind == IVS_CONFIG_DOORBELL && target->vectors < server_n)
		usage_failed("note: the server has %u vectors, but the device only %u, so "
			     "doorbells on the others are lost",
			     server_n, target->vectors);
	else if (target->kind == IVS_CONFIG_DOORBELL && target->vectors > server_n)
		usage_failed("note: the server has only %u vectors, but the device %u, so no "
			     "peer can ring the others",
			     server_n, target->vectors);
	if (!attach->running)
		usage_failed(
			"note: the VM is not running: its guest will find the device when the VM "
			"runs again");
	else if (attach->bar2 < 0 && attach->timeout_ms)
		usage_failed("%s is plugged in, but the guest has not enabled it within %d s: no "
			     "driver is loaded, no operating system is running, or the port's "
			     "window is too small",
			     attach->id, attach->timeout_ms / 1000);
}

static int print_text(const struct attach *attach)
{
	char size[IVS_SIZE_TEXT_LEN];
	char path[1024];
	char bus[BUS_LEN];

	printf("attached %s: %s, %s%s%s, at %s", attach->id, attach_target_driver(&attach->target),
	       ivs_text_shown(attach->target.path, path, sizeof(path)),
	       attach->target.size ? ", " : "",
	       attach->target.size ? ivs_size_text(attach->target.size, size) : "",
	       ivs_text_shown(attach->bus, bus, sizeof(bus)));
	if (attach->bar2 >= 0)
		printf("; the guest has enabled it, with BAR 2 at 0x%" PRIx64,
		       (uint64_t)attach->bar2);
	putchar('\n');
	return fflush(stdout) ? usage_failed("cannot print: %s", strerror(errno)) : 0;
}

static int print_json(const struct attach *attach, const struct monitor *monitor)
{
	const struct attach_target *target = &attach->target;
	char version[48];

	snprintf(version, sizeof(version), "%u.%u.%u", monitor->qmp.version.major,
		 monitor->qmp.version.minor, monitor->qmp.version.micro);
	return json_print(json_pack(
		"{s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:b, s:b, s:o, s:{s:s, s:o, s:b}}", "id",
		attach->id, "driver", attach_target_driver(target), "bus", attach->bus, "backend",
		*attach->backend ? json_string(attach->backend) : json_null(), "path",
		ivs_json_text(target->path), "size",
		target->size ? json_integer((json_int_t)target->size) : json_null(), "vectors",
		target->kind == IVS_CONFIG_DOORBELL ? json_integer((json_int_t)target->vectors)
						    : json_null(),
		"running", attach->running, "enabled", attach->bar2 >= 0, "bar2",
		attach->bar2 >= 0 ? json_integer(attach->bar2) : json_null(), "qemu", "version",
		version, "pid", monitor->pid ? json_integer(monitor->pid) : json_null(), "kvm",
		monitor->kvm));
}

static int run_with_monitor(struct settings *settings)
{
	struct attach *attach = &settings->attach;
	struct monitor monitor;
	int printed = 0;
	/* Probing a server makes a client join and leave, so first check that the VM exists. */
	bool late = attach->target.server;
	int status = late ? 0 : attach_target_check(&attach->target);

	if (status)
		return status;
	status = monitor_open(&monitor, settings->qmp);
	if (!status && late)
		status = attach_target_check(&attach->target);
	if (!status)
		status = attach_device(&monitor, attach);
	if (!status || status == STATUS_PENDING) {
		printed = settings->json ? print_json(attach, &monitor) : print_text(attach);
		print_notes(settings, &monitor);
	}
	monitor_close(&monitor);
	return printed ? printed : status;
}

static int run(int argc, char **argv)
{
	static struct settings settings = {.attach = {.timeout_ms = TIMEOUT_S * 1000}};
	int status = parse(&settings, argc, argv);

	if (status)
		return status < 0 ? 0 : status;
	if (settings.domain)
		return virsh_attach(settings.domain, &settings.attach, settings.json);
	return run_with_monitor(&settings);
}

const struct command command_attach = {
	.name = "attach",
	.summary = "plug shared memory into a running VM",
	.run = run,
};
