/* SPDX-License-Identifier: BSD-3-Clause */
/* "ivshmem list": the regions of this host. */
#include "tools/ivshmem/list_note.h"

#include <grp.h>
#include <jansson.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/parse.h"
#include "base/text.h"
#include "daemon/json.h"
#include "tools/ivshmem/commands.h"
#include "tools/ivshmem/progress.h"
#include "tools/ivshmem/region_name.h"
#include "tools/shared/address.h"
#include "tools/shared/table.h"
#include "tools/shared/usage.h"

#define NAMES_MAX 64
#define ID_LEN 64
#define NAME_LEN (ADDRESS_LEN + 16) /* with a note in parentheses */

static const char help_text[] =
	"usage: ivshmem list [--all] [--json] [NAME]...\n"
	"\n"
	"Lists the regions of this host: plain files, and those of VMs and servers; who\n"
	"uses them, and what is wrong with them. NAME is a name in /dev/shm, an address\n"
	"(shm:NAME, file:PATH), or the path of a file or of a server's socket.\n"
	"\n"
	"  -a, --all       also files in /dev/shm and hugetlbfs that are most likely not\n"
	"                  regions\n"
	"  -j, --json      print JSON\n"
	"  -h, --help, -V, --version\n"
	"\n"
	"Without root, processes of other users cannot be examined, except for the\n"
	"arguments of VMs.\n"
	"\n"
	"Example:\n"
	"  ivshmem list\n"
	"  ivshmem list looking-glass\n";

static const struct option options[] = {
	{"all", no_argument, NULL, 'a'},
	{"json", no_argument, NULL, 'j'},
	{"help", no_argument, NULL, 'h'},
	{"version", no_argument, NULL, 'V'},
	{NULL, 0, NULL, 0},
};

struct settings {
	bool all;
	bool json;
	struct region_name names[NAMES_MAX];
	size_t names_n;
};

static int take_option(void *context, int option, const char *value)
{
	struct settings *settings = context;

	(void)value;
	switch (option) {
	case 'a':
		settings->all = true;
		return 0;
	case 'j':
		settings->json = true;
		return 0;
	default:
		return STATUS_USAGE;
	}
}

static int take_name(void *context, char *value)
{
	struct settings *settings = context;
	int status;

	if (settings->names_n == NAMES_MAX)
		return USAGE_SURPLUS;
	status = region_name_take(&settings->names[settings->names_n], value);
	settings->names_n += !status;
	return status;
}

static bool is_selected(const struct settings *settings, const struct ivs_host_region *region)
{
	for (size_t i = 0; i < settings->names_n; i++) {
		if (region_name_is(region, &settings->names[i]))
			return true;
	}
	return !settings->names_n && (settings->all || region->why);
}

static const char *user_name(uid_t uid, char out[ID_LEN])
{
	const struct passwd *user = getpwuid(uid);

	if (user)
		snprintf(out, ID_LEN, "%s", user->pw_name);
	else
		snprintf(out, ID_LEN, "%u", (unsigned int)uid);
	return out;
}

static const char *group_name(gid_t gid, char out[ID_LEN])
{
	const struct group *group = getgrgid(gid);

	if (group)
		snprintf(out, ID_LEN, "%s", group->gr_name);
	else
		snprintf(out, ID_LEN, "%u", (unsigned int)gid);
	return out;
}

static json_t *json_of_user(const struct ivs_host_user *user)
{
	return json_pack("{s:i, s:o, s:o, s:o, s:b, s:b, s:b, s:b, s:b}", "pid", (int)user->pid,
			 "program", ivs_json_text(user->program), "vm",
			 *user->vm ? ivs_json_text(user->vm) : json_null(), "socket",
			 *user->socket ? ivs_json_text(user->socket) : json_null(), "server",
			 user->server, "maps", user->maps, "shared", user->shared, "open",
			 user->open, "arguments", user->named);
}

static json_t *json_of_users(const struct ivs_host_region *region)
{
	json_t *array = json_array();

	for (size_t i = 0; i < region->users_n; i++)
		json_array_append_new(array, json_of_user(&region->users[i]));
	return array;
}

static json_t *json_of_notes(const struct ivs_host_regions *regions, size_t at)
{
	json_t *array = json_array();
	char text[LIST_NOTE_LEN];

	for (unsigned int i = 0; i < IVS_HOST_NOTES_N; i++) {
		if (!(regions->list[at].notes & 1U << i))
			continue;
		json_array_append_new(array,
				      json_pack("{s:s, s:o}", "note", ivs_host_note_name(i), "text",
						ivs_json_text(list_note(regions, at, i, text))));
	}
	return array;
}

