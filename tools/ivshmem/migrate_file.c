/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/ivshmem/migrate_file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/fd.h"

#define LINES_MAX 50000 /* of /proc/PID/maps */

/* Look up a path as a process would, which may be in a container. Return: 0 or -errno. */
static int stat_in_root(pid_t pid, const char *path, struct stat *out)
{
	struct open_how how = {.flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT};
	char root[64];

	snprintf(root, sizeof(root), "/proc/%d/root", (int)pid);
	IVS_OWNED_FD dir = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return -errno;
	IVS_OWNED_FD fd = (int)syscall(SYS_openat2, dir, path, &how, sizeof(how));
	return fd < 0 || fstat(fd, out) ? -errno : 0;
}

/*
 * Whether a line of maps is a mapping of the file. Some file systems show a different device number
 * there.
 */
static bool line_is(const char *line, const struct stat *file, const char *path)
{
	unsigned long long ino;
	unsigned int device[2];
	int path_at = 0;

	if (sscanf(line, "%*x-%*x %*s %*x %x:%x %llu %n", &device[0], &device[1], &ino, &path_at) !=
		    3 ||
	    ino != file->st_ino)
		return false;
	return makedev(device[0], device[1]) == file->st_dev ||
	       (!strncmp(line + path_at, path, strlen(path)) &&
		line[path_at + strlen(path)] == '\n');
}

static bool is_mapped(pid_t pid, const struct stat *file, const char *path)
{
	char name[64];
	char *line = NULL;
	size_t room = 0;
	bool found = false;
	FILE *maps;

	snprintf(name, sizeof(name), "/proc/%d/maps", (int)pid);
	maps = fopen(name, "re");
	for (unsigned int i = 0; maps && !found && i < LINES_MAX; i++) {
		if (getline(&line, &room, maps) <= 0)
			break;
		found = line_is(line, file, path);
	}
	free(line);
	if (maps)
		fclose(maps);
	return found;
}

/* Return: why the file cannot be used; NULL: it can. */
static const char *why_not(const struct side *source, const struct side *destination,
			   const struct ivs_migration_device *device)
{
	struct stat from;
	struct stat to;

	if (!source->local || !destination->local)
		return "it cannot be examined, because one of the QEMUs is not on this host";
	if (*device->file != '/')
		return "its path is not absolute";
	if (stat_in_root(source->qmp.pid, device->file, &from))
		return "the source cannot find it any more, or it cannot be examined: run this as "
		       "root";
	if (stat_in_root(destination->qmp.pid, device->file, &to))
		return "the destination cannot find it, or it cannot be examined: run this as root";
	if (!S_ISREG(from.st_mode))
		return "it is not a regular file";
	if (from.st_dev != to.st_dev || from.st_ino != to.st_ino)
		return "the destination has another file there";
	if ((uint64_t)from.st_size < device->size)
		return "it is smaller than the device";
	return is_mapped(source->qmp.pid, &from, device->file)
		       ? NULL
		       : "the source maps a different file, not the one that is there now";
}

void file_check(const struct side *source, const struct side *destination,
		const struct ivs_migration_device *device, struct ivs_migration_problems *problems)
{
	const char *why;

	if (!*device->file)
		return; /* check.c reports that there is none */
	if (*device->option)
		ivs_migration_add(problems, "file",
				  "%s cannot be plugged in again, because its memory backend has "
				  "%s: start the destination with it",
				  device->id, device->option);
	why = why_not(source, destination, device);
	if (why)
		ivs_migration_add(problems, "file",
				  "%s cannot be plugged in again with the file %.200s: %s. QEMU "
				  "would give the guest different memory",
				  device->id, device->file, why);
}
