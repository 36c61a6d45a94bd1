/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The path is not looked up, because a lookup can wait for the lock of the directory, which a
 * process can hold by removing a file whose inode it has locked. The kernel knows the path of an
 * open file, and /proc/self/fd shows it without a request to the file system. statx(2) with
 * AT_STATX_DONT_SYNC takes no lock, either.
 */
#include "region/watch.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/statx.h"

IVS_SYSCALLS(ivs_region_watch_syscalls, {"statx"}, {"readlink"}, {"readlinkat"});

static bool watch_stat(int fd, struct statx *out)
{
	const unsigned int mask = STATX_NLINK | STATX_SIZE;

	return !ivs_statx(fd, mask, out) && (out->stx_mask & mask) == mask;
}

/*
 * Get the path of the open file; @out has room for PATH_MAX bytes. Return: whether the path is
 * known.
 */
static bool watch_read_name(int self_fd, int fd, char *out)
{
	char link[48];
	ssize_t len;

	snprintf(link, sizeof(link), "%sfd/%d", self_fd < 0 ? "/proc/self/" : "", fd);
	len = readlinkat(self_fd < 0 ? AT_FDCWD : self_fd, link, out, PATH_MAX - 1);
	if (len <= 0)
		return false;
	out[len] = '\0';
	return true;
}

static const char *last_component(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

void ivs_region_watch_init(struct ivs_region_watch *watch, int fd, uint64_t size, const char *path,
			   int self_fd)
{
	char name[PATH_MAX];
	struct statx st;

	*watch = (struct ivs_region_watch){.fd = fd, .self_fd = self_fd, .size = size};
	watch->named = path ? *path : watch_stat(fd, &st) && st.stx_nlink;
	if (!watch->named || !watch_read_name(self_fd, fd, name))
		return;
	/* The name of a file that was removed ends with " (deleted)". */
	watch->lost = path && strcmp(last_component(path), last_component(name)) != 0;
	watch->name = strdup(name);
}

void ivs_region_watch_deinit(struct ivs_region_watch *watch)
{
	free(watch->name);
	*watch = (struct ivs_region_watch)IVS_REGION_WATCH_INIT;
}

bool ivs_region_watch_can_change(const struct ivs_region_watch *watch)
{
	const int sealed = F_SEAL_SHRINK | F_SEAL_GROW;
	int seals = watch->fd < 0 ? sealed : fcntl(watch->fd, F_GET_SEALS);

	return watch->named || seals < 0 || (seals & sealed) != sealed;
}

/*
 * When a mount is detached (by umount -l, or because its mount namespace ends), the kernel shows
 * paths relative to the root of that mount. A client's region can be on such a mount, because the
 * server may be in another mount namespace.
 */
static bool is_same_name(const char *before, const char *now)
{
	size_t before_len = strlen(before);
	size_t now_len = strlen(now);

	return now_len <= before_len && *now == '/' && !strcmp(before + before_len - now_len, now);
}

static bool watch_has_lost_name(const struct ivs_region_watch *watch, const struct statx *st)
{
	char name[PATH_MAX];

	if (watch->lost || !st->stx_nlink)
		return true;
	return watch->name && watch_read_name(watch->self_fd, watch->fd, name) &&
	       !is_same_name(watch->name, name);
}

unsigned int ivs_region_watch_look(const struct ivs_region_watch *watch)
{
	unsigned int changes = 0;
	struct statx st;

	if (watch->fd < 0 || !watch_stat(watch->fd, &st))
		return 0;
	if (watch->named && watch_has_lost_name(watch, &st))
		changes |= IVS_REGION_NAME_LOST;
	if (st.stx_size < watch->size)
		changes |= IVS_REGION_SHRUNK;
	if (st.stx_size > watch->size)
		changes |= IVS_REGION_GROWN;
	return changes;
}

const char *ivs_region_change_name(unsigned int i)
{
	static const char *const names[IVS_REGION_CHANGES_N] = {"name_lost", "shrunk", "grown"};

	return names[i];
}

const char *ivs_region_change_text(unsigned int i)
{
	static const char *const texts[IVS_REGION_CHANGES_N] = {
		"its name was removed, renamed or replaced: programs that open the name now get "
		"another region, or none",
		"it was shrunk: accesses beyond its new end raise SIGBUS",
		"it was enlarged: programs that open it now see a different size",
	};

	return texts[i];
}