/* Add what is known about the file, or null if the file cannot be examined. */
static void json_add_file(json_t *json, const struct ivs_host_region *region)
{
	char owner[ID_LEN];
	char group[ID_LEN];
	char mode[8];
	bool sized = region->size || (region->known && region->kind != IVS_HOST_DEVICE);

	snprintf(mode, sizeof(mode), "%04o", (unsigned int)region->mode);
	json_object_set_new(json, "size",
			    sized ? json_integer((json_int_t)region->size) : json_null());
	json_object_set_new(json, "page_size",
			    region->page_size ? json_integer((json_int_t)region->page_size)
					      : json_null());
	json_object_set_new(json, "owner",
			    region->known ? ivs_json_text(user_name(region->uid, owner))
					  : json_null());
	json_object_set_new(json, "group",
			    region->known ? ivs_json_text(group_name(region->gid, group))
					  : json_null());
	json_object_set_new(json, "mode", region->known ? json_string(mode) : json_null());
}

static json_t *json_of_region(const struct ivs_host_regions *regions, size_t at)
{
	const struct ivs_host_region *region = &regions->list[at];
	char address[ADDRESS_LEN];
	json_t *json = json_object();

	ivs_host_region_address(region, address, sizeof(address));
	json_object_set_new(json, "address", ivs_json_text(address));
	json_object_set_new(json, "path",
			    *region->path == '/' ? ivs_json_text(region->path) : json_null());
	json_object_set_new(json, "kind", json_string(ivs_host_kind_name(region->kind)));
	json_add_file(json, region);
	json_object_set_new(json, "boot", region->boot ? ivs_json_text(region->boot) : json_null());
	json_object_set_new(json, "used_by", json_of_users(region));
	json_object_set_new(json, "notes", json_of_notes(regions, at));
	return json;
}

static int print_json(const struct settings *settings, const struct ivs_host_regions *regions)
{
	json_t *json = json_object();
	json_t *array = json_array();
	int failed;

	for (size_t i = 0; i < regions->n; i++) {
		if (is_selected(settings, &regions->list[i]))
			json_array_append_new(array, json_of_region(regions, i));
	}
	json_object_set_new(json, "regions", array);
	json_object_set_new(json, "unseen", json_integer(regions->unseen_n));
	json_object_set_new(json, "crowded", json_integer(regions->crowded_n));
	json_object_set_new(json, "hidden", json_boolean(regions->hidden));
	failed = ivs_json_write(json, JSON_INDENT(2), stdout);
	putchar('\n');
	json_decref(json);
	return failed ? usage_failed("cannot print JSON: out of memory") : 0;
}

/* Return: the address or, if the file has been removed, "shm:NAME (removed)". */
static const char *name_text(const struct ivs_host_region *region, char out[NAME_LEN])
{
	const unsigned int removed = IVS_HOST_NOTE_REMOVED | IVS_HOST_NOTE_REPLACED;
	const char *what = region->notes & removed		  ? " (removed)"
			   : region->notes & IVS_HOST_NOTE_ABSENT ? " (absent)"
								  : "";
	char address[ADDRESS_LEN];

	ivs_host_region_address(region, address, sizeof(address));
	snprintf(out, NAME_LEN, "%s%s", address, what);
	return out;
}

/* Return: the size, with "*" appended if it is not a power of two: "33M*". */
static const char *size_text(const struct ivs_host_region *region, char out[IVS_SIZE_TEXT_LEN + 2])
{
	if (region->kind == IVS_HOST_DEVICE || (!region->known && !region->size))
		return "-";
	ivs_size_text(region->size, out);
	if (region->notes & IVS_HOST_NOTE_SIZE)
		strcat(out, "*");
	return out;
}

static int add_row(struct table *table, const struct ivs_host_region *region)
{
	const bool known = region->known;
	char address[NAME_LEN];
	char size[IVS_SIZE_TEXT_LEN + 2];
	char page[IVS_SIZE_TEXT_LEN];
	char users[LIST_USERS_LEN];
	char owner[ID_LEN];
	char group[ID_LEN];
	char mode[8];
	const char *cells[] = {
		name_text(region, address),
		size_text(region, size),
		known ? user_name(region->uid, owner) : "-",
		known ? group_name(region->gid, group) : "-",
		known ? mode : "-",
		region->page_size ? ivs_size_text(region->page_size, page) : "-",
		ivs_host_kind_name(region->kind),
		region->users_n ? list_users(region, users) : "-",
	};
	int result = 0;

	snprintf(mode, sizeof(mode), "%04o", (unsigned int)region->mode);
	for (size_t i = 0; i < sizeof(cells) / sizeof(*cells) && !result; i++)
		result = table_add(table, cells[i]);
	return result;
}

