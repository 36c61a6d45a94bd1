/* SPDX-License-Identifier: BSD-3-Clause */
/* Text about regions, for "ivshmem list". */
#ifndef TOOLS_IVSHMEM_LIST_NOTE_H
#define TOOLS_IVSHMEM_LIST_NOTE_H

#include "host/regions.h"

#define LIST_USERS_LEN 2048 /* room for 8 users of at most 175 bytes each */
#define LIST_NOTE_LEN (LIST_USERS_LEN + 4608)

/** list_users() - the users of a region as text: "VM win10 (pid 5), cat (pid 6) [open]" */
const char *list_users(const struct ivs_host_region *region, char out[LIST_USERS_LEN]);

/** list_note() - note @i (1 << @i) of region @at as text, with its remedy; not safe to print */
const char *list_note(const struct ivs_host_regions *regions, size_t at, unsigned int i,
		      char out[LIST_NOTE_LEN]);

#endif
