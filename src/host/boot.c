/* SPDX-License-Identifier: BSD-3-Clause */
/* Finds the files that systemd-tmpfiles(8) creates at boot: lines "f PATH ..." of tmpfiles.d(5). */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "host/private.h"

/* A file hides files of the same name in later directories. */
static const char *const directories[] = {
	"/etc/tmpfiles.d",
	"/run/tmpfiles.d",
	"/usr/local/lib/tmpfiles.d",
	"/usr/lib/tmpfiles.d",
};

#define DIRECTORIES_N (sizeof(directories) / sizeof(*directories))

/*
 * Take the next word of @text, without quotes and backslashes; modifies @text. Return: the word or
 * NULL.
 */
static char *next_word(char **text)
{
	char *from = *text + strspn(*text, " \t");
	char *word = from;
	char *to = from;
	char quote = '\0';

	for (; *from && *from != '\n' && (quote || (*from != ' ' && *from != '\t')); from++) {
		if (*from == '\\' && from[1] && from[1] != '\n')
			*to++ = *++from;
		else if (quote ? *from == quote : (*from == '"' || *from == '\''))
			quote = quote ? '\0' : *from;
		else
			*to++ = *from;
	}
	*text = *from ? from + 1 : from;
	*to = '\0';
	return to == word ? NULL : word;
}

/*
 * Replace "%%" with "%". Return: false if the path has any other specifier, which is not
 * understood.
 */
static bool expand(char *path)
{
	char *to = path;

	for (; *path; path++) {
		if (*path == '%' && *++path != '%')
			return false;
		*to++ = *path;
	}
	*to = '\0';
	return true;
}

static int take_file(const char *conf, int (*take)(void *context, const char *path, const char *),
		     void *context)
{
	FILE *file = fopen(conf, "re");
	char *line = NULL;
	size_t room = 0;
	int result = 0;

	while (!result && file && getline(&line, &room, file) > 0) {
		char *rest = line;
		const char *type = next_word(&rest);
		char *path = type && (*type == 'f' || *type == 'F') ? next_word(&rest) : NULL;

		if (path && *path == '/' && expand(path))
			result = take(context, path, conf);
	}
	free(line);
	if (file)
		fclose(file);
	return result;
}

/* Return: whether an earlier directory has a file of this name. */
static bool is_hidden(const char *name, size_t directory)
{
	char path[512];

	for (size_t i = 0; i < directory; i++) {
		snprintf(path, sizeof(path), "%s/%s", directories[i], name);
		if (!faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW))
			return true;
	}
	return false;
}

static bool is_conf(const char *name)
{
	size_t len = strlen(name);

	return len > 5 && !strcmp(name + len - 5, ".conf");
}

static int take_directory(size_t i, int (*take)(void *context, const char *, const char *),
			  void *context)
{
	DIR *dir = opendir(directories[i]);
	struct dirent *entry;
	char path[512];
	int result = 0;

	while (!result && dir && (entry = readdir(dir))) {
		if (!is_conf(entry->d_name) || is_hidden(entry->d_name, i))
			continue;
		snprintf(path, sizeof(path), "%s/%s", directories[i], entry->d_name);
		result = take_file(path, take, context);
	}
	if (dir)
		closedir(dir);
	return result;
}

int ivs_host_boot_read(int (*take)(void *context, const char *path, const char *conf),
		       void *context)
{
	int result = 0;

	for (size_t i = 0; i < DIRECTORIES_N && !result; i++)
		result = take_directory(i, take, context);
	return result;
}
