/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/device/check.h"

#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/parse.h"

/* The default of QEMU's "-device ivshmem-doorbell". */
#define DEFAULT_VECTORS 1

#define PAGE_LEN 4096 /* a BAR is mapped in multiples of this */

/* Return: STATUS_USAGE. */
static int option_error(const char *what, const char *option, const char *fix,
			struct ivs_error *err)
{
	return ivs_error_set(err, STATUS_USAGE, "%s \"%s\": %s", what, option, fix);
}

static int check_address(const char *region, struct ivs_error *err)
{
	if (!strncmp(region, "memfd:", 6))
		return option_error("no other process could share", region,
				    "use shm:NAME or file:PATH", err);
	if (strncmp(region, "shm:", 4) && strncmp(region, "file:", 5) && strncmp(region, "dir:", 4))
		return option_error("not the address of a region", region,
				    "use shm:NAME, file:PATH or dir:PATH", err);
	return 0;
}

static int check_plain(const struct device_settings *device, struct ivs_error *err)
{
	const struct ivs_device_options *opts = &device->opts;

	if (!opts->region && !device->has_model)
		return option_error("a device without", "--region",
				    "name its memory, such as --region shm:NAME, --server PATH or "
				    "--legacy OPTIONS",
				    err);
	if (!opts->region)
		return option_error("a plain device without", "--region",
				    "name its memory, such as --region shm:NAME", err);
	if (opts->server)
		return option_error("a plain device with", "--server",
				    "it has no doorbells: use --model doorbell, without --region",
				    err);
	if (device->has_vectors)
		return option_error("a plain device with", "--vectors",
				    "it has no interrupts: use --server instead of --region", err);
	return check_address(opts->region, err);
}

static int check_doorbell(struct device_settings *device, struct ivs_error *err)
{
	struct ivs_device_options *opts = &device->opts;

	if (!opts->server)
		return option_error("a doorbell device without", "--server",
				    "name the socket of the ivshmem-server", err);
	if (opts->region || device->has_size)
		return option_error("a doorbell device with", opts->region ? "--region" : "--size",
				    "the server provides its memory: omit this option", err);
	if (!device->has_vectors)
		opts->function.vectors_n = DEFAULT_VECTORS;
	opts->doorbells_n = opts->function.vectors_n;
	return 0;
}

/* Reject options whose values must be given in the string of --legacy. */
static int check_legacy(const struct device_settings *device, struct ivs_error *err)
{
	static const char what[] = "not allowed with --legacy:";
	const struct ivs_device_options *opts = &device->opts;

	if (opts->region || opts->server)
		return option_error(what, opts->region ? "--region" : "--server",
				    "use --legacy shm=NAME or chardev=PATH", err);
	if (device->has_vectors)
		return option_error(what, "--vectors", "use --legacy ...,vectors=N", err);
	if (device->has_model)
		return option_error(
			what, "--model",
			"shm=NAME selects ivshmem-plain, and chardev=PATH ivshmem-doorbell", err);
	if (device->has_size)
		return option_error(what, "--size", "use --legacy ...,size=SIZE", err);
	if (opts->window.len && opts->window.len != device->legacy.size)
		return option_error(what, "--window", "its length must equal size=", err);
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

/* Check the window as far as possible without the region, which is not open yet. */
static int check_window(const struct ivs_device_options *opts, struct ivs_error *err)
{
	uint64_t len = opts->window.len;
	char text[IVS_SIZE_TEXT_LEN];

	if (len && (!ivs_is_power_of_two(len) || len < PAGE_LEN))
		return option_error("invalid LENGTH of --window:", ivs_size_text(len, text),
				    "use a power of two and at least 4K", err);
	if (opts->window.offset % PAGE_LEN)
		return option_error(
			"invalid OFFSET of --window:", ivs_size_text(opts->window.offset, text),
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
		return option_error("a device without", "--socket",
				    "name the socket where the VMM connects; see --help", err);
	if (opts->socket.path && opts->socket_fd >= 0)
		return option_error("a device with --fd and", "--socket", "use one of them", err);
	if (device->is_legacy && !device->has_role)
		opts->role = device->legacy.role;
	if (opts->role == IVS_DEVICE_MASTER && opts->access != IVS_DEVICE_WRITES)
		return option_error("a read-only device with", "--role master",
				    "its memory could not be loaded at the destination: use one of "
				    "the two",
				    err);
	status = check_window(opts, err);
	if (!status)
		status = check_identity(&opts->function, err);
	return status ? status : check_kind(device, err);
}

/* Check that no path is used for two sockets: users may confuse the paths. */
static int check_paths(const struct settings *settings, unsigned int at, struct ivs_error *err)
{
	const char *path = settings->devices[at].opts.socket.path;

	if (path && settings->control.path && !strcmp(path, settings->control.path))
		return option_error("the same path for --socket and --control:", path,
				    "use different paths", err);
	if (path && settings->devices[at].opts.server &&
	    !strcmp(path, settings->devices[at].opts.server))
		return option_error("the same path for --socket and --server:", path,
				    "--server is the socket of an ivshmem-server", err);
	for (unsigned int i = 0; path && i < at; i++) {
		const char *other = settings->devices[i].opts.socket.path;

		if (other && !strcmp(path, other))
			return option_error("two devices use the socket", path, "use one for each",
					    err);
	}
	return 0;
}

/* Print the message, with the name of the device if there are several devices. */
static void print_error(const struct settings *settings, const struct ivs_device_options *opts,
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
		return usage_error("option without --status", "--json", "use --status PATH --json");
	if (settings->status)
		return 0;
	for (unsigned int i = 0; i < settings->devices_n; i++) {
		struct ivs_device_options *opts = &settings->devices[i].opts;

		if (check_one(&settings->devices[i], &err) || check_paths(settings, i, &err)) {
			print_error(settings, opts, &err);
			return STATUS_USAGE;
		}
		/* The socket's owner can remove it even from a sticky directory. */
		if (settings->user && opts->socket.uid == (uid_t)-1)
			opts->socket.uid = settings->uid;
	}
	if (settings->user && settings->control.uid == (uid_t)-1)
		settings->control.uid = settings->uid;
	return 0;
}
