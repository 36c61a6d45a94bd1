/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/privileges.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <libgen.h>
#include <limits.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/error.h"
#include "base/parse.h"
#include "daemon/log.h"

/**
 * struct identity - a user, looked up while /etc can be read
 * @groups: all groups of the user, including the primary group
 */
struct identity {
	uid_t uid;
	gid_t gid;
	gid_t *groups;
	int groups_n;
};

static const struct passwd *find_user(const char *user)
{
	const struct passwd *entry = getpwnam(user);
	uint64_t number;

	if (!entry && ivs_parse_uint(user, 0, UINT32_MAX - 1, &number))
		entry = getpwuid((uid_t)number);
	return entry;
}

int ivs_privileges_find_user(const char *user, uid_t *out, struct ivs_error *err)
{
	const struct passwd *entry = find_user(user);

	if (!entry)
		return ivs_error_set(err, IVS_PRIVILEGES_E_USER,
				     "no such user \"%s\": use a name, or the number of a user "
				     "that has a name, because the user's groups are also needed",
				     user);
	*out = entry->pw_uid;
	return 0;
}

static int look_up_user(const char *user, struct identity *out, struct ivs_error *err)
{
	const struct passwd *entry;
	int room = 64;
	int result;

	result = ivs_privileges_find_user(user, &out->uid, err);
	if (result)
		return result;
	entry = find_user(user);
	if (!entry)
		return ivs_error_errno(err, ENOENT, "cannot look up user %s", user);
	out->gid = entry->pw_gid;
	for (; room <= NGROUPS_MAX; room *= 4) {
		gid_t *groups = reallocarray(out->groups, (size_t)room, sizeof(*groups));

		if (!groups)
			break;
		out->groups = groups;
		out->groups_n = room;
		if (getgrouplist(entry->pw_name, entry->pw_gid, groups, &out->groups_n) >= 0)
			return 0;
	}
	return ivs_error_errno(err, ENOMEM, "cannot look up the groups of user %s", user);
}

/* Only root can drop capabilities from the bounding set, so call this before changing the user. */
static int drop_bounding_set(struct ivs_error *err)
{
	for (unsigned long cap = 0; prctl(PR_CAPBSET_READ, cap) >= 0; cap++) {
		if (prctl(PR_CAPBSET_DROP, cap) && errno != EPERM)
			return ivs_error_errno(err, errno, "cannot drop capability %lu", cap);
	}
	return 0;
}

static int become_user(const struct identity *who, struct ivs_error *err)
{
	uid_t real;
	uid_t effective;
	uid_t saved;

	/*
	 * A process that already runs as that user has the user's groups, and is not allowed to set
	 * groups.
	 */
	if (!getresuid(&real, &effective, &saved) && geteuid() && real == who->uid &&
	    effective == who->uid && saved == who->uid)
		return 0;
	if (setgroups((size_t)who->groups_n, who->groups) ||
	    setresgid(who->gid, who->gid, who->gid) || setresuid(who->uid, who->uid, who->uid))
		return ivs_error_errno(err, errno, "cannot become user %d%s", (int)who->uid,
				       geteuid() ? ", which only root can do" : "");
	return 0;
}

/* Call capset(2) directly: dropping all capabilities does not need libcap. */
static int drop_capabilities(struct ivs_error *err)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	const struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {0};

	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) && errno != EINVAL)
		return ivs_error_errno(err, errno, "cannot drop ambient capabilities");
	if (syscall(SYS_capset, &header, none))
		return ivs_error_errno(err, errno, "cannot drop capabilities");
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return ivs_error_errno(err, errno, "cannot set no_new_privs");
	return 0;
}

int ivs_privileges_drop(const char *root, const char *user, struct ivs_error *err)
{
	struct identity who = {0};
	int result = 0;

	if (user)
		result = look_up_user(user, &who, err);
	if (!result && root && (chroot(root) || chdir("/")))
		result = ivs_error_errno(err, errno, "cannot make %s the root directory%s", root,
					 geteuid() ? ", which only root can do" : "");
	if (!result)
		result = drop_bounding_set(err);
	if (!result && user)
		result = become_user(&who, err);
	if (!result)
		result = drop_capabilities(err);
	free(who.groups);
	return result;
}

int ivs_privileges_may_remove(const char *path)
{
	char copy[PATH_MAX];
	struct stat file;
	struct stat dir;
	const char *parent;

	snprintf(copy, sizeof(copy), "%s", path);
	parent = dirname(copy);
	if (lstat(path, &file) || stat(parent, &dir) ||
	    faccessat(AT_FDCWD, parent, W_OK | X_OK, AT_EACCESS))
		return -errno;
	if (dir.st_mode & S_ISVTX && file.st_uid != geteuid() && dir.st_uid != geteuid())
		return -EPERM;
	return 0;
}

void ivs_privileges_raise_files(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur == limit.rlim_max)
		return;
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit))
		ivs_log(IVS_LOG_WARNING, "cannot raise the limit on open files to %llu",
			(unsigned long long)limit.rlim_max);
}
