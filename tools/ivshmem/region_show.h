/* SPDX-License-Identifier: BSD-3-Clause */
/* Facts about a region's file, for people and as JSON. */
#ifndef TOOLS_IVSHMEM_REGION_SHOW_H
#define TOOLS_IVSHMEM_REGION_SHOW_H

#include <jansson.h>
#include <sys/stat.h>

#include "tools/ivshmem/region_place.h"

#define SHOW_OWNER_LEN 72
#define SHOW_FACTS_LEN 160
#define SHOW_WORD_LEN (4 * PATH_MAX)

/** show_user() - the name of a user, or the number if there is none; safe to print */
const char *show_user(uid_t uid, char out[SHOW_OWNER_LEN]);

/** show_group() - the same for a group */
const char *show_group(gid_t gid, char out[SHOW_OWNER_LEN]);

/** show_facts() - "32M, owner alice:kvm, mode 0660" */
const char *show_facts(const struct stat *st, char out[SHOW_FACTS_LEN]);

/** show_word() - @text, quoted as a word of a shell command */
const char *show_word(const char *text, char out[SHOW_WORD_LEN]);

/** show_shell_name() - the name or address that a user types for a region, quoted */
const char *show_shell_name(const struct place *place, char out[SHOW_WORD_LEN]);

/** show_json() - what show_facts() says, as a JSON object; NULL if out of memory */
json_t *show_json(const struct place *place, const struct stat *st);

/** show_json_print() - print @object on one line, and free it. Return: an exit status. */
int show_json_print(json_t *object);

#endif
