/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/device/check.h"

#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/parse.h"

/* QEMU's, of "-device ivshmem-doorbell". */
#define DEFAULT_VECTORS 1

#define PAGE_LEN 4096 /* the least that a BAR's mapping is a multiple of */

/* Return: STATUS_USAGE. */
static int wrong(const char *what, const char *option, const char *fix, struct ivs_error *err)
{
	return ivs_error_set(err, STATUS_USAGE, "%s \"%s\": %s", what, option, fix);
}

static int check_address(const char *region, struct ivs_error *err)
{
	if (!strncmp(region, "memfd:", 6))
		return wrong("nobody else could share", region, "use shm:NAME or file:PATH", err);
	if (strncmp(region, "shm:", 4) && strncmp(region, "file:", 5) && strncmp(region, "dir:", 4))
		return wrong("no address of a region", region,
			     "use shm:NAME, file:PATH or dir:PATH", err);
	return 0;
}

static int check_plain(const struct device_settings *device, struct ivs_error *err)
{
	const struct ivs_device_options *opts = &device->opts;

	if (!opts->region && !device->has_model)
		return wrong("a device without", "--region",
			     "say which memory it shows, such as --region shm:NAME, or --server "
			     "PATH, or --legacy OPTIONS",
			     err);
	if (!opts->region)
		return wrong("a plain device without", "--region",
			     "say which memory it shows, such as --region shm:NAME", err);
	if (opts->server)
		return wrong("a plain device with", "--server",
			     "it has no doorbells: use --model doorbell, without --region", err);
	if (device->has_vectors)
		return wrong("a plain device with", "--vectors",
			     "it has no interrupts: use --server instead of --region", err);
	return check_address(opts->region, err);
}

static int check_doorbell(struct device_settings *device, struct ivs_error *err)
{
	struct ivs_device_options *opts = &device->opts;

	if (!opts->server)
		return wrong("a doorbell device without", "--server",
			     "say at which socket the ivshmem-server listens", err);
	if (opts->region || device->has_size)
		return wrong("a doorbell device with", opts->region ? "--region" : "--size",
			     "its memory is the server's: leave that out", err);
	if (!device->has_vectors)
		opts->function.vectors_n = DEFAULT_VECTORS;
	opts->doorbells_n = opts->function.vectors_n;
	return 0;
}

/* What the option string says, too, must not be said beside it. */
static int check_legacy(const struct device_settings *device, struct ivs_error *err)
{
	static const char what[] = "surplus beside --legacy";
	const struct ivs_device_options *opts = &device->opts;

	if (opts->region || opts->server)
		return wrong(what, opts->region ? "--region" : "--server",
			     "say it within: shm=NAME or chardev=PATH", err);
	if (device->has_vectors)
		return wrong(what, "--vectors", "say it within: --legacy ...,vectors=N", err);
	if (device->has_model)
		return wrong(what, "--model",
			     "it is plain with shm=NAME, doorbell with chardev=PATH", err);
	if (device->has_size)
		return wrong(what, "--size", "say it within: --legacy ...,size=SIZE", err);
	if (opts->window.len && opts->window.len != device->legacy.size)
		return wrong(what, "--window", "its length must be that of size=", err);
	return 0;
}

static void complete_legacy(struct device_settings *device)
{
	const struct legacy *legacy = &device->legacy;
	struct ivs_device_options *opts = &device->opts;

	opts->function.revision = IVS_PCI_REVISION_LEGACY;
	opts->function.bar2_32bit = !legacy->use64;
	opts->function.vectors_n = legacy->msi && *legacy->chardev ? legacy->vectors_n : 0;
	opts->function.intx = !legacy->msi;
	opts->function.memory_len = legacy->size;
	opts->doorbells_n = legacy->vectors_n;
	if (*legacy->chardev) {
		opts->server = legacy->chardev;
		opts->late = true;
	} else {
		snprintf(device->region, sizeof(device->region), "shm:%s", legacy->shm);
		opts->region = device->region;
		opts->region_opts.size = legacy->size;
	}
}

