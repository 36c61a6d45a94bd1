/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/ivshmem/detach_fds.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>

#include "base/fd.h"
#include "base/parse.h"
#include "tools/shared/usage.h"

#define FDS_MAX (1 << 20)
#define ROUNDS_MAX 16 /* QEMU may open and close other files meanwhile */

static int compare(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

/* Return: 0 or -errno. */
static int fds_add(struct fds *fds, size_t *room, const char *name)
{
	uint64_t number;
	int *grown;

	if (!ivs_parse_uint(name, 0, FDS_MAX, &number))
		return 0;
	if (fds->n == *room) {
		*room = *room ? *room * 2 : 64;
		grown = reallocarray(fds->numbers, *room, sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		fds->numbers = grown;
	}
	fds->numbers[fds->n++] = (int)number;
	return 0;
}

int fds_read(pid_t pid, struct fds *out)
{
	const struct dirent *entry;
	char path[64];
	size_t room = 0;
	int result = 0;
	DIR *dir;

	*out = (struct fds){0};
	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	dir = opendir(path);
	if (!dir)
		return -errno;
	while (!result && (entry = readdir(dir)))
		result = fds_add(out, &room, entry->d_name);
	closedir(dir);
	if (result)
		fds_deinit(out);
	else if (out->n)
		qsort(out->numbers, out->n, sizeof(*out->numbers), compare);
	return result;
}

void fds_deinit(struct fds *fds)
{
	free(fds->numbers);
	*fds = (struct fds){0};
}

int fds_highest(const struct fds *fds)
{
	return fds->n ? fds->numbers[fds->n - 1] : -1;
}

int fds_highest_gone(const struct fds *before, const struct fds *after)
{
	for (size_t i = before->n; i--;) {
		if (!bsearch(&before->numbers[i], after->numbers, after->n, sizeof(int), compare))
			return before->numbers[i];
	}
	return -1;
}

long fds_room(pid_t pid)
{
	static const char key[] = "Max open files";
	char line[256];
	char path[64];
	struct fds fds;
	long limit = -1;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/limits", (int)pid);
	file = fopen(path, "re");
	while (file && fgets(line, sizeof(line), file)) {
		if (!strncmp(line, key, strlen(key)) &&
		    sscanf(line + strlen(key), "%ld", &limit) != 1)
			limit = -1;
	}
	if (file)
		fclose(file);
	if (limit < 0 || fds_read(pid, &fds))
		return -1;
	limit -= (long)fds.n;
	fds_deinit(&fds);
	return limit < 0 ? 0 : limit;
}

/* Return: how many numbers up to @highest are unused; -errno. */
static int count_unused(pid_t pid, int highest)
{
	struct fds fds;
	int unused_n = highest + 1;
	int result = fds_read(pid, &fds);

	if (result)
		return result;
	for (size_t i = 0; i < fds.n; i++)
		unused_n -= fds.numbers[i] <= highest;
	fds_deinit(&fds);
	return unused_n;
}

/* Send @n copies of @fd, each with a name of its own. */
static int send_copies(struct monitor *monitor, const char *id, int fd, int n, unsigned int token,
		       unsigned int *filled_n)
{
	char name[IVS_CONFIG_ID_MAX + 64];
	struct ivs_error err;

	for (int i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "%s-fd-%08x-%u", id, token, *filled_n);
		if (ivs_qmp_send_fd(&monitor->qmp, name, fd, &err))
			return usage_failed("QEMU still lacks placeholders for %d file "
					    "descriptors of the unplugged device %s: %s",
					    n - i, id, err.text);
		++*filled_n;
	}
	return 0;
}

int fds_fill(struct monitor *monitor, const char *id, int highest, unsigned int *filled_n)
{
	IVS_OWNED_FD fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	unsigned int token = 0;
	int status = 0;
	int n;

	if (fd < 0 || getrandom(&token, sizeof(token), GRND_NONBLOCK) < 0)
		return usage_failed("cannot create an eventfd: %s", strerror(errno));
	for (unsigned int round = 0; !status && round < ROUNDS_MAX; round++) {
		n = count_unused(monitor->pid, highest);
		if (n < 0)
			return usage_failed("cannot read /proc/%d/fd: %s", (int)monitor->pid,
					    strerror(-n));
		if (!n)
			break;
		if (*filled_n + (unsigned int)n > FDS_FILL_MAX)
			return usage_failed("QEMU (pid %d) has %d unused file descriptor numbers "
					    "below %d, too many to replace",
					    (int)monitor->pid, n, highest);
		status = send_copies(monitor, id, fd, n, token, filled_n);
	}
	return status;
}
