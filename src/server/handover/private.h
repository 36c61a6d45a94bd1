/* SPDX-License-Identifier: BSD-3-Clause */
/* Shared by handover.c, fdstore.c and clients.c. */
#ifndef IVS_SERVER_HANDOVER_PRIVATE_H
#define IVS_SERVER_HANDOVER_PRIVATE_H

#include <string.h>

#include "server/handover/handover.h"

/* Fds with other names are from the configuration of the service manager. */
#define NAME_PREFIX "ivshmem."
#define NAME_STATE NAME_PREFIX "state"
#define NAME_REGION NAME_PREFIX "region"
#define NAME_LISTENER NAME_PREFIX "listener"
#define NAME_CONTROL NAME_PREFIX "control" /* never stored, only passed in an upgrade */
#define NAME_MANAGER NAME_PREFIX "manager" /* the same */
#define NAME_CLIENT NAME_PREFIX "client"

static inline bool ivs_handover_is_our_name(const char *name)
{
	return !strncmp(name, NAME_PREFIX, strlen(NAME_PREFIX));
}

/** ivs_handover_store_own() - store @fd at the manager in place of what a former server stored */
void ivs_handover_store_own(struct ivs_handover *handover, enum ivs_handover_own own, int fd);

/**
 * ivs_handover_take_own() - take an inherited fd, or -1; schedules storing it if it is not stored
 */
int ivs_handover_take_own(struct ivs_handover *handover, enum ivs_handover_own own);

/**
 * ivs_handover_list_own() - list them for the next program in this process.
 *
 * Return: 0 or -errno.
 */
IVS_MUST_USE int ivs_handover_list_own(const struct ivs_handover *handover,
				       const struct ivs_handover_fds *fds,
				       struct ivs_inherited *out);

/** ivs_handover_take_named() - take an inherited fd, or -1; @stored: the manager has a copy */
int ivs_handover_take_named(struct ivs_handover *handover, const char *name, bool *stored);

/** ivs_handover_list_named() - list an fd for ivs_handover_take_named(). Return: 0 or -errno. */
IVS_MUST_USE int ivs_handover_list_named(struct ivs_inherited *out, int fd, const char *name,
					 bool stored);

#endif