static int check_kind(struct device_settings *device, struct ivs_error *err)
{
	int status;

	if (device->is_legacy) {
		status = check_legacy(device, err);
		if (!status)
			complete_legacy(device);
		return status;
	}
	if (device->model == MODEL_UNKNOWN)
		device->model = device->opts.server ? MODEL_DOORBELL : MODEL_PLAIN;
	return device->model == MODEL_PLAIN ? check_plain(device, err)
					    : check_doorbell(device, err);
}

/* What no region could have. */
static int check_window(const struct ivs_device_options *opts, struct ivs_error *err)
{
	const uint64_t len = opts->window.len;
	char text[IVS_SIZE_TEXT_LEN];

	if (len && (!ivs_is_power_of_two(len) || len < PAGE_LEN))
		return wrong("no LENGTH of --window", ivs_size_text(len, text),
			     "use a power of two of at least 4K", err);
	if (opts->window.offset % PAGE_LEN)
		return wrong("no OFFSET of --window", ivs_size_text(opts->window.offset, text),
			     "use a multiple of 4K", err);
	return 0;
}

static int check_identity(const struct ivs_pci_function_options *device, struct ivs_error *err)
{
	return device->name && ivs_pci_check_name(device->name, err) ? STATUS_USAGE : 0;
}

static int check_one(struct device_settings *device, struct ivs_error *err)
{
	struct ivs_device_options *opts = &device->opts;
	int status;

	if (!opts->socket.path && opts->socket_fd < 0)
		return wrong("a device without", "--socket",
			     "say where the VMM connects; see --help", err);
	if (opts->socket.path && opts->socket_fd >= 0)
		return wrong("a device with --fd and", "--socket", "choose one", err);
	if (device->is_legacy && !device->has_role)
		opts->role = device->legacy.role;
	if (opts->role == IVS_DEVICE_MASTER && opts->access != IVS_DEVICE_WRITES)
		return wrong("a device that is only to be read, with", "--role master",
			     "its memory could not be loaded where the VM goes: leave one "
			     "of the two out",
			     err);
	status = check_window(opts, err);
	if (!status)
		status = check_identity(&opts->function, err);
	return status ? status : check_kind(device, err);
}

/* So many paths that the user may have mistaken one for another. */
static int check_paths(const struct settings *settings, unsigned int at, struct ivs_error *err)
{
	const char *path = settings->devices[at].opts.socket.path;

	if (path && settings->control.path && !strcmp(path, settings->control.path))
		return wrong("one path for --socket and --control", path, "give each its own", err);
	if (path && settings->devices[at].opts.server &&
	    !strcmp(path, settings->devices[at].opts.server))
		return wrong("one path for --socket and --server", path,
			     "--server is the socket of an ivshmem-server", err);
	for (unsigned int i = 0; path && i < at; i++) {
		const char *other = settings->devices[i].opts.socket.path;

		if (other && !strcmp(path, other))
			return wrong("one socket for two devices", path, "give each its own", err);
	}
	return 0;
}

/* Which device is meant stands before what is wrong, if there are several. */
static void tell(const struct settings *settings, const struct ivs_device_options *opts,
		 const struct ivs_error *err)
{
	if (settings->devices_n == 1)
		fprintf(stderr, PROGRAM ": %s\n", err->text);
	else if (opts->socket.path)
		fprintf(stderr, PROGRAM ": %s: %s\n", opts->socket.path, err->text);
	else
		fprintf(stderr, PROGRAM ": --fd %d: %s\n", opts->socket_fd, err->text);
}

int device_check(struct settings *settings)
{
	struct ivs_error err = {0};

	if (settings->json && !settings->status)
		return usage_error("option without its other half", "--json",
				   "it goes with --status PATH");
	if (settings->status)
		return 0;
	for (unsigned int i = 0; i < settings->devices_n; i++) {
		struct ivs_device_options *opts = &settings->devices[i].opts;

		if (check_one(&settings->devices[i], &err) || check_paths(settings, i, &err)) {
			tell(settings, opts, &err);
			return STATUS_USAGE;
		}
		/* So that it can remove them, also where others have files, too. */
		if (settings->user && opts->socket.uid == (uid_t)-1)
			opts->socket.uid = settings->uid;
	}
	if (settings->user && settings->control.uid == (uid_t)-1)
		settings->control.uid = settings->uid;
	return 0;
}
