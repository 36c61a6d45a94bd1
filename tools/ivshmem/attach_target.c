/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/ivshmem/attach_target.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "config/escape.h"
#include "region/region.h"
#include "tools/ivshmem/progress.h"
#include "tools/ivshmem/region_place.h"
#include "tools/shared/usage.h"

#define SIZE_MIN 4096

static int check_region_file(struct attach_target *target, const struct place *place)
{
	struct ivs_error err;
	struct stat st;
	int result = place_stat(place, &st);

	if (result == -ENOENT || result == -ENOTDIR)
		return usage_failed("%s does not exist: create it first (ivshmem create)",
				    place->path);
	if (result)
		return usage_failed("cannot examine %s: %s", place->path, strerror(-result));
	if (!S_ISREG(st.st_mode))
		return usage_failed("%s is %s and not a regular file: this command does not know "
				    "its size",
				    place->path, ivs_file_kind(st.st_mode));
	target->size = (uint64_t)st.st_size;
	target->dev = st.st_dev;
	target->ino = st.st_ino;
	if (!target->size)
		return usage_failed("%s is empty: set its size first (ivshmem resize)",
				    place->path);
	if (ivs_region_check_size(target->size, &err))
		return usage_failed("%s cannot be a device's region: %s", place->path, err.text);
	if (target->size < SIZE_MIN)
		return usage_failed("%s has %llu bytes, but QEMU's minimum is 4K", place->path,
				    (unsigned long long)target->size);
	return 0;
}

static int check_region(struct attach_target *target)
{
	struct place place;
	int status = place_find(target->region, BACKEND_NONE, &place);

	if (!status) {
		memcpy(target->path, place.path, sizeof(target->path));
		status = check_region_file(target, &place);
	}
	place_close(&place);
	return status;
}

/* QEMU may have a different working directory, so it needs an absolute path. */
static int find_socket(struct attach_target *target, const char *given)
{
	char cwd[PATH_MAX] = "";

	if (!strncmp(given, "unix:", 5))
		given += 5;
	if (!ivs_escape_valid(given))
		return usage_error("invalid path", given,
				   "give the path of a socket, in UTF-8 and without control "
				   "characters");
	if (*given != '/' && !getcwd(cwd, sizeof(cwd)))
		return usage_failed("cannot find the working directory: %s", strerror(errno));
	if (snprintf(target->path, sizeof(target->path), "%s%s%s", cwd, *cwd ? "/" : "", given) >=
	    (int)sizeof(target->path))
		return usage_error("invalid path", given, "it is too long");
	return 0;
}

static int check_server(struct attach_target *target)
{
	struct probe *probe = &target->probe;
	int status = find_socket(target, target->server);

	if (status)
		return status;
	usage_hold();
	progress_start("waiting for the server to answer");
	status = probe_server(target->path, probe);
	progress_end();
	usage_release();
	if (status)
		return status;
	target->size = probe->size;
	/* A server that keeps id 0 for QEMU (--keep-id-0) gives this command a different id. */
	if (target->master && (probe->has_first || (!probe->id && probe->others_n)))
		return usage_failed("the server at %s has other clients (%u), but QEMU accepts a "
				    "master only with id 0: disconnect them, or start the server "
				    "with --keep-id-0 and the user of QEMU",
				    target->path, probe->others_n);
	if (!target->vectors)
		target->vectors = probe->vectors_n ? probe->vectors_n : 1;
	return 0;
}

int attach_target_check(struct attach_target *target)
{
	int status;

	if (target->region) {
		target->kind = IVS_CONFIG_PLAIN;
		return check_region(target);
	}
	if (target->server) {
		target->kind = IVS_CONFIG_DOORBELL;
		return check_server(target);
	}
	target->kind = IVS_CONFIG_VFIO_USER;
	status = find_socket(target, target->device);
	return status ? status : probe_device(target->path);
}

const char *attach_target_driver(const struct attach_target *target)
{
	static const char *const drivers[] = {
		[IVS_CONFIG_PLAIN] = "ivshmem-plain",
		[IVS_CONFIG_DOORBELL] = "ivshmem-doorbell",
		[IVS_CONFIG_VFIO_USER] = "vfio-user-pci",
	};

	return drivers[target->kind];
}
