/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/socket_file.h"

#include <fcntl.h>
#include <libgen.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/shell.h"
#include "base/unix_address.h"

#define LISTENS "00010000" /* the flag __SO_ACCEPTCON in the column Flags */

/*
 * Return: whether a line of /proc/net/unix shows a listening socket at @path. If the process bound
 * the socket by a relative path, only the last part of the path can be compared.
 */
static bool line_shows(char *line, const char *path)
{
	char flags[16];
	int at = 0;

	line[strcspn(line, "\n")] = '\0';
	if (sscanf(line, "%*s %*s %*s %15s %*s %*s %*s %n", flags, &at) != 1 || !at ||
	    strcmp(flags, LISTENS) != 0)
		return false;
	if (line[at] == '/')
		return !strcmp(line + at, path);
	return line[at] != '@' && line[at] && !strcmp(basename(line + at), strrchr(path, '/') + 1);
}

/* Return: whether a process of this network namespace is known to listen at @path. */
static bool is_listening(const char *path)
{
	FILE *file = fopen("/proc/net/unix", "re");
	char line[256 + IVS_UNIX_PATH_LEN];
	bool found = false;

	while (file && !found && strchr(path, '/') && fgets(line, sizeof(line), file))
		found = line_shows(line, path);
	if (file)
		fclose(file);
	return found;
}

/*
 * A user who may write to a directory may remove its files; if the directory is sticky, a user may
 * remove only files that the user owns.
 */
static bool may_remove(const char *path, const struct stat *file)
{
	char copy[IVS_UNIX_PATH_LEN];
	struct stat dir;
	const char *name;

	snprintf(copy, sizeof(copy), "%s", path);
	name = dirname(copy);
	if (stat(name, &dir) || faccessat(AT_FDCWD, name, W_OK | X_OK, AT_EACCESS))
		return false;
	return !(dir.st_mode & S_ISVTX) || dir.st_uid == geteuid() || file->st_uid == geteuid() ||
	       !geteuid();
}

const char *ivs_socket_file_explain(const char *path, char out[IVS_ACCESS_TEXT_LEN])
{
	struct ivs_access access;
	size_t len;

	ivs_access_find(path, W_OK, &access);
	len = strlen(ivs_access_state(&access, out));
	if (is_listening(path)) {
		snprintf(out + len, IVS_ACCESS_TEXT_LEN - len,
			 ", and a process is listening at it: use another path");
		return out;
	}
	snprintf(out + len, IVS_ACCESS_TEXT_LEN - len,
		 ", and no process appears to be listening at it");
	if (may_remove(path, &access.st))
		ivs_shell_add(out, IVS_ACCESS_TEXT_LEN, ": if it is left over, rm ", path, "");
	else
		ivs_shell_add(out, IVS_ACCESS_TEXT_LEN, ": if it is left over, as root, rm ", path,
			      "; or use another path");
	return out;
}
