/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/inherit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/parse.h"
#include "daemon/log.h"

#define FIRST_FD 3 /* SD_LISTEN_FDS_START */
#define FDS_MAX (1 << 20)
#define LIST_MAGIC "ivshmem-list 1\n"

int ivs_inherited_add(struct ivs_inherited *inherited, int fd, const char *name)
{
	struct ivs_named_fd *entry;

	if (inherited->n == inherited->room) {
		size_t room = inherited->room ? inherited->room * 2 : 16;
		struct ivs_named_fd *fds = reallocarray(inherited->fds, room,
							sizeof(*inherited->fds));

		if (!fds)
			return -ENOMEM;
		inherited->fds = fds;
		inherited->room = room;
	}
	entry = &inherited->fds[inherited->n++];
	entry->fd = fd;
	snprintf(entry->name, sizeof(entry->name), "%s", name);
	return 0;
}

static int compare_names(const void *left, const void *right)
{
	const struct ivs_named_fd *a = left;
	const struct ivs_named_fd *b = right;

	return strcmp(a->name, b->name);
}

void ivs_inherited_sort(struct ivs_inherited *inherited)
{
	if (inherited->n)
		qsort(inherited->fds, inherited->n, sizeof(*inherited->fds), compare_names);
}

int ivs_inherited_take(struct ivs_inherited *inherited, const char *name)
{
	struct ivs_named_fd key = {.fd = -1};
	struct ivs_named_fd *found;

	snprintf(key.name, sizeof(key.name), "%s", name);
	if (!inherited->n)
		return -1;
	found = bsearch(&key, inherited->fds, inherited->n, sizeof(key), compare_names);
	return found ? ivs_fd_take(&found->fd) : -1;
}

void ivs_inherited_free(struct ivs_inherited *inherited)
{
	free(inherited->fds);
	*inherited = (struct ivs_inherited){0};
}

void ivs_inherited_close(struct ivs_inherited *inherited)
{
	for (size_t i = 0; i < inherited->n; i++)
		ivs_fd_close(&inherited->fds[i].fd);
	ivs_inherited_free(inherited);
}

/*
 * Return: whether @fd is open and was inherited across execve(2). An inherited fd is not
 * close-on-exec; all fds that this program has opened or taken over are close-on-exec.
 */
static bool was_handed(int fd)
{
	int flags = fcntl(fd, F_GETFD);

	return flags >= 0 && !(flags & FD_CLOEXEC);
}

static int inherit_fd(struct ivs_inherited *inherited, int fd, const char *name)
{
	return fcntl(fd, F_SETFD, FD_CLOEXEC) ? -errno : ivs_inherited_add(inherited, fd, name);
}

static int take_listed(struct ivs_inherited *inherited, unsigned int fds_n, const char *names)
{
	char name[IVS_NAMED_FD_LEN];
	unsigned int absent_n = 0;
	int result = 0;

	for (unsigned int i = 0; !result && i < fds_n; i++) {
		size_t len = strcspn(names, ":");

		snprintf(name, sizeof(name), "%.*s", (int)len, names);
		names += len + (names[len] == ':');
		if (was_handed(FIRST_FD + (int)i))
			result = inherit_fd(inherited, FIRST_FD + (int)i, name);
		else
			absent_n++;
	}
	if (absent_n)
		ivs_log(IVS_LOG_WARNING, "LISTEN_FDS=%u: %u of these fds are not open", fds_n,
			absent_n);
	return result;
}

int ivs_inherited_from_manager(struct ivs_inherited *inherited, struct ivs_error *err)
{
	const char *pid = getenv("LISTEN_PID");
	const char *count = getenv("LISTEN_FDS");
	const char *names = getenv("LISTEN_FDNAMES");
	uint64_t number;
	uint64_t fds_n = 0;
	int result = 0;

	if (pid && count && ivs_parse_uint(pid, 1, INT32_MAX, &number) &&
	    (pid_t)number == getpid()) {
		if (!ivs_parse_uint(count, 0, FDS_MAX, &fds_n))
			ivs_log(IVS_LOG_WARNING, "LISTEN_FDS=%s is not a number of fds", count);
		result = take_listed(inherited, (unsigned int)fds_n, names ? names : "");
		if (result)
			ivs_error_errno(err, -result, "cannot take the service manager's fds");
	}
	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_FDNAMES");
	ivs_inherited_sort(inherited);
	return result;
}

