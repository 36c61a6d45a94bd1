/* SPDX-License-Identifier: BSD-3-Clause */
/* Finds the directories whose files can be regions. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/fd.h"
#include "host/private.h"

#define SHM_PATH "/dev/shm"

static void places_add(struct ivs_host_places *places, const char *path, enum ivs_host_kind kind,
		       const dev_t *dev)
{
	IVS_OWNED_FD fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct ivs_host_place *place = &places->list[places->n];
	struct statfs fs;
	struct stat st;

	/* Another file system may be mounted over the directory. */
	if (places->n == IVS_HOST_PLACES_MAX || fd < 0 || fstat(fd, &st) || fstatfs(fd, &fs) ||
	    (dev && *dev != st.st_dev))
		return;
	*place = (struct ivs_host_place){
		.fd = -1,
		.path = strdup(path),
		.kind = kind,
		.dev = st.st_dev,
		.page_size = (uint64_t)sysconf(_SC_PAGESIZE),
	};
	if (!place->path)
		return;
	if (kind == IVS_HOST_HUGETLB)
		place->page_size = (uint64_t)fs.f_bsize;
	place->fd = ivs_fd_take(&fd);
	places->n++;
}

/* Replace "\040" with " ", in place. */
static void unescape(char *text)
{
	char *to = text;

	while (*text) {
		unsigned int code;

		if (*text == '\\' && strlen(text) > 3 && sscanf(text + 1, "%3o", &code) == 1) {
			*to++ = (char)code;
			text += 4;
		} else {
			*to++ = *text++;
		}
	}
	*to = '\0';
}

/* Parse a line of the form "ID PARENT MAJOR:MINOR ROOT POINT OPTIONS... - TYPE ...". */
static void places_take_mount(struct ivs_host_places *places, char *line)
{
	const char *type = strstr(line, " - ");
	unsigned int major_n;
	unsigned int minor_n;
	char *point;
	int at = 0;
	dev_t dev;

	if (!type || strncmp(type + 3, "hugetlbfs ", 10) != 0 ||
	    sscanf(line, "%*u %*u %u:%u %*s %n", &major_n, &minor_n, &at) != 2 || !at)
		return;
	point = line + at;
	point[strcspn(point, " ")] = '\0';
	unescape(point);
	dev = makedev(major_n, minor_n);
	for (size_t i = 0; i < places->n; i++) {
		if (places->list[i].dev == dev) /* the file system is mounted twice */
			return;
	}
	places_add(places, point, IVS_HOST_HUGETLB, &dev);
}

void ivs_host_places_open(struct ivs_host_places *places)
{
	FILE *mounts = fopen("/proc/self/mountinfo", "re");
	char *line = NULL;
	size_t room = 0;

	*places = (struct ivs_host_places){0};
	places_add(places, SHM_PATH, IVS_HOST_SHM, NULL);
	while (mounts && getline(&line, &room, mounts) > 0)
		places_take_mount(places, line);
	free(line);
	if (mounts)
		fclose(mounts);
}

void ivs_host_places_close(struct ivs_host_places *places)
{
	for (size_t i = 0; i < places->n; i++) {
		ivs_fd_close(&places->list[i].fd);
		free(places->list[i].path);
	}
	places->n = 0;
}

static bool is_below(const char *path, const char *directory)
{
	size_t len = strlen(directory);

	return !strncmp(path, directory, len) && path[len] == '/';
}

const struct ivs_host_place *ivs_host_place_of(const struct ivs_host_places *places, dev_t dev,
					       const char *path)
{
	for (size_t i = 0; i < places->n; i++) {
		if (places->list[i].dev == dev)
			return &places->list[i];
	}
	for (size_t i = 0; i < places->n; i++) {
		if (path && is_below(path, places->list[i].path))
			return &places->list[i];
	}
	return NULL;
}
