/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/ivshmem/program.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/access.h"
#include "config/escape.h"

bool program_find(char out[PATH_MAX])
{
	return realpath("/proc/self/exe", out) && ivs_escape_valid(out);
}

/* Check one part of the path. */
static bool part_is_safe(const char *path, char why[PROGRAM_WHY_LEN])
{
	char user[IVS_ACCESS_NAME_LEN];
	struct stat st;

	if (lstat(path, &st)) {
		snprintf(why, PROGRAM_WHY_LEN, "cannot stat %.256s: %s", path, strerror(errno));
		return false;
	}
	if (st.st_uid) {
		ivs_access_user(st.st_uid, user);
		snprintf(why, PROGRAM_WHY_LEN, "%.256s belongs to user %s", path, user);
		return false;
	}
	if (st.st_mode & (S_IWGRP | S_IWOTH)) {
		snprintf(why, PROGRAM_WHY_LEN, "other users may write to %.256s (mode %04o)", path,
			 (unsigned int)st.st_mode & 07777);
		return false;
	}
	return true;
}

bool program_is_safe(const char *program, char why[PROGRAM_WHY_LEN])
{
	char path[PATH_MAX];

	if (!part_is_safe("/", why))
		return false;
	for (const char *end = strchr(program + 1, '/'); end; end = strchr(end + 1, '/')) {
		snprintf(path, sizeof(path), "%.*s", (int)(end - program), program);
		if (!part_is_safe(path, why))
			return false;
	}
	return part_is_safe(program, why);
}
