/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/ivshmem/region_name.h"

#include <stdlib.h>
#include <string.h>

#include "tools/shared/address.h"
#include "tools/shared/usage.h"

/* Return: the path in the address of a file or of a server's socket; NULL for other addresses. */
static const char *path_of(const char *address)
{
	bool has_path = !strncmp(address, "file:", 5) || !strncmp(address, "unix:", 5);

	return has_path ? address + 5 : NULL;
}

int region_name_take(struct region_name *out, const char *value)
{
	char address[ADDRESS_LEN];
	int status = address_complete(value, address);

	if (status)
		return status;
	*out = (struct region_name){.given = value, .address = strdup(address)};
	if (!out->address)
		return usage_failed("out of memory");
	if (path_of(address))
		out->path = realpath(path_of(address), NULL);
	return 0;
}

void region_name_deinit(struct region_name *name)
{
	free(name->address);
	free(name->path);
	*name = (struct region_name){0};
}

/* Return: whether a server that serves the region has its socket at the path. */
static bool has_socket(const struct ivs_host_region *region, const char *path)
{
	for (size_t i = 0; i < region->users_n; i++) {
		if (*region->users[i].socket && !strcmp(region->users[i].socket, path))
			return true;
	}
	return false;
}

/* Return: whether this is the path of the region, or of the socket of a server that serves it. */
static bool has_path(const struct ivs_host_region *region, const char *path)
{
	return !strcmp(region->path, path) || has_socket(region, path);
}

bool region_name_is(const struct ivs_host_region *region, const struct region_name *name)
{
	const char *path = path_of(name->address);
	char address[ADDRESS_LEN];

	ivs_host_region_address(region, address, sizeof(address));
	if (!strcmp(name->address, address))
		return true;
	return (path && has_path(region, path)) || (name->path && has_path(region, name->path));
}
