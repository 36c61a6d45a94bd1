/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/ivshmem/region_show.h"

#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>

#include "base/parse.h"
#include "base/text.h"
#include "config/escape.h"
#include "daemon/json.h"
#include "tools/shared/usage.h"

static const char *show_name(const char *name, unsigned int id, char out[SHOW_OWNER_LEN])
{
	if (name)
		return ivs_text_shown(name, out, SHOW_OWNER_LEN);
	snprintf(out, SHOW_OWNER_LEN, "%u", id);
	return out;
}

const char *show_user(uid_t uid, char out[SHOW_OWNER_LEN])
{
	const struct passwd *user = getpwuid(uid);

	return show_name(user ? user->pw_name : NULL, uid, out);
}

const char *show_group(gid_t gid, char out[SHOW_OWNER_LEN])
{
	const struct group *group = getgrgid(gid);

	return show_name(group ? group->gr_name : NULL, gid, out);
}

const char *show_facts(const struct stat *st, char out[SHOW_FACTS_LEN])
{
	char size[IVS_SIZE_TEXT_LEN];
	char user[SHOW_OWNER_LEN];
	char group[SHOW_OWNER_LEN];

	snprintf(out, SHOW_FACTS_LEN, "%s, owner %s:%s, mode %04o",
		 ivs_size_text((uint64_t)st->st_size, size), show_user(st->st_uid, user),
		 show_group(st->st_gid, group), (unsigned int)st->st_mode & 07777);
	return out;
}

const char *show_word(const char *text, char out[SHOW_WORD_LEN])
{
	struct ivs_out word = IVS_OUT_INIT(out, SHOW_WORD_LEN);

	ivs_escape(&word, IVS_SYNTAX_SHELL, text);
	return out;
}

const char *show_shell_name(const struct place *place, char out[SHOW_WORD_LEN])
{
	bool bare = place->shm && *place->name != '-' && !strchr(place->name, ':');

	return show_word(bare ? place->name : place->address, out);
}

json_t *show_json(const struct place *place, const struct stat *st)
{
	char user[SHOW_OWNER_LEN];
	char group[SHOW_OWNER_LEN];
	char mode[8];

	snprintf(mode, sizeof(mode), "%04o", (unsigned int)st->st_mode & 07777);
	return json_pack("{s:s, s:s, s:I, s:s, s:I, s:s, s:I, s:s}", "address", place->address,
			 "path", place->path, "size", (json_int_t)st->st_size, "owner",
			 show_user(st->st_uid, user), "uid", (json_int_t)st->st_uid, "group",
			 show_group(st->st_gid, group), "gid", (json_int_t)st->st_gid, "mode",
			 mode);
}

int show_json_print(json_t *object)
{
	int result = object ? ivs_json_write(object, JSON_PRESERVE_ORDER, stdout) : -1;

	json_decref(object);
	if (result)
		return usage_failed("out of memory");
	putchar('\n');
	return 0;
}
