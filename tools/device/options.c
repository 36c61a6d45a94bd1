/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/device/options.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/parse.h"
#include "daemon/privileges.h"
#include "daemon/sandbox.h"
#include "tools/shared/owners.h"

#define DEFAULT_CONTROL_MODE 0600

/* Options without a short form. */
enum {
	OPTION_FD = 256,
	OPTION_MODEL,
	OPTION_SERVER,
	OPTION_LEGACY,
	OPTION_READ_ONLY,
	OPTION_ANY_FILE_SYSTEM,
	OPTION_WINDOW,
	OPTION_ROLE,
	OPTION_NAME,
	OPTION_UUID,
	OPTION_SOCKET_MODE,
	OPTION_SOCKET_OWNER,
	OPTION_SOCKET_GROUP,
	OPTION_REGION_MODE,
	OPTION_REGION_OWNER,
	OPTION_REGION_GROUP,
	OPTION_USER,
	OPTION_SANDBOX,
	OPTION_CONTROL,
	OPTION_CONTROL_MODE,
	OPTION_CONTROL_OWNER,
	OPTION_CONTROL_GROUP,
	OPTION_STATUS,
	OPTION_JSON,
};

static const char help_text[] =
	"usage: " PROGRAM
	" --socket PATH {--region ADDRESS | --server PATH | --legacy OPTIONS}...\n"
	"       " PROGRAM " --status PATH [--json]\n"
	"\n"
	"Serves the ivshmem PCI device to a virtual machine monitor, over vfio-user.\n"
	"\n"
	"Options of a device; each further --socket begins another device:\n"
	"  -S, --socket PATH     where the VMM connects (also --socket-path)\n"
	"      --fd N            instead: an inherited socket, listening or connected\n"
	"      --model MODEL     plain (memory) or doorbell (memory and interrupts); optional\n"
	"  -r, --region ADDRESS  plain: the region is shm:NAME, file:PATH or dir:PATH\n"
	"  -l, --size SIZE       create the region if it does not exist; K, M, G, T\n"
	"      --server PATH     doorbell: the socket of the ivshmem-server\n"
	"      --any-file-system accept a server's region that is neither memory nor on a disk\n"
	"  -n, --vectors N       interrupts of the device, 1 to 2048 (1)\n"
	"      --legacy OPTIONS  the device of revision 0, with the options of QEMU's old device:\n"
	"                        size=4M,shm=NAME or chardev=PATH,vectors=N,msi=on|off,\n"
	"                        ioeventfd=on|off,role=peer|master,use64=0|1\n"
	"      --read-only[=HOW] the VM can read the memory but not write it; HOW: map (a write by "
	"the\n"
	"                        guest kills its VM), trap (slow; writes are ignored)\n"
	"      --window OFFSET,LENGTH[,ro]\n"
	"                        show only this part of the region to the VM\n"
	"      --role ROLE       peer: the device cannot be migrated (default);\n"
	"                        master: it can be migrated, with the memory\n"
	"      --name NAME, --uuid UUID\n"
	"                        tell the guest which region this is\n"
	"      --socket-mode MODE, --socket-owner USER, --socket-group GROUP\n"
	"                        of the socket: write permission allows connecting\n"
	"      --region-mode MODE, --region-owner USER, --region-group GROUP\n"
	"                        of a new region (0600, user and group of the process)\n"
	"\n"
	"Options of the program:\n"
	"      --user USER       become this user before serving VMMs (as root)\n"
	"      --sandbox KIND    on: kill the program on any system call that it does not need "
	"(on);\n"
	"                        off\n"
	"      --control PATH    a socket that reports the status of the devices\n"
	"      --control-mode MODE, --control-owner USER, --control-group GROUP\n"
	"                        of this socket (0600, user and group of the process)\n"
	"      --status PATH     show the status of the program with this control socket, and "
	"exit\n"
	"      --json            with --status: print the reply as is, in JSON\n"
	"  -v, --verbose         log each VMM that connects or leaves\n"
	"  -V, --version         print the version and exit\n"
	"  -h, --help            print this help and exit\n"
	"\n"
	"Example: the device for Looking Glass, and a virtual machine that uses it\n"
	"  " PROGRAM " --socket /run/vm1.sock --region shm:looking-glass --size 32M \\\n"
	"      --region-mode 0660 --region-group kvm\n"
	"  qemu-system-x86_64 ... -device \\\n"
	"      "
	"'{\"driver\":\"vfio-user-pci\",\"socket\":{\"type\":\"unix\",\"path\":\"/run/"
	"vm1.sock\"}}'\n";

