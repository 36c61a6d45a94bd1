/* SPDX-License-Identifier: BSD-3-Clause */
/* The command detach, which unplugs a device from a running VM. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/parse.h"
#include "base/text.h"
#include "daemon/json.h"
#include "tools/ivshmem/commands.h"
#include "tools/ivshmem/detach_steps.h"
#include "tools/ivshmem/json_print.h"
#include "tools/ivshmem/virsh_detach.h"

#define TIMEOUT_S 30
#define TIMEOUT_MAX_S 86400

static const char help_text[] =
	"usage: ivshmem detach --qmp SOCKET|--domain DOMAIN ID [OPTION]...\n"
	"\n"
	"Unplugs the device ID from a running VM, waits until the guest has released it,\n"
	"and removes the memory object or character device that it used. Refuses if QEMU\n"
	"could die.\n"
	"\n"
	"      --qmp SOCKET      QEMU's monitor (-qmp unix:SOCKET,server=on,wait=off)\n"
	"      --domain DOMAIN   a domain of libvirt; ID is the alias of the device\n"
	"      --control PATH    control socket of the server to which the device is\n"
	"                        connected (those of the units, /run/ivshmem-NAME/control)\n"
	"      --no-rings        no peer rings the device now: needed for a QEMU before 10.0\n"
	"                        without KVM while other peers are connected\n"
	"  -t, --timeout SECONDS time limit for the guest (30)\n"
	"  -j, --json            print JSON\n"
	"  -h, --help; -V, --version\n"
	"\n"
	"The exit status is 3 if the guest has not released the device in time. The request\n"
	"stays pending; repeat the command to wait again.\n"
	"\n"
	"Example:\n"
	"  ivshmem detach --qmp /run/vm1.qmp ivshmem0\n";

enum {
	OPTION_QMP = 256,
	OPTION_DOMAIN,
	OPTION_CONTROL,
	OPTION_NO_RINGS,
};

struct settings {
	struct detach detach;
	const char *qmp;
	const char *domain;
	bool json;
};

static int wrong(const char *what, const char *value, const char *fix)
{
	char shown[256];

	return usage_error(what, ivs_text_shown(value, shown, sizeof(shown)), fix);
}

static int take_option(void *context, int option, const char *value)
{
	struct settings *settings = context;
	uint64_t n;

	switch (option) {
	case OPTION_QMP:
		settings->qmp = value;
		return 0;
	case OPTION_DOMAIN:
		settings->domain = value;
		return 0;
	case OPTION_CONTROL:
		settings->detach.control = value;
		return 0;
	case OPTION_NO_RINGS:
		settings->detach.no_rings = true;
		return 0;
	case 't':
		if (!ivs_parse_uint(value, 1, TIMEOUT_MAX_S, &n))
			return wrong("invalid time limit", value,
				     "use a number of seconds, such as 60");
		settings->detach.timeout_ms = (int)n * 1000;
		return 0;
	case 'j':
		settings->json = true;
		return 0;
	default:
		fprintf(stderr, "Try \"%s --help\".\n", usage_name());
		return STATUS_USAGE;
	}
}

static int take_id(void *context, char *value)
{
	struct settings *settings = context;

	if (settings->detach.id)
		return USAGE_SURPLUS;
	settings->detach.id = value;
	if (ivs_config_id(value) && strlen(value) <= IVS_CONFIG_ID_MAX)
		return 0;
	return wrong("invalid id", value,
		     "use the id of a device, as \"ivshmem attach\" prints it");
}

static int parse(struct settings *settings, int argc, char **argv)
{
	static const struct option options[] = {
		{"qmp", required_argument, NULL, OPTION_QMP},
		{"domain", required_argument, NULL, OPTION_DOMAIN},
		{"control", required_argument, NULL, OPTION_CONTROL},
		{"no-rings", no_argument, NULL, OPTION_NO_RINGS},
		{"timeout", required_argument, NULL, 't'},
		{"json", no_argument, NULL, 'j'},
		{"version", no_argument, NULL, 'V'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	static const struct usage usage = {help_text,	"t:jVh",       options,
					   take_option, "give one ID", take_id};
	int status = usage_parse(&usage, settings, argc, argv);

	if (status)
		return status;
	if (!settings->qmp == !settings->domain)
		usage_failed("give the VM: either --qmp SOCKET or --domain DOMAIN");
	else if (!settings->detach.id)
		usage_failed("no ID: give the id of the device, as \"ivshmem attach\" prints it");
	else
		return 0;
	return STATUS_USAGE;
}

static int print_json(const struct detach *detach, bool pending)
{
	return json_print(json_pack("{s:s, s:o, s:b, s:o, s:i}", "id", detach->id, "driver",
				    *detach->type ? ivs_json_text(detach->type) : json_null(),
				    "pending", pending, "removed",
				    *detach->backend && !pending ? ivs_json_text(detach->backend)
								 : json_null(),
				    "placeholders", (int)detach->filled_n));
}

static int print_text(const struct detach *detach)
{
	char backend[DETACH_BACKEND_LEN];

	printf("%s %s", *detach->type ? "detached" : "was released earlier:", detach->id);
	if (*detach->backend)
		printf("; removed the %s %s", detach->chardev ? "character device" : "object",
		       ivs_text_shown(detach->backend, backend, sizeof(backend)));
	if (detach->filled_n)
		printf("; QEMU keeps %u placeholder%s for file descriptors", detach->filled_n,
		       detach->filled_n == 1 ? "" : "s");
	putchar('\n');
	return fflush(stdout) ? usage_failed("cannot print: %s", strerror(errno)) : 0;
}

static int run(int argc, char **argv)
{
	struct settings settings = {.detach = {.timeout_ms = TIMEOUT_S * 1000}};
	struct detach *detach = &settings.detach;
	struct monitor monitor;
	int status = parse(&settings, argc, argv);
	int printed = 0;

	if (status)
		return status < 0 ? 0 : status;
	if (settings.domain)
		return virsh_detach(settings.domain, detach, settings.json);
	status = monitor_open(&monitor, settings.qmp);
	if (!status)
		status = detach_device(&monitor, detach);
	if (settings.json && (!status || status == STATUS_PENDING))
		printed = print_json(detach, status == STATUS_PENDING);
	else if (!status)
		printed = print_text(detach);
	monitor_close(&monitor);
	return printed ? printed : status;
}

const struct command command_detach = {
	.name = "detach",
	.summary = "unplug shared memory from a running VM",
	.run = run,
};
