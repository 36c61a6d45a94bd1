/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/access.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/shell.h"

#define CALLER_LEN 128 /* for the words that a caller puts before the text */
#define LINE_LEN 16384 /* for a line of /etc/passwd or /etc/group; reading stops at a longer line */

/* Find the line of /etc/passwd for @uid. Set @name, if not NULL, and @gid, if not NULL. */
static bool passwd_find(uid_t uid, char name[IVS_ACCESS_NAME_LEN], gid_t *gid)
{
	FILE *file = fopen("/etc/passwd", "re");
	struct passwd *user = NULL;
	struct passwd entry;
	char line[LINE_LEN];

	while (file && !fgetpwent_r(file, &entry, line, sizeof(line), &user) && user->pw_uid != uid)
		continue;
	if (user && name)
		snprintf(name, IVS_ACCESS_NAME_LEN, "%s", user->pw_name);
	if (user && gid)
		*gid = user->pw_gid;
	if (file)
		fclose(file);
	return user;
}

void ivs_access_user(uid_t uid, char out[IVS_ACCESS_NAME_LEN])
{
	if (!passwd_find(uid, out, NULL))
		snprintf(out, IVS_ACCESS_NAME_LEN, "%u", (unsigned int)uid);
}

/* Set @out to the name of @gid. Return: whether /etc/group lists @user as a member. */
static bool group_name(gid_t gid, const char *user, char out[IVS_ACCESS_NAME_LEN])
{
	FILE *file = fopen("/etc/group", "re");
	struct group *group = NULL;
	struct group entry;
	bool member = false;
	char line[LINE_LEN];

	snprintf(out, IVS_ACCESS_NAME_LEN, "%u", (unsigned int)gid);
	while (file && !fgetgrent_r(file, &entry, line, sizeof(line), &group) &&
	       group->gr_gid != gid)
		continue;
	if (group)
		snprintf(out, IVS_ACCESS_NAME_LEN, "%s", group->gr_name);
	for (char **name = group ? group->gr_mem : NULL; name && *name; name++)
		member |= !strcmp(*name, user);
	if (file)
		fclose(file);
	return member;
}

/* Return: whether the user of this process is a member of the group, according to these files. */
static bool user_is_member(gid_t gid)
{
	char group[IVS_ACCESS_NAME_LEN];
	char user[IVS_ACCESS_NAME_LEN];
	gid_t primary;

	ivs_access_user(geteuid(), user);
	return group_name(gid, user, group) ||
	       (passwd_find(geteuid(), NULL, &primary) && primary == gid);
}

static bool process_is_member(gid_t gid)
{
	int n = getgroups(0, NULL);
	gid_t *groups = n > 0 ? calloc((size_t)n, sizeof(*groups)) : NULL;
	bool member = getegid() == gid;

	n = groups ? getgroups(n, groups) : 0;
	for (int i = 0; i < n; i++)
		member |= groups[i] == gid;
	free(groups);
	return member;
}

/* The kernel checks only one class of bits: those of the owner, of the group, or of others. */
static enum ivs_access_cause access_cause(const struct stat *st, int wanted)
{
	int owner = st->st_mode >> 6 & 7;
	int group = st->st_mode >> 3 & 7;
	int others = st->st_mode & 7;

	if (st->st_uid == geteuid())
		return (owner & wanted) == wanted ? IVS_ACCESS_ALLOWED : IVS_ACCESS_OWN;
	if (process_is_member(st->st_gid))
		return (group & wanted) == wanted ? IVS_ACCESS_ALLOWED : IVS_ACCESS_MODE;
	if ((others & wanted) == wanted)
		return IVS_ACCESS_ALLOWED;
	/* Do not advise a user to join root's group. */
	if ((group & wanted) != wanted || !st->st_gid)
		return IVS_ACCESS_MODE;
	return user_is_member(st->st_gid) ? IVS_ACCESS_LOGIN : IVS_ACCESS_GROUP;
}

/*
 * Return: whether the last name in the path is a symbolic link that belongs to a user other than
 * root, who may have chosen its target to trick the reader of a message.
 */
static bool is_foreign_link(const char *path)
{
	struct stat st;

	return !lstat(path, &st) && S_ISLNK(st.st_mode) && st.st_uid && st.st_uid != geteuid();
}

/*
 * Return: whether the owner of the file, a user other than root, can replace it with a link before
 * root runs a command, because all users can write to the directory.
 */
static bool is_exchangeable(const struct ivs_access *access)
{
	char dir[sizeof(access->path)];
	struct stat st;
	char *slash;

	snprintf(dir, sizeof(dir), "%s", access->path);
	slash = strrchr(dir, '/');
	if (slash)
		slash[slash == dir] = '\0';
	return access->st.st_uid && (stat(slash ? dir : ".", &st) || st.st_mode & S_IWOTH);
}

/* Examine @out->path. Return: whether to continue. */
static bool access_examine(struct ivs_access *out, int wanted)
{
	out->wanted = wanted;
	out->cause = stat(out->path, &out->st) ? IVS_ACCESS_UNKNOWN
					       : access_cause(&out->st, wanted);
	return out->cause == IVS_ACCESS_ALLOWED;
}

/* The file does not exist: examine the directory in which it would be created. */
static void access_examine_parent(struct ivs_access *out)
{
	char *slash = strrchr(out->path, '/');

	if (!slash)
		strcpy(out->path, ".");
	else if (slash == out->path)
		slash[1] = '\0';
	else
		*slash = '\0';
	out->on_way = true;
	access_examine(out, W_OK | X_OK);
}