static void print_notes(const struct settings *settings, const struct ivs_host_regions *regions)
{
	char address[NAME_LEN];
	char text[LIST_NOTE_LEN];
	char line[NAME_LEN + LIST_NOTE_LEN + 4];
	char shown[NAME_LEN + LIST_NOTE_LEN + 4];
	bool first = true;

	for (size_t at = 0; at < regions->n; at++) {
		const struct ivs_host_region *region = &regions->list[at];

		for (unsigned int i = 0; i < IVS_HOST_NOTES_N; i++) {
			if (!(region->notes & 1U << i) || !is_selected(settings, region))
				continue;
			snprintf(line, sizeof(line), "%s: %s", name_text(region, address),
				 list_note(regions, at, i, text));
			printf("%s%s\n", first ? "\n" : "",
			       ivs_text_shown(line, shown, sizeof(shown)));
			first = false;
		}
	}
}

static int print_table(const struct settings *settings, const struct ivs_host_regions *regions)
{
	static const struct table_column columns[] = {
		{"REGION", false}, {"SIZE", true},   {"OWNER", false}, {"GROUP", false},
		{"MODE", false},   {"PAGES", false}, {"KIND", false},  {"USED BY", false},
	};
	struct table table = {.columns = columns, .columns_n = sizeof(columns) / sizeof(*columns)};
	int result = 0;

	for (size_t i = 0; i < regions->n && !result; i++) {
		if (is_selected(settings, &regions->list[i]))
			result = add_row(&table, &regions->list[i]);
	}
	if (!result && table.cells_n)
		result = table_print(&table);
	if (!result && table.cells_n)
		print_notes(settings, regions);
	else if (!result)
		puts("no regions on this host");
	table_deinit(&table);
	return result ? usage_failed("cannot print the table: %s", strerror(-result)) : 0;
}

/*
 * Check that each NAME is a region.
 * Return: 0, or STATUS_FAILED after printing the NAMEs that are not regions.
 */
static int check_names(const struct settings *settings, const struct ivs_host_regions *regions)
{
	int status = 0;

	for (size_t i = 0; i < settings->names_n; i++) {
		char shown[ADDRESS_LEN];
		size_t at = 0;

		while (at < regions->n && !region_name_is(&regions->list[at], &settings->names[i]))
			at++;
		if (at == regions->n)
			status = usage_failed(
				"no region \"%s\": \"ivshmem list --all\" lists all that can be "
				"seen",
				ivs_text_shown(settings->names[i].given, shown, sizeof(shown)));
	}
	return status;
}

static int print_regions(const struct settings *settings, const struct ivs_host_regions *regions)
{
	char unseen[IVS_HOST_UNSEEN_TEXT_LEN];
	int missing;
	int status;

	missing = check_names(settings, regions);
	status = settings->json ? print_json(settings, regions) : 0;
	if (!settings->json && !missing)
		status = print_table(settings, regions);
	ivs_host_users_unseen(regions->unseen_n, regions->hidden, unseen);
	if (*unseen)
		usage_failed("%s", unseen);
	if (regions->crowded_n)
		usage_failed("%u process%s more than %u files that may be regions: not all of "
			     "these uses are listed",
			     regions->crowded_n, regions->crowded_n == 1 ? " uses" : "es use",
			     IVS_HOST_USES_MAX);
	return missing ? missing : status;
}

static int find_and_print(const struct settings *settings)
{
	const char *paths[NAMES_MAX];
	struct ivs_host_regions regions;
	size_t paths_n = 0;
	int status;
	int result;

	for (size_t i = 0; i < settings->names_n; i++) {
		if (settings->names[i].path)
			paths[paths_n++] = settings->names[i].path;
	}
	progress_start("examining the processes of this host");
	result = ivs_host_regions_find(paths, paths_n, &regions);
	progress_end();
	if (result)
		return usage_failed("cannot examine this host: %s", strerror(-result));
	status = print_regions(settings, &regions);
	ivs_host_regions_deinit(&regions);
	return status;
}

static int list(int argc, char **argv)
{
	static const struct usage usage = {
		.help = help_text,
		.letters = "ajhV",
		.options = options,
		.take = take_option,
		.surplus = "at most 64 names can be given",
		.operand = take_name,
	};
	struct settings settings = {0};
	int status = usage_parse(&usage, &settings, argc, argv);

	if (!status)
		status = find_and_print(&settings);
	for (size_t i = 0; i < settings.names_n; i++)
		region_name_deinit(&settings.names[i]);
	return status < 0 ? 0 : status;
}

const struct command command_list = {
	"list",
	"list the regions of this host, who uses them, and what is wrong",
	list,
};
