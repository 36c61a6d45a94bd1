/* SPDX-License-Identifier: BSD-3-Clause */
/* Processes that would be affected if a region were removed, replaced or overwritten. */
#ifndef TOOLS_IVSHMEM_REGION_USERS_H
#define TOOLS_IVSHMEM_REGION_USERS_H

#include <jansson.h>
#include <stdbool.h>
#include <sys/stat.h>

#include "host/users.h"
#include "tools/ivshmem/region_place.h"

/**
 * enum users_purpose - what is to be done with the region
 * @USERS_REPLACE:   its name is removed, or given to another file
 * @USERS_OVERWRITE: its content is overwritten
 */
enum users_purpose {
	USERS_REPLACE,
	USERS_OVERWRITE,
};

/** users_json() - the processes as an array */
json_t *users_json(const struct ivs_host_users *users);

/**
 * users_check() - refuse if the region is in use, naming the processes; if forced, say what happens
 * to them
 * @fd:    the region, open for reading and writing; -1: it cannot be opened
 * @users: set to an array of the processes, which may be empty; the caller frees it
 *
 * Return: 0, or an exit status after printing the reason.
 */
int users_check(const struct place *place, const struct stat *st, int fd,
		enum users_purpose purpose, bool force, json_t **users);

#endif
