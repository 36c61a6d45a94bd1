/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/ivshmem/doctor/trust.h"

#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* Return: whether the owners of the files in the file system are what they seem to be. */
static bool has_true_owners(const char *path)
{
	struct statvfs flags;
	struct statfs fs;

	if (statfs(path, &fs) || statvfs(path, &flags))
		return false;
	return !(flags.f_flag & ST_NOSUID) || fs.f_type == TMPFS_MAGIC ||
	       fs.f_type == HUGETLBFS_MAGIC;
}

/* Return: whether no other user can change the entries of a directory that belong to this one. */
static bool directory_is_safe(const char *path)
{
	struct stat st;

	if (lstat(path, &st) || !S_ISDIR(st.st_mode) || (st.st_uid && st.st_uid != geteuid()))
		return false;
	/* In a sticky directory such as /tmp, others cannot replace files of this user. */
	return !(st.st_mode & (S_IWGRP | S_IWOTH)) || st.st_mode & S_ISVTX;
}

bool trust_path(const char *path)
{
	char part[PATH_MAX];
	struct stat st;

	if (*path != '/' || strlen(path) >= sizeof(part) || !directory_is_safe("/"))
		return false;
	for (const char *end = strchr(path + 1, '/'); end; end = strchr(end + 1, '/')) {
		snprintf(part, sizeof(part), "%.*s", (int)(end - path), path);
		if (!directory_is_safe(part))
			return false;
	}
	return !lstat(path, &st) && !S_ISLNK(st.st_mode) &&
	       (!st.st_uid || st.st_uid == geteuid()) && has_true_owners(path);
}

bool trust_process(pid_t pid, uid_t *uid)
{
	unsigned int ids[4] = {0};
	bool found = false;
	char line[256];
	char path[64];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	file = fopen(path, "re");
	while (file && !found && fgets(line, sizeof(line), file))
		found = sscanf(line, "Uid: %u %u %u %u", &ids[0], &ids[1], &ids[2], &ids[3]) == 4;
	if (file)
		fclose(file);
	*uid = ids[0];
	return found && ids[0] == ids[1] && ids[0] == ids[2] && ids[0] == ids[3];
}

bool trust_server(pid_t pid, const char *path)
{
	struct stat socket;
	uid_t uid;

	return trust_process(pid, &uid) && (!uid || (!stat(path, &socket) && socket.st_uid == uid));
}