void ivs_access_find(const char *path, int wanted, struct ivs_access *out)
{
	const char *slash = path;

	*out = (struct ivs_access){0};
	if (strlen(path) >= sizeof(out->path))
		return;
	while ((slash = strchr(slash, '/'))) {
		size_t len = slash == path ? 1 : (size_t)(slash - path);

		snprintf(out->path, sizeof(out->path), "%.*s", (int)len, path);
		out->on_way = slash[strspn(slash, "/")] != '\0';
		if (out->on_way && !access_examine(out, X_OK))
			return;
		slash += strspn(slash, "/");
	}
	snprintf(out->path, sizeof(out->path), "%s", path);
	out->on_way = false;
	if (is_foreign_link(path)) {
		out->cause = IVS_ACCESS_UNKNOWN;
		return;
	}
	if (!access_examine(out, wanted) && out->cause == IVS_ACCESS_UNKNOWN && errno == ENOENT)
		access_examine_parent(out);
}

const char *ivs_access_state(const struct ivs_access *access, char out[IVS_ACCESS_TEXT_LEN])
{
	char owner[IVS_ACCESS_NAME_LEN];
	char group[IVS_ACCESS_NAME_LEN];

	ivs_access_user(access->st.st_uid, owner);
	group_name(access->st.st_gid, "", group);
	snprintf(out, IVS_ACCESS_TEXT_LEN, "%s%.255s belongs to %s:%s, mode %04o",
		 access->on_way ? "the directory " : "", access->on_way ? access->path : "it",
		 owner, group, access->st.st_mode & 07777);
	return out;
}

/* Return: the wanted bits in chmod(1) notation. */
static const char *access_bits(int wanted)
{
	static const char *const bits[] = {"", "x", "w", "wx", "r", "rx", "rw", "rwx"};

	return bits[wanted & 7];
}

/* Set @out to the commands that give the group access to @path, or to "". */
static void cure_mode(const char *group, const char *bits, const char *path,
		      char out[IVS_ACCESS_TEXT_LEN])
{
	char command[64];
	size_t len;

	*out = '\0';
	snprintf(command, sizeof(command), ": as root, chgrp %s ", group);
	ivs_shell_add(out, IVS_ACCESS_TEXT_LEN, command, path, "");
	len = strlen(out);
	snprintf(command, sizeof(command), " && chmod g+%s ", bits);
	if (len)
		ivs_shell_add(out, IVS_ACCESS_TEXT_LEN, command, path, "");
	if (strlen(out) == len)
		*out = '\0';
}

static void access_cure(const struct ivs_access *access, char out[IVS_ACCESS_TEXT_LEN])
{
	const char *bits = access_bits(access->wanted);
	const char *path = access->path;
	char group[IVS_ACCESS_NAME_LEN];
	char user[IVS_ACCESS_NAME_LEN];
	char command[32];

	ivs_access_user(geteuid(), user);
	group_name(access->cause == IVS_ACCESS_MODE ? getegid() : access->st.st_gid, user, group);
	switch (access->cause) {
	case IVS_ACCESS_OWN:
		*out = '\0';
		snprintf(command, sizeof(command), ": chmod u+%s ", bits);
		ivs_shell_add(out, IVS_ACCESS_TEXT_LEN, command, path, "");
		break;
	case IVS_ACCESS_GROUP:
		snprintf(out, IVS_ACCESS_TEXT_LEN,
			 ", and user %s is not in this group: usermod -aG %s %s (as root), then "
			 "log in again",
			 user, group, user);
		break;
	case IVS_ACCESS_LOGIN:
		snprintf(out, IVS_ACCESS_TEXT_LEN,
			 "; user %s is in this group, but this login is older: log in again", user);
		break;
	case IVS_ACCESS_MODE:
		/* Giving more users access to a directory may expose other files. */
		if (access->on_way)
			snprintf(out, IVS_ACCESS_TEXT_LEN, ": use a directory %s user %s may %s",
				 access->wanted & W_OK ? "to which" : "that", user,
				 access->wanted & W_OK ? "write" : "enter");
		else if (is_exchangeable(access))
			snprintf(out, IVS_ACCESS_TEXT_LEN, ": its owner can give user %s access",
				 user);
		else
			cure_mode(group, bits, path, out);
		break;
	default:
		snprintf(out, IVS_ACCESS_TEXT_LEN, ", which allow access: %s forbids it",
			 getxattr(path, "system.posix_acl_access", NULL, 0) > 0
				 ? "its access control list (getfacl)"
				 : "a security module (SELinux, AppArmor: see dmesg)");
		break;
	}
}

const char *ivs_access_explain(const char *path, int wanted, char out[IVS_ACCESS_TEXT_LEN])
{
	char cure[IVS_ACCESS_TEXT_LEN];
	struct ivs_access access;
	size_t len;

	ivs_access_find(path, wanted, &access);
	if (access.cause == IVS_ACCESS_UNKNOWN && is_foreign_link(path))
		return strcpy(out, "it is a symbolic link that belongs to another user");
	if (access.cause == IVS_ACCESS_UNKNOWN)
		return strcpy(out, "its owner, group and mode cannot be examined");
	len = strlen(ivs_access_state(&access, out));
	access_cure(&access, cure);
	/* The caller puts the path and other words before this text. Commands must be complete. */
	if (len + strlen(cure) < IVS_ACCESS_TEXT_LEN &&
	    len + strlen(cure) + strlen(path) + CALLER_LEN < IVS_ERROR_LEN)
		strcpy(out + len, cure);
	return out;
}

const char *ivs_access_chown_cure(uid_t uid)
{
	if (uid != (uid_t)-1 && uid != geteuid())
		return ": only root can change the owner";
	return ": this user is not a member of the group (id lists its groups)";
}
