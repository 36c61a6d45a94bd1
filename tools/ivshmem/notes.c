/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/ivshmem/notes.h"

#include <grp.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/parse.h"
#include "base/text.h"
#include "config/escape.h"
#include "daemon/json.h"
#include "tools/shared/owners.h"
#include "tools/shared/usage.h"

#define WORD_LEN (4 * 4096 + 16) /* room for a path that is quoted for a shell */

void notes_add(struct notes *notes, const char *command, const char *format, ...)
{
	struct note *note = &notes->items[notes->n];
	char text[NOTE_LEN];
	char shown[NOTE_LEN];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (notes->n == NOTES_MAX)
		return;
	note->text = strdup(ivs_text_shown(text, shown, sizeof(shown)));
	note->command = command ? strdup(command) : NULL;
	if (note->text)
		notes->n++;
	else
		free(note->command);
}

void notes_print(const struct notes *notes)
{
	for (unsigned int i = 0; i < notes->n; i++) {
		const struct note *note = &notes->items[i];

		fprintf(stderr, "%s: note: %s%s%s\n", usage_name(), note->text,
			note->command ? ": " : "", note->command ? note->command : "");
	}
}

void notes_deinit(struct notes *notes)
{
	for (unsigned int i = 0; i < notes->n; i++) {
		free(notes->items[i].text);
		free(notes->items[i].command);
	}
	notes->n = 0;
}

void look_at(const char *path, struct look *out)
{
	struct stat st;

	*out = (struct look){0};
	if (lstat(path, &st))
		return;
	*out = (struct look){
		.exists = true,
		.file = S_ISREG(st.st_mode),
		.odd = S_ISREG(st.st_mode) || S_ISCHR(st.st_mode) ? NULL
								  : ivs_file_kind(st.st_mode),
		.size = S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0,
		.uid = st.st_uid,
		.gid = st.st_gid,
		.mode = st.st_mode & 07777,
	};
}

/* Return: the uid of @owner, a name or number; -1 if it is unknown or NULL. */
static uid_t find_user(const char *owner)
{
	const struct passwd *user = owner ? getpwnam(owner) : NULL;
	uint64_t number;

	if (user)
		return user->pw_uid;
	return owner && ivs_parse_uint(owner, 0, UINT32_MAX - 1, &number) ? (uid_t)number
									  : (uid_t)-1;
}

static bool is_other_user(const char *owner, uid_t uid)
{
	uid_t wanted = find_user(owner);

	return wanted != (uid_t)-1 && wanted != uid;
}

static bool is_other_group(const char *name, gid_t gid)
{
	const struct group *group = getgrnam(name);
	uint64_t number;

	if (group)
		return group->gr_gid != gid;
	return ivs_parse_uint(name, 0, UINT32_MAX - 1, &number) && number != gid;
}

/* Compose "PROGRAM VALUE PATH". */
static const char *command_text(char out[WORD_LEN], const char *program, const char *value,
				const char *path)
{
	struct ivs_out text = IVS_OUT_INIT(out, WORD_LEN);

	ivs_out_format(&text, "%s %s ", program, value);
	ivs_escape(&text, IVS_SYNTAX_SHELL, path);
	return out;
}

static bool size_differs(const struct wish *wish, const struct look *look)
{
	return wish->size && look->file && look->size && look->size != wish->size;
}

static bool access_differs(const struct wish *wish, const struct look *look)
{
	return is_other_user(wish->owner, look->uid) ||
	       (wish->group && is_other_group(wish->group, look->gid)) ||
	       (wish->mode && wish->mode != look->mode);
}

static void compare_size(struct notes *notes, const struct wish *wish, const struct look *look)
{
	char has[IVS_SIZE_TEXT_LEN];
	char wants[IVS_SIZE_TEXT_LEN];
	char command[WORD_LEN];
	struct ivs_out text = IVS_OUT_INIT(command, sizeof(command));

	if (!size_differs(wish, look))
		return;
	ivs_size_text(look->size, has);
	ivs_size_text(wish->size, wants);
	ivs_out_text(&text, "ivshmem resize ");
	ivs_escape(&text, IVS_SYNTAX_SHELL, wish->address);
	ivs_out_format(&text, " --size %s", wants);
	notes_add(notes, command,
		  "\"%s\" has the size %s and not %s, so %s. Stop the VMs, and resize it",
		  wish->path, has, wants,
		  look->size < wish->size ? "QEMU would not start"
					  : "the guest would see only the first part of it");
}

