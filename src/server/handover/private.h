/* SPDX-License-Identifier: BSD-3-Clause */
/* The inside of what is kept, for the files that do it: handover.c, keep_owed.c and keep_clients.c. */
#ifndef IVS_SERVER_HANDOVER_PRIVATE_H
#define IVS_SERVER_HANDOVER_PRIVATE_H

#include <string.h>

#include "server/handover/handover.h"

/* Whatever begins otherwise was given its name by somebody else. */
#define NAME_PREFIX "ivshmem."
#define NAME_STATE NAME_PREFIX "state"
#define NAME_REGION NAME_PREFIX "region"
#define NAME_LISTENER NAME_PREFIX "listener"
#define NAME_CONTROL NAME_PREFIX "control" /* in the same process alone, as the next */
#define NAME_MANAGER NAME_PREFIX "manager"
#define NAME_CLIENT NAME_PREFIX "client"

static inline bool ivs_handover_is_our_name(const char *name)
{
	return !strncmp(name, NAME_PREFIX, strlen(NAME_PREFIX));
}

/** ivs_handover_store_own() - the manager is to have a copy of @fd instead of what it may have of before */
void ivs_handover_store_own(struct ivs_handover *handover, enum ivs_handover_own own, int fd);

/** ivs_handover_take_own() - what was left of it, or -1; the manager is given a copy if it has none */
int ivs_handover_take_own(struct ivs_handover *handover, enum ivs_handover_own own);

/** ivs_handover_list_own() - for the next program in this process. Return: 0 or -errno. */
IVS_MUST_USE int ivs_handover_list_own(const struct ivs_handover *handover,
				       const struct ivs_handover_fds *fds,
				       struct ivs_inherited *out);

/** ivs_handover_take_named() - by its name; @kept: whether the manager has a copy */
int ivs_handover_take_named(struct ivs_handover *handover, const char *name, bool *kept);

/** ivs_handover_list_named() - the reverse. Return: 0 or -errno. */
IVS_MUST_USE int ivs_handover_list_named(struct ivs_inherited *out, int fd, const char *name,
					 bool kept);

#endif