bool ivs_inherited_is_list(int fd)
{
	char magic[sizeof(LIST_MAGIC) - 1];
	struct stat st;

	/* Read only from a regular file, because other types of file might block. */
	return fd > STDERR_FILENO && was_handed(fd) && !fstat(fd, &st) && S_ISREG(st.st_mode) &&
	       pread(fd, magic, sizeof(magic), 0) == sizeof(magic) &&
	       !memcmp(magic, LIST_MAGIC, sizeof(magic));
}

/* Parse lines of the form "FD NAME", without taking the fds yet. */
static int read_list(struct ivs_inherited *inherited, FILE *list)
{
	char line[IVS_NAMED_FD_LEN + 32];
	char name[IVS_NAMED_FD_LEN];
	int result = 0;
	int fd;

	while (!result && fgets(line, sizeof(line), list)) {
		if (sscanf(line, "%d %63s", &fd, name) != 2)
			return -EINVAL;
		if (fd != IVS_NAMED_FD_NONE && (fd <= STDERR_FILENO || !was_handed(fd)))
			return -EINVAL;
		result = ivs_inherited_add(inherited, fd, name);
	}
	return result;
}

static int take_all(struct ivs_inherited *inherited)
{
	for (size_t i = 0; i < inherited->n; i++) {
		struct ivs_named_fd *entry = &inherited->fds[i];

		if (entry->fd < 0)
			continue;
		if (!was_handed(entry->fd) || fcntl(entry->fd, F_SETFD, FD_CLOEXEC))
			return -EINVAL; /* the same fd is listed twice */
	}
	return 0;
}

int ivs_inherited_from_program(struct ivs_inherited *inherited, int list_fd, struct ivs_error *err)
{
	FILE *list;
	int result = -EINVAL;

	if (!ivs_inherited_is_list(list_fd) || fcntl(list_fd, F_SETFD, FD_CLOEXEC))
		return ivs_error_errno(err, EINVAL,
				       "cannot read the previous program's list of fds");
	list = fdopen(list_fd, "r");
	if (!list)
		return ivs_error_errno(err, errno,
				       "cannot read the previous program's list of fds");
	if (!fseek(list, sizeof(LIST_MAGIC) - 1, SEEK_SET))
		result = read_list(inherited, list);
	fclose(list);
	if (!result)
		result = take_all(inherited);
	ivs_inherited_sort(inherited);
	if (result) {
		ivs_inherited_free(inherited);
		ivs_error_errno(err, -result, "cannot take over the previous program's fds");
	}
	return result;
}

static int write_list(const struct ivs_inherited *inherited, FILE *list)
{
	fputs(LIST_MAGIC, list);
	for (size_t i = 0; i < inherited->n; i++) {
		const struct ivs_named_fd *entry = &inherited->fds[i];

		if (entry->fd >= 0 && fcntl(entry->fd, F_SETFD, 0))
			return -errno;
		fprintf(list, "%d %s\n", entry->fd, entry->name);
	}
	return fflush(list) || ferror(list) ? -EIO : 0;
}

int ivs_inherited_pass(const struct ivs_inherited *inherited, int *list_fd)
{
	IVS_OWNED_FD fd = memfd_create("ivshmem-list", 0);
	FILE *list;
	int copy;
	int result;

	if (fd < 0)
		return -errno;
	copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (copy < 0)
		return -errno;
	list = fdopen(copy, "w");
	if (!list) {
		ivs_fd_close(&copy);
		return -ENOMEM;
	}
	result = write_list(inherited, list);
	fclose(list);
	if (!result)
		*list_fd = ivs_fd_take(&fd);
	return result;
}

void ivs_inherited_unpass(const struct ivs_inherited *inherited)
{
	for (size_t i = 0; i < inherited->n; i++) {
		if (inherited->fds[i].fd >= 0)
			fcntl(inherited->fds[i].fd, F_SETFD, FD_CLOEXEC);
	}
}