/* Return: the device to which the next option applies. */
static struct device_settings *current_device(struct settings *settings)
{
	return &settings->devices[settings->devices_n - 1];
}

static void begin_device(struct settings *settings)
{
	struct device_settings *device = &settings->devices[settings->devices_n++];

	*device = (struct device_settings){
		.opts =
			{
				.socket = {NULL, 0, (uid_t)-1, (gid_t)-1},
				.socket_fd = -1,
				.function = {.revision = IVS_PCI_REVISION},
				.region_opts = IVS_REGION_OPTIONS_INIT,
			},
	};
}

/* Begin the next device, unless the current one has no socket yet: --socket need not come first. */
static int next_device(struct settings *settings, const char *value)
{
	const struct ivs_device_options *opts = &current_device(settings)->opts;

	if (!opts->socket.path && opts->socket_fd < 0)
		return 0;
	if (settings->devices_n == IVS_DEVICES_MAX)
		return usage_error("too many devices, at", value,
				   "one process serves up to 64: start another");
	begin_device(settings);
	return 0;
}

static int take_fd(struct settings *settings, const char *value)
{
	uint64_t fd;
	int status;

	/* This process has not opened anything yet, so any open fd was inherited. */
	if (!ivs_parse_uint(value, 3, INT_MAX, &fd) || fcntl((int)fd, F_GETFD) < 0)
		return usage_error("not an inherited socket", value,
				   "use the number of an open fd, 3 or more");
	for (unsigned int i = 0; i < settings->devices_n; i++) {
		if (settings->devices[i].opts.socket_fd == (int)fd)
			return usage_error("two devices use the socket", value, "use one for each");
	}
	status = next_device(settings, value);
	current_device(settings)->opts.socket_fd = (int)fd;
	return status;
}

/* Reject unix:PATH, which is an address for libivshmem and is hardly meant as a path. */
static int check_path(const char *value)
{
	if (strncmp(value, "unix:", 5))
		return 0;
	return usage_error("not the path of a socket", value, "omit \"unix:\"");
}

static int take_socket(struct settings *settings, const char *value)
{
	int status = check_path(value);

	if (!status)
		status = next_device(settings, value);
	current_device(settings)->opts.socket.path = value;
	return status;
}

static int take_model(struct device_settings *device, const char *value)
{
	device->has_model = true;
	if (!strcmp(value, "plain"))
		device->model = MODEL_PLAIN;
	else if (!strcmp(value, "doorbell"))
		device->model = MODEL_DOORBELL;
	else
		return usage_error("invalid model", value,
				   "use plain or doorbell, or --legacy for the "
				   "device of revision 0");
	return 0;
}

static int take_vectors(struct device_settings *device, const char *value)
{
	uint64_t n;

	if (!ivs_parse_uint(value, 1, IVS_MSIX_VECTORS_MAX, &n))
		return usage_error("invalid number of vectors", value, "use 1 to 2048");
	device->opts.function.vectors_n = (unsigned int)n;
	device->has_vectors = true;
	return 0;
}

static int take_size(struct device_settings *device, const char *value)
{
	uint64_t *size = &device->opts.region_opts.size;

	if (!ivs_parse_size(value, size) || !*size)
		return usage_error("invalid size of a region", value,
				   "use a number with K, M, G or T, such as 4M");
	device->has_size = true;
	return 0;
}

static int take_window(struct device_settings *device, const char *value)
{
	char offset[64];
	char len[64];
	int used = 0;
	bool is_valid = sscanf(value, "%63[^,],%63[^,]%n", offset, len, &used) == 2;
	bool read_only = is_valid && !strcmp(value + used, ",ro");

	if (!is_valid || (value[used] && !read_only) ||
	    !ivs_parse_size(offset, &device->opts.window.offset) ||
	    !ivs_parse_size(len, &device->opts.window.len) || !device->opts.window.len)
		return usage_error("invalid window", value,
				   "use OFFSET,LENGTH or OFFSET,LENGTH,ro, such as 4M,1M");
	if (read_only && device->opts.access == IVS_DEVICE_WRITES)
		device->opts.access = IVS_DEVICE_READS;
	return 0;
}

