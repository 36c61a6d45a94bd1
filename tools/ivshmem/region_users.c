/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/ivshmem/region_users.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "tools/shared/usage.h"

static const char *user_does(const struct ivs_host_user *user)
{
	if (user->maps)
		return "maps it";
	return user->open ? "holds it open" : "names it in its arguments";
}

static const char *user_fate(const struct ivs_host_user *user, enum users_purpose purpose)
{
	if (purpose == USERS_OVERWRITE)
		return user->maps ? "sees its memory change" : "will see the restored content";
	if (user->qemu)
		return "keeps the old memory until it is shut down and started again";
	if (user->server)
		return "keeps the old memory, and passes it on, until it is restarted";
	return "keeps the old memory until it opens the region again";
}

static const char *advice(enum users_purpose purpose)
{
	if (purpose == USERS_OVERWRITE)
		return "End these programs first. With --force their memory changes while they "
		       "run, and nothing\nnotifies them.\n";
	return "End these programs first. With --force they keep the old memory, and share it "
	       "with\nno program that starts later.\n";
}

static void print_users(const struct ivs_host_users *users, enum users_purpose purpose, bool force)
{
	char text[IVS_HOST_USER_TEXT_LEN];

	for (size_t i = 0; i < users->n; i++) {
		const struct ivs_host_user *user = &users->list[i];

		fprintf(stderr, "  %s %s\n", ivs_host_users_text(user, text),
			force ? user_fate(user, purpose) : user_does(user));
	}
}

json_t *users_json(const struct ivs_host_users *users)
{
	json_t *list = json_array();

	for (size_t i = 0; i < users->n; i++) {
		const struct ivs_host_user *user = &users->list[i];

		json_array_append_new(
			list, json_pack("{s:I, s:s, s:s?, s:b}", "pid", (json_int_t)user->pid,
					"program", user->program, "vm", *user->vm ? user->vm : NULL,
					"maps", user->maps));
	}
	return list;
}

/**
 * enum others - whether another process has the file open, according to the kernel
 * @OTHERS_UNKNOWN: this user may not ask the kernel
 */
enum others {
	OTHERS_NONE,
	OTHERS_SOME,
	OTHERS_UNKNOWN,
};

/* The kernel grants a write lease only on a file that no other process has open or mapped. */
static enum others ask_kernel(int fd)
{
	void (*before)(int) = signal(SIGIO, SIG_IGN); /* sent if anyone opens the file */
	enum others others = OTHERS_NONE;

	if (fcntl(fd, F_SETLEASE, F_WRLCK))
		others = errno == EAGAIN ? OTHERS_SOME : OTHERS_UNKNOWN;
	else if (fcntl(fd, F_SETLEASE, F_UNLCK))
		others = OTHERS_UNKNOWN;
	signal(SIGIO, before);
	return others;
}

/* If no user was found, ask the kernel, because some processes may not have been examined. */
static int check_unseen(const struct place *place, int fd, const struct ivs_host_users *users)
{
	enum others others = fd < 0 ? OTHERS_UNKNOWN : ask_kernel(fd);
	char text[IVS_HOST_UNSEEN_TEXT_LEN];

	ivs_host_users_unseen(users->unseen_n, users->hidden, text);
	if (others == OTHERS_SOME)
		return usage_failed("%s is in use by a process that could not be identified%s%s; "
				    "or use --force",
				    place->path, *text ? ": " : "", text);
	if (others == OTHERS_UNKNOWN && *text)
		return usage_failed("%s may be in use: %s; or use --force", place->path, text);
	return 0;
}

int users_check(const struct place *place, const struct stat *st, int fd,
		enum users_purpose purpose, bool force, json_t **out)
{
	const struct ivs_host_file file = {
		.dev = st->st_dev,
		.ino = st->st_ino,
		.path = place->path,
	};
	struct ivs_host_users users = {0};
	int result = ivs_host_users_find(&file, 1, &users);
	int status = 0;

	*out = NULL;
	if (result && !force)
		return usage_failed("cannot find out whether %s is in use: /proc: %s; or use "
				    "--force",
				    place->path, strerror(-result));
	*out = users_json(&users);
	if (users.n && force) {
		fprintf(stderr, "%s: %s is in use:\n", usage_name(), place->path);
		print_users(&users, purpose, true);
	} else if (users.n) {
		status = usage_failed("%s is in use:", place->path);
		print_users(&users, purpose, false);
		fputs(advice(purpose), stderr);
	} else if (!force) {
		status = check_unseen(place, fd, &users);
	}
	if (!result)
		ivs_host_users_deinit(&users);
	return status;
}
