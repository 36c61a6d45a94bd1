/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/ivshmem/boot.h"

#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/region_boot.h"
#include "tools/ivshmem/program.h"
#include "tools/shared/usage.h"

#define UNIT_PREFIX "ivshmem-region-"
#define NAME_LEN 64

/* When the region is created at boot, only users and groups in the files of /etc are known. */
static bool user_is_local(const struct passwd *user)
{
	FILE *file = fopen("/etc/passwd", "re");
	uid_t uid = user->pw_uid;
	struct passwd *entry;

	while (file && (entry = fgetpwent(file)) && entry->pw_uid != uid)
		continue;
	if (file)
		fclose(file);
	return file && entry;
}

static bool group_is_local(const struct group *group)
{
	FILE *file = fopen("/etc/group", "re");
	gid_t gid = group->gr_gid;
	struct group *entry;

	while (file && (entry = fgetgrent(file)) && entry->gr_gid != gid)
		continue;
	if (file)
		fclose(file);
	return file && entry;
}

/* Write to @out how the files refer to a user or group: by number if the name is unusual. */
static void plain_name(const char *name, unsigned int id, char out[NAME_LEN])
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				    "0123456789_.-";

	if (name && *name && !name[strspn(name, plain)] && strlen(name) < NAME_LEN)
		snprintf(out, NAME_LEN, "%s", name);
	else
		snprintf(out, NAME_LEN, "%u", id);
}

/* Set the paths of all files, and leave their texts empty. */
static int boot_name(const struct place *place, struct boot *boot)
{
	char stem[4 * PATH_MAX];
	char tmpfiles[sizeof(stem) + 32];
	char unit[sizeof(stem) + 32];
	struct ivs_out out = IVS_OUT_INIT(stem, sizeof(stem));
	int status;

	ivs_region_boot_stem(&out, place->address);
	snprintf(tmpfiles, sizeof(tmpfiles), "ivshmem-%s.conf", stem);
	snprintf(unit, sizeof(unit), UNIT_PREFIX "%s.service", stem);
	status = boot_add(boot, false, "etc/systemd/system", unit);
	if (!status)
		status = boot_add(boot, true, "etc/systemd/system/basic.target.wants", unit);
	if (!status)
		status = boot_add(boot, false, "etc/tmpfiles.d", tmpfiles);
	return status;
}

int boot_exists(const struct place *place, const char *root, bool *exists)
{
	struct boot *boot = boot_new(root);
	int status = boot ? boot_name(place, boot) : STATUS_FAILED;

	*exists = !status && boot_has(&boot->files[0]);
	boot_free(boot);
	return status;
}

static int boot_compose(const struct boot_wish *wish, struct boot *boot)
{
	const struct passwd *user = getpwuid(wish->uid);
	const struct group *group = getgrgid(wish->gid);
	struct ivs_out unit = IVS_OUT_INIT(boot->files[0].text, BOOT_TEXT_LEN);
	struct ivs_out tmpfiles = IVS_OUT_INIT(boot->files[2].text, BOOT_TEXT_LEN);
	char why[PROGRAM_WHY_LEN];
	char program[PATH_MAX];
	char owner_name[NAME_LEN];
	char group_name[NAME_LEN];
	struct ivs_region_boot text = {
		.address = wish->place->address,
		.path = wish->place->path,
		.size = wish->size,
		.owner = owner_name,
		.group = group_name,
		.mode = wish->mode,
		.program = program,
	};

	if (!program_find(program))
		return usage_failed("cannot find the path of this program: is /proc mounted?");
	/* The owner of another system decides which program is at this path there. */
	if (!boot->foreign && !program_is_safe(program, why))
		return usage_failed("at boot, root would run %s, which another user could replace: "
				    "%s: install ivshmem (make deb), and run the installed "
				    "program",
				    program, why);
	plain_name(user && user_is_local(user) ? user->pw_name : NULL, wish->uid, owner_name);
	plain_name(group && group_is_local(group) ? group->gr_name : NULL, wish->gid, group_name);
	ivs_region_boot_unit(&unit, &text);
	snprintf(boot->files[1].text, BOOT_TEXT_LEN, "../%s", boot->files[0].name);
	/* Not for huge pages, because systemd-tmpfiles may run before a hugetlbfs is mounted. */
	if (place_kind(wish->place) == PLACE_TMPFS)
		ivs_region_boot_tmpfiles(&tmpfiles, &text);
	if (unit.full || tmpfiles.full)
		return usage_failed("the path of the region is too long for --boot, or cannot be "
				    "written to a file");
	return 0;
}

/* @wish: NULL to remove the files */
static int boot_change(const struct place *place, const struct boot_wish *wish, const char *root,
		       struct boot **out)
{
	struct boot *boot = boot_new(root);
	int status;

	*out = NULL;
	if (!boot)
		return STATUS_FAILED;
	status = boot_name(place, boot);
	if (!status && wish && place_kind(place) != PLACE_DISK)
		status = boot_compose(wish, boot);
	if (!status)
		status = boot_apply(boot);
	if (status) {
		boot_undo(boot);
		boot_free(boot);
		return status;
	}
	*out = boot;
	return 0;
}

int boot_install(const struct boot_wish *wish, const char *root, struct boot **out)
{
	return boot_change(wish->place, wish, root, out);
}

int boot_uninstall(const struct place *place, const char *root, struct boot **out)
{
	return boot_change(place, NULL, root, out);
}

unsigned int boot_changed_n(const struct boot *boot)
{
	unsigned int n = 0;

	for (unsigned int i = 0; boot && i < boot->files_n; i++)
		n += boot->files[i].changed;
	return n;
}

json_t *boot_json(const struct boot *boot)
{
	json_t *list = json_array();

	for (unsigned int i = 0; boot && i < boot->files_n; i++) {
		if (*boot->files[i].text || boot->files[i].changed)
			json_array_append_new(list, json_string(boot->files[i].path));
	}
	return list;
}

void boot_print(const struct boot *boot, const char *word)
{
	for (unsigned int i = 0; boot && i < boot->files_n; i++) {
		if (boot->files[i].changed)
			printf("%s %s\n", word, boot->files[i].path);
	}
}