/* @value: NULL if the option was given without a value */
static int take_read_only(struct device_settings *device, const char *value)
{
	if (!value || !strcmp(value, "map"))
		device->opts.access = IVS_DEVICE_READS;
	else if (!strcmp(value, "trap"))
		device->opts.access = IVS_DEVICE_READS_TRAPPED;
	else
		return usage_error("invalid kind of --read-only", value, "use map or trap");
	return 0;
}

static int take_role(struct device_settings *device, const char *value)
{
	if (!strcmp(value, "master"))
		device->opts.role = IVS_DEVICE_MASTER;
	else if (!strcmp(value, "peer"))
		device->opts.role = IVS_DEVICE_PEER;
	else
		return usage_error("invalid role", value, "use peer or master");
	device->has_role = true;
	return 0;
}

/* A UUID has 8-4-4-4-12 hexadecimal digits (RFC 9562, section 4). */
static int take_uuid(struct device_settings *device, const char *value)
{
	static const char form[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
	unsigned int n = 0;
	bool is_valid = strlen(value) == sizeof(form) - 1;

	for (size_t i = 0; is_valid && form[i]; i++) {
		const char *digits = "0123456789abcdefABCDEF";
		const char *digit = strchr(digits, value[i]);
		uint8_t *byte = &device->uuid[n / 2];

		is_valid = form[i] == '-' ? value[i] == '-' : digit != NULL;
		if (form[i] == '-' || !is_valid)
			continue;
		*byte = (uint8_t)(*byte << 4 |
				  (digit - digits < 16 ? digit - digits : digit - digits - 6));
		n++;
	}
	if (!is_valid)
		return usage_error("invalid UUID", value,
				   "use the form "
				   "01234567-89ab-cdef-0123-456789abcdef");
	device->opts.function.uuid = device->uuid;
	return 0;
}

static int take_legacy(struct device_settings *device, const char *value)
{
	struct ivs_error err;

	if (legacy_parse(value, &device->legacy, &err))
		return usage_error("invalid --legacy", value, err.text);
	device->is_legacy = true;
	return 0;
}

static int take_own_user(struct settings *settings, const char *value)
{
	struct ivs_error err;

	if (ivs_privileges_find_user(value, &settings->uid, &err)) {
		fprintf(stderr, PROGRAM ": %s\n", err.text);
		return STATUS_USAGE;
	}
	settings->user = value;
	return 0;
}

static int take_sandbox(struct settings *settings, const char *value)
{
	if (!strcmp(value, "on"))
		settings->filter = true;
	else if (!strcmp(value, "off"))
		settings->filter = false;
	else
		return usage_error("invalid kind of sandbox", value, "use on or off");
	if (settings->filter && ivs_sandbox_lacks())
		return usage_error("cannot set the sandbox to", value, ivs_sandbox_lacks());
	return 0;
}

/* Handle an option of the program. Return: 0 or an exit status. */
static int take_program_option(struct settings *settings, int option, const char *value)
{
	switch (option) {
	case 'v':
		settings->verbose = true;
		return 0;
	case OPTION_USER:
		return take_own_user(settings, value);
	case OPTION_SANDBOX:
		return take_sandbox(settings, value);
	case OPTION_CONTROL:
		settings->control.path = value;
		return 0;
	case OPTION_CONTROL_MODE:
		return take_mode(value, &settings->control.mode);
	case OPTION_CONTROL_OWNER:
		return take_user(value, &settings->control.uid);
	case OPTION_CONTROL_GROUP:
		return take_group(value, &settings->control.gid);
	case OPTION_STATUS:
		settings->status = value;
		return 0;
	case OPTION_JSON:
		settings->json = true;
		return 0;
	default:
		fprintf(stderr, "Try \"" PROGRAM " --help\".\n");
		return STATUS_USAGE;
	}
}

/* Handle an option for access to a device. Return: 0, an exit status, or -1 for other options. */
static int take_access_option(struct device_settings *device, int option, const char *value)
{
	struct ivs_device_options *opts = &device->opts;

	switch (option) {
	case OPTION_SOCKET_MODE:
		return take_mode(value, &opts->socket.mode);
	case OPTION_SOCKET_OWNER:
		return take_user(value, &opts->socket.uid);
	case OPTION_SOCKET_GROUP:
		return take_group(value, &opts->socket.gid);
	case OPTION_REGION_MODE:
		return take_mode(value, &opts->region_opts.mode);
	case OPTION_REGION_OWNER:
		return take_user(value, &opts->region_opts.uid);
	case OPTION_REGION_GROUP:
		return take_group(value, &opts->region_opts.gid);
	case OPTION_READ_ONLY:
		return take_read_only(device, value);
	case OPTION_ANY_FILE_SYSTEM:
		opts->any_file_system = true;
		return 0;
	case OPTION_WINDOW:
		return take_window(device, value);
	case OPTION_ROLE:
		return take_role(device, value);
	default:
		return -1;
	}
}

/* Handle an option of a device. Return: as take_access_option(). */
static int take_device_option(struct device_settings *device, int option, const char *value)
{
	struct ivs_device_options *opts = &device->opts;

	switch (option) {
	case OPTION_MODEL:
		return take_model(device, value);
	case 'r':
		opts->region = value;
		return 0;
	case 'l':
		return take_size(device, value);
	case OPTION_SERVER:
		opts->server = value;
		return check_path(value);
	case 'n':
		return take_vectors(device, value);
	case OPTION_LEGACY:
		return take_legacy(device, value);
	case OPTION_NAME:
		opts->function.name = value;
		return 0;
	case OPTION_UUID:
		return take_uuid(device, value);
	default:
		return take_access_option(device, option, value);
	}
}

/* Return: 0 or an exit status. */
static int take_option(void *context, int option, const char *value)
{
	struct settings *settings = context;
	int status;

	if (option == 'S')
		return take_socket(settings, value);
	if (option == OPTION_FD)
		return take_fd(settings, value);
	status = take_device_option(current_device(settings), option, value);
	return status < 0 ? take_program_option(settings, option, value) : status;
}

static const struct option long_options[] = {
	{"socket", required_argument, NULL, 'S'},
	{"socket-path", required_argument, NULL,
	 'S'}, /* the usual name of this option in vfio-user servers */
	{"fd", required_argument, NULL, OPTION_FD},
	{"model", required_argument, NULL, OPTION_MODEL},
	{"region", required_argument, NULL, 'r'},
	{"size", required_argument, NULL, 'l'},
	{"server", required_argument, NULL, OPTION_SERVER},
	{"vectors", required_argument, NULL, 'n'},
	{"legacy", required_argument, NULL, OPTION_LEGACY},
	{"read-only", optional_argument, NULL, OPTION_READ_ONLY},
	{"any-file-system", no_argument, NULL, OPTION_ANY_FILE_SYSTEM},
	{"window", required_argument, NULL, OPTION_WINDOW},
	{"role", required_argument, NULL, OPTION_ROLE},
	{"name", required_argument, NULL, OPTION_NAME},
	{"uuid", required_argument, NULL, OPTION_UUID},
	{"socket-mode", required_argument, NULL, OPTION_SOCKET_MODE},
	{"socket-owner", required_argument, NULL, OPTION_SOCKET_OWNER},
	{"socket-group", required_argument, NULL, OPTION_SOCKET_GROUP},
	{"region-mode", required_argument, NULL, OPTION_REGION_MODE},
	{"region-owner", required_argument, NULL, OPTION_REGION_OWNER},
	{"region-group", required_argument, NULL, OPTION_REGION_GROUP},
	{"user", required_argument, NULL, OPTION_USER},
	{"sandbox", required_argument, NULL, OPTION_SANDBOX},
	{"control", required_argument, NULL, OPTION_CONTROL},
	{"control-mode", required_argument, NULL, OPTION_CONTROL_MODE},
	{"control-owner", required_argument, NULL, OPTION_CONTROL_OWNER},
	{"control-group", required_argument, NULL, OPTION_CONTROL_GROUP},
	{"status", required_argument, NULL, OPTION_STATUS},
	{"json", no_argument, NULL, OPTION_JSON},
	{"verbose", no_argument, NULL, 'v'},
	{"version", no_argument, NULL, 'V'},
	{"help", no_argument, NULL, 'h'},
	{0},
};

int parse_arguments(struct settings *settings, int argc, char **argv)
{
	static const struct usage usage = {help_text, "S:r:l:n:vVh", long_options, take_option,
					   "use options only, see --help"};
	settings->filter = -1;
	settings->control = (struct ivs_listener_options){NULL, DEFAULT_CONTROL_MODE, (uid_t)-1,
							  (gid_t)-1};
	begin_device(settings);
	return usage_parse(&usage, settings, argc, argv);
}