static void compare_access(struct notes *notes, const struct wish *wish, const struct look *look)
{
	char command[WORD_LEN];
	char mode[16];

	if (is_other_user(wish->owner, look->uid))
		notes_add(notes, command_text(command, "chown -h", wish->owner, wish->path),
			  "\"%s\" belongs to uid %u and not to %s", wish->path, look->uid,
			  wish->owner);
	if (wish->group && is_other_group(wish->group, look->gid))
		notes_add(notes, command_text(command, "chgrp -h", wish->group, wish->path),
			  "\"%s\" has the gid %u and not the group %s", wish->path, look->gid,
			  wish->group);
	snprintf(mode, sizeof(mode), "0%o", wish->mode);
	if (wish->mode && wish->mode != look->mode)
		notes_add(notes, command_text(command, "chmod", mode, wish->path),
			  "\"%s\" has the mode 0%o and not %s", wish->path, look->mode, mode);
}

void notes_compare(struct notes *notes, const struct wish *wish, const struct look *look)
{
	if (!look->exists)
		return;
	if (look->odd) {
		notes_add(notes, NULL,
			  "\"%s\" is %s, and not a file: find out who created it, remove it, and "
			  "create the region again",
			  wish->path, look->odd);
	} else if (owner_is_trusted(look->uid, find_user(wish->owner))) {
		compare_size(notes, wish, look);
		compare_access(notes, wish, look);
	} else if (size_differs(wish, look) || access_differs(wish, look)) {
		notes_add(notes, NULL,
			  "\"%s\" is not as requested and belongs to uid %u, whose existing "
			  "mappings remain even if the owner or mode is changed: remove it and "
			  "create it again",
			  wish->path, look->uid);
	}
}

static int print_text(const struct ivs_pieces *pieces)
{
	for (unsigned int i = 0; i < pieces->n; i++) {
		const struct ivs_piece *piece = &pieces->items[i];
		size_t len = strlen(piece->where) + strlen(piece->text) + 16;
		char *text = malloc(len);
		struct ivs_out out = IVS_OUT_INIT(text, len);

		if (!text)
			return usage_failed("out of memory");
		ivs_piece_print(&out, piece);
		printf("%s%s", i ? "\n" : "", text);
		free(text);
	}
	return 0;
}

static int print_json(const struct ivs_pieces *pieces, const struct notes *notes, json_t *json)
{
	json_t *list = json_array();
	json_t *sentences = json_array();
	int failed = 0;

	for (unsigned int i = 0; i < pieces->n; i++) {
		const struct ivs_piece *piece = &pieces->items[i];

		failed |= json_array_append_new(list, json_pack("{s:s, s:s, s:s}", "language",
								ivs_language_name(piece->language),
								"where", piece->where, "text",
								piece->text));
	}
	for (unsigned int i = 0; i < notes->n; i++)
		failed |= json_array_append_new(
			sentences, json_pack("{s:s, s:s?}", "text", notes->items[i].text, "command",
					     notes->items[i].command));
	failed |= json_object_set_new(json, "pieces", list);
	failed |= json_object_set_new(json, "notes", sentences);
	if (failed)
		return usage_failed("out of memory");
	if (ivs_json_write(json, JSON_INDENT(2), stdout))
		return usage_failed("cannot print JSON");
	putchar('\n');
	return 0;
}

int pieces_print(const struct ivs_pieces *pieces, const struct notes *notes, json_t *json)
{
	int status;

	if (pieces->out.full)
		return usage_failed("the configuration is too long, or a text in it has control "
				    "characters: give fewer devices, or other names");
	status = json ? print_json(pieces, notes, json) : print_text(pieces);
	if (!status && (fflush(stdout) || ferror(stdout)))
		return usage_failed("cannot write to standard output");
	if (!json)
		notes_print(notes);
	return status;
}
