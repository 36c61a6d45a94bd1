/* SPDX-License-Identifier: BSD-3-Clause */
/* Declarations shared by handover.c, fdstore.c and clients.c. */
#ifndef IVS_SERVER_HANDOVER_PRIVATE_H
#define IVS_SERVER_HANDOVER_PRIVATE_H

#include <string.h>

#include "server/handover/handover.h"

/* Fds whose names lack this prefix come from the configuration of the service manager. */
#define NAME_PREFIX "ivshmem."
#define NAME_STATE NAME_PREFIX "state"
#define NAME_REGION NAME_PREFIX "region"
#define NAME_LISTENER NAME_PREFIX "listener"
#define NAME_CONTROL NAME_PREFIX "control" /* never stored, only passed in an upgrade */
#define NAME_MANAGER NAME_PREFIX "manager" /* never stored, only passed in an upgrade */
#define NAME_CLOSER NAME_PREFIX "closer"   /* never stored, only passed in an upgrade */
#define NAME_CLIENT NAME_PREFIX "client"

static inline bool ivs_handover_is_our_name(const char *name)
{
	return !strncmp(name, NAME_PREFIX, strlen(NAME_PREFIX));
}

/** ivs_handover_store_own() - have the manager store @fd in place of a previous server's fd */
void ivs_handover_store_own(struct ivs_handover *handover, enum ivs_handover_own own, int fd);

/**
 * ivs_handover_take_own() - take an inherited fd that belongs to no client, or -1; if the manager
 * has no copy of it, schedule storing it
 */
int ivs_handover_take_own(struct ivs_handover *handover, enum ivs_handover_own own);

/**
 * ivs_handover_list_own() - list, for the next program in this process, the fds that belong to no
 * client, and the names that the manager still has to drop
 *
 * Return: 0 or -errno.
 */
IVS_MUST_USE int ivs_handover_list_own(const struct ivs_handover *handover,
				       const struct ivs_handover_fds *fds,
				       struct ivs_inherited *out);

/**
 * ivs_handover_take_named() - take the inherited fd with this name, or -1
 * @stored: set to whether the manager has a copy of the fd
 */
int ivs_handover_take_named(struct ivs_handover *handover, const char *name, bool *stored);

/**
 * ivs_handover_list_named() - list an fd for ivs_handover_take_named() in the next program
 *
 * Return: 0 or -errno.
 */
IVS_MUST_USE int ivs_handover_list_named(struct ivs_inherited *out, int fd, const char *name,
					 bool stored);

#endif
