/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/ivshmem/boot.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <libgen.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/access.h"
#include "base/fd.h"
#include "config/escape.h"
#include "config/region_boot.h"
#include "tools/shared/usage.h"

#define UNIT_PREFIX "ivshmem-region-"
#define NAME_LEN 64

static int file_failed(const char *what, const char *path)
{
	char why[IVS_ACCESS_TEXT_LEN];

	if (errno == EACCES)
		return usage_failed("cannot %s %s: Permission denied: %s: run this as root", what,
				    path, ivs_access_explain(path, R_OK | W_OK, why));
	return usage_failed("cannot %s %s: %s", what, path, strerror(errno));
}

/* Read the present content of the file, or the target of the link, into @file->old. */
static int file_read(struct boot_file *file)
{
	IVS_OWNED_FD fd = -1;
	ssize_t len;

	if (file->link) {
		len = readlink(file->path, file->old, sizeof(file->old) - 1);
	} else {
		fd = open(file->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
		len = fd < 0 ? -1 : read(fd, file->old, sizeof(file->old) - 1);
	}
	if (len < 0)
		return errno == ENOENT ? 0 : file_failed("read", file->path);
	file->old[len] = '\0';
	if (!file->link && strncmp(file->old, IVS_REGION_BOOT_MARK, strlen(IVS_REGION_BOOT_MARK)))
		return usage_failed("%s was not made by \"ivshmem create --boot\": move it away",
				    file->path);
	return 0;
}

static int text_write(const char *path, const char *text)
{
	IVS_OWNED_FD fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
	size_t len = strlen(text);
	ssize_t n = fd < 0 ? -1 : write(fd, text, len);

	if (n >= 0 && (size_t)n < len)
		errno = ENOSPC;
	return n == (ssize_t)len && !fchmod(fd, 0644) && !fsync(fd) ? 0 : -1;
}

/* Replace the file in one step. @text has the meaning that it has in struct boot_file. */
static int file_set(const struct boot_file *file, const char *text)
{
	char path[PATH_MAX + 16];
	int result;

	if (!*text)
		return unlink(file->path) && errno != ENOENT ? file_failed("remove", file->path)
							     : 0;
	snprintf(path, sizeof(path), "%s.new", file->path);
	unlink(path); /* a process that was killed may have left it */
	result = file->link ? symlink(text, path) : text_write(path, text);
	if (!result && !rename(path, file->path))
		return 0;
	result = errno;
	unlink(path);
	errno = result;
	return file_failed("write", file->path);
}

/* Create a directory and its parent directories. */
static int make_dirs(struct boot *boot, const char *dir)
{
	char copy[PATH_MAX];

	if (!access(dir, F_OK))
		return 0;
	if (boot->dirs_n == BOOT_DIRS_MAX)
		return usage_failed("too many directories are missing on the way to %s", dir);
	strcpy(copy, dir);
	if (strcmp(dirname(copy), dir) != 0 && make_dirs(boot, copy))
		return STATUS_FAILED;
	if (mkdir(dir, 0755))
		return file_failed("make the directory", dir);
	snprintf(boot->dirs[boot->dirs_n++], PATH_MAX, "%s", dir);
	return 0;
}

static int file_apply(struct boot *boot, struct boot_file *file)
{
	char copy[PATH_MAX];

	if (!strcmp(file->old, file->text))
		return 0;
	strcpy(copy, file->path);
	if (*file->text && make_dirs(boot, dirname(copy)))
		return STATUS_FAILED;
	if (file_set(file, file->text))
		return STATUS_FAILED;
	file->changed = true;
	return 0;
}

static int boot_apply(struct boot *boot)
{
	int status = 0;

	for (unsigned int i = 0; !status && i < boot->files_n; i++)
		status = file_read(&boot->files[i]);
	for (unsigned int i = 0; !status && i < boot->files_n; i++)
		status = file_apply(boot, &boot->files[i]);
	return status;
}

void boot_undo(struct boot *boot)
{
	for (unsigned int i = boot ? boot->files_n : 0; i > 0; i--) {
		const struct boot_file *file = &boot->files[i - 1];

		if (file->changed && file_set(file, file->old))
			usage_failed("%s is left as it is", file->path);
	}
	for (unsigned int i = boot ? boot->dirs_n : 0; i > 0; i--)
		rmdir(boot->dirs[i - 1]); /* fails if another process has put files there */
}

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

static int boot_add(struct boot *boot, bool link, const char *root, const char *dir,
		    const char *name)
{
	struct boot_file *file = &boot->files[boot->files_n++];

	file->link = link;
	if (strlen(name) > NAME_MAX - 4 || /* room for ".new" */
	    snprintf(file->path, PATH_MAX, "%s/etc/%s/%s", root, dir, name) >= PATH_MAX)
		return usage_failed("the name of the region is too long for --boot: %zu bytes",
				    strlen(name));
	return 0;
}

/* Set the paths of all files, and leave their texts empty. */
static int boot_name(const struct place *place, const char *root, struct boot *boot)
{
	char stem[4 * PATH_MAX];
	char tmpfiles[sizeof(stem) + 32];
	char unit[sizeof(stem) + 32];
	struct ivs_out out = IVS_OUT_INIT(stem, sizeof(stem));
	int status;

	ivs_region_boot_stem(&out, place->address);
	snprintf(tmpfiles, sizeof(tmpfiles), "ivshmem-%s.conf", stem);
	snprintf(unit, sizeof(unit), UNIT_PREFIX "%s.service", stem);
	status = boot_add(boot, false, root, "systemd/system", unit);
	if (!status)
		status = boot_add(boot, true, root, "systemd/system/basic.target.wants", unit);
	if (!status)
		status = boot_add(boot, false, root, "tmpfiles.d", tmpfiles);
	return status;
}

bool boot_exists(const struct place *place, const char *root)
{
	struct boot *boot = calloc(1, sizeof(*boot));
	bool exists = boot && !boot_name(place, root, boot) && !access(boot->files[0].path, F_OK);

	free(boot);
	return exists;
}

static int boot_compose(const struct boot_wish *wish, struct boot *boot)
{
	const struct passwd *user = getpwuid(wish->uid);
	const struct group *group = getgrgid(wish->gid);
	struct ivs_out unit = IVS_OUT_INIT(boot->files[0].text, BOOT_TEXT_LEN);
	struct ivs_out tmpfiles = IVS_OUT_INIT(boot->files[2].text, BOOT_TEXT_LEN);
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

	if (!realpath("/proc/self/exe", program) || !ivs_escape_valid(program))
		return usage_failed("cannot find the path of this program: is /proc mounted?");
	plain_name(user && user_is_local(user) ? user->pw_name : NULL, wish->uid, owner_name);
	plain_name(group && group_is_local(group) ? group->gr_name : NULL, wish->gid, group_name);
	ivs_region_boot_unit(&unit, &text);
	snprintf(boot->files[1].text, BOOT_TEXT_LEN, "../%s",
		 strrchr(boot->files[0].path, '/') + 1);
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
	struct boot *boot = calloc(1, sizeof(*boot));
	int status;

	*out = NULL;
	if (!boot)
		return usage_failed("out of memory");
	status = boot_name(place, root, boot);
	if (!status && wish && place_kind(place) != PLACE_DISK)
		status = boot_compose(wish, boot);
	if (!status)
		status = boot_apply(boot);
	if (status) {
		boot_undo(boot);
		free(boot);
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
