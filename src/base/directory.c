/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/directory.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "base/access.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/text.h"

#define LINKS_MAX 40 /* as in the kernel */
#define SHOWN_LEN 128

/**
 * struct walk - a walk along the path to a directory
 * @fd, @st: the directory reached so far
 * @path:    its path; "" is the root directory
 * @todo:    the rest of the path
 * @links:   number of links followed so far
 */
struct walk {
	int fd;
	struct stat st;
	char path[PATH_MAX];
	char todo[PATH_MAX];
	unsigned int links;
	struct ivs_error *err;
};

static bool uid_is_trusted(uid_t uid)
{
	return !uid || uid == geteuid();
}

static const char *walk_shown(const struct walk *walk, char out[SHOWN_LEN])
{
	return ivs_text_shown(*walk->path ? walk->path : "/", out, SHOWN_LEN);
}

static int walk_failed(const struct walk *walk, const char *name, int errnum)
{
	char path[SHOWN_LEN];
	char part[SHOWN_LEN];

	return ivs_error_errno(walk->err, errnum, "cannot open the directory %s/%s",
			       *walk->path ? walk_shown(walk, path) : "",
			       ivs_text_shown(name, part, sizeof(part)));
}

/* Report that the entry @name, which belongs to user @uid, must not be followed. */
static int walk_unsafe(const struct walk *walk, const char *name, uid_t uid, bool is_link)
{
	char holder[IVS_ACCESS_NAME_LEN];
	char owner[IVS_ACCESS_NAME_LEN];
	char path[SHOWN_LEN];
	char part[SHOWN_LEN];

	walk_shown(walk, path);
	ivs_text_shown(name, part, sizeof(part));
	ivs_access_user(walk->st.st_uid, holder);
	ivs_access_user(uid, owner);
	if (is_link)
		return ivs_error_set(walk->err, IVS_DIRECTORY_E_UNSAFE,
				     "%s in %s is a symbolic link owned by user %s, in a directory "
				     "owned by user %s: it is followed only if each owner is root "
				     "or the caller; give the path that it points to",
				     part, path, owner, holder);
	return ivs_error_set(walk->err, IVS_DIRECTORY_E_UNSAFE,
			     "%s belongs to user %s, but %s in it belongs to user %s: user %s can "
			     "put another directory in its place, so root uses a directory there "
			     "only if it belongs to user %s",
			     path, holder, part, owner, holder, holder);
}

static int walk_push(struct walk *walk, const char *name)
{
	size_t len = strlen(walk->path);

	if (len + strlen(name) + 2 > sizeof(walk->path))
		return walk_failed(walk, name, ENAMETOOLONG);
	snprintf(walk->path + len, sizeof(walk->path) - len, "/%s", name);
	return 0;
}

static void walk_pop(struct walk *walk)
{
	char *slash = strrchr(walk->path, '/');

	if (slash)
		*slash = '\0';
}

/* Start again from the root directory. */
static int walk_restart(struct walk *walk)
{
	ivs_fd_close(&walk->fd);
	walk->path[0] = '\0';
	walk->fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (walk->fd < 0 || fstat(walk->fd, &walk->st))
		return walk_failed(walk, "", errno);
	return 0;
}

/* Open the entry @name; a symbolic link is opened itself, not followed. Return: the fd, or -1. */
static int walk_open(const struct walk *walk, const char *name, struct stat *st)
{
	IVS_OWNED_FD fd = openat(walk->fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	struct statfs fs;

	if (fd >= 0 && !fstatfs(fd, &fs) && fs.f_type == AUTOFS_SUPER_MAGIC) {
		/* O_PATH does not trigger automounts. */
		ivs_fd_close(&fd);
		fd = openat(walk->fd, name,
			    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	}
	return fd < 0 || fstat(fd, st) ? -1 : ivs_fd_take(&fd);
}

/* Prepend the link's target to the rest of the path. */
static int walk_follow(struct walk *walk, const char *name, int link_fd, uid_t uid)
{
	char target[PATH_MAX];
	char rest[PATH_MAX];
	ssize_t len;

	if (!uid_is_trusted(uid) || !uid_is_trusted(walk->st.st_uid))
		return walk_unsafe(walk, name, uid, true);
	if (++walk->links > LINKS_MAX)
		return walk_failed(walk, name, ELOOP);
	len = readlinkat(link_fd, "", target, sizeof(target) - 1);
	if (len < 0)
		return walk_failed(walk, name, errno);
	target[len] = '\0';
	strcpy(rest, walk->todo + strspn(walk->todo, "/"));
	if (!*target || (size_t)len + strlen(rest) + 2 > sizeof(walk->todo))
		return walk_failed(walk, name, *target ? ENAMETOOLONG : ENOENT);
	snprintf(walk->todo, sizeof(walk->todo), "%s", target);
	strcat(strcat(walk->todo, "/"), rest);
	return *target == '/' ? walk_restart(walk) : 0;
}

/* Step to the entry @name, which is not ".". */
static int walk_step(struct walk *walk, const char *name)
{
	struct stat st;
	IVS_OWNED_FD fd = walk_open(walk, name, &st);
	int result;

	if (fd < 0)
		return walk_failed(walk, name, errno);
	if (S_ISLNK(st.st_mode))
		return walk_follow(walk, name, fd, st.st_uid);
	if (!S_ISDIR(st.st_mode))
		return walk_failed(walk, name, ENOTDIR);
	if (!geteuid() && walk->st.st_uid && st.st_uid != walk->st.st_uid)
		return walk_unsafe(walk, name, st.st_uid, false);
	if (!strcmp(name, ".."))
		walk_pop(walk);
	result = strcmp(name, "..") ? walk_push(walk, name) : 0;
	if (result)
		return result;
	ivs_fd_close(&walk->fd);
	walk->fd = ivs_fd_take(&fd);
	walk->st = st;
	return 0;
}

/* Take the next component, such as "name", from walk->todo. Return: whether there is one. */
static bool walk_next(struct walk *walk, char name[PATH_MAX])
{
	const char *start = walk->todo + strspn(walk->todo, "/");
	size_t len = strcspn(start, "/");

	memcpy(name, start, len);
	name[len] = '\0';
	memmove(walk->todo, start + len, strlen(start + len) + 1);
	return len;
}

/* Complete the path of a directory that does not exist. A path that is too long is truncated. */
static void walk_add_rest(struct walk *walk, const char *name)
{
	const char *const parts[] = {"/", name, walk->todo};
	size_t len = strlen(walk->path);

	for (size_t i = 0; i < sizeof(parts) / sizeof(*parts) && len < sizeof(walk->path); i++)
		len += (size_t)snprintf(walk->path + len, sizeof(walk->path) - len, "%s", parts[i]);
}

int ivs_directory_open(const char *path, struct ivs_directory *out, struct ivs_error *err)
{
	struct walk walk = {.fd = -1, .err = err};
	char name[PATH_MAX] = "";
	int result = walk_restart(&walk);

	out->fd = -1;
	out->path[0] = '\0';
	if (!result && strlen(path) >= sizeof(walk.todo))
		result = walk_failed(&walk, path, ENAMETOOLONG);
	if (!result)
		snprintf(walk.todo, sizeof(walk.todo), "%s", path);
	while (!result && walk_next(&walk, name)) {
		if (strcmp(name, ".") != 0)
			result = walk_step(&walk, name);
	}
	if (result)
		walk_add_rest(&walk, name);
	else
		out->fd = ivs_fd_take(&walk.fd);
	snprintf(out->path, sizeof(out->path), "%s", *walk.path ? walk.path : "/");
	ivs_fd_close(&walk.fd);
	return result;
}
