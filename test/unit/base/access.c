/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tests of base/access.c: the message names the file that denies access, and the command in the
 * message, run as root, grants access. The process switches to another user and back.
 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/access.h"

#define NOBODY 65534 /* the user "nobody" in group "nogroup", on Debian */
#define STRANGER 54321

static char dir[64];
static char path[96];

static void setup(void)
{
	FILE *file;

	if (geteuid())
		cr_skip_test("needs root");
	strcpy(dir, "/tmp/ivshmem-test-XXXXXX");
	cr_assert_not_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/the user's file", dir); /* commands must quote it */
	file = fopen(path, "w");
	cr_assert(file && !fclose(file));
	cr_assert_eq(chmod(dir, 0755), 0);
}

static void become(uid_t uid, gid_t gid)
{
	cr_assert_eq(seteuid(0), 0);
	cr_assert_eq(setgroups(0, NULL), 0);
	cr_assert_eq(setegid(gid), 0);
	cr_assert_eq(seteuid(uid), 0);
}

static void teardown(void)
{
	char command[128];

	become(0, 0);
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	cr_expect_eq(system(command), 0);
}

TestSuite(access, .init = setup, .fini = teardown);

static void set(const char *which, uid_t uid, gid_t gid, mode_t mode)
{
	cr_assert_eq(chown(which, uid, gid), 0);
	cr_assert_eq(chmod(which, mode), 0);
}

static bool opens(int flags)
{
	int fd = open(path, flags | O_CREAT | O_CLOEXEC, 0600);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

/* Expect that access is denied with a message that contains @expected. Return: the message. */
static const char *denied(const char *expected)
{
	static char text[IVS_ACCESS_TEXT_LEN];

	cr_expect(!opens(O_RDWR), "access is not denied");
	ivs_access_explain(path, R_OK | W_OK, text);
	cr_expect(strstr(text, expected), "expected \"%s\", got \"%s\"", expected, text);
	return text;
}

/* As user @uid, run the command that follows @before in @text; then expect access. */
static void cure(const char *text, const char *before, uid_t uid)
{
	const char *command = strstr(text, before);
	uid_t user = geteuid();
	gid_t group = getegid();
	int status;
	pid_t pid;

	cr_assert_not_null(command, "no command in \"%s\"", text);
	become(0, 0);
	pid = fork();
	if (!pid)
		_exit(setuid(uid) || system(command + strlen(before)));
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert_eq(status, 0, "the command fails: %s", text);
	become(user, group);
	cr_expect(opens(O_RDWR), "the command does not help: %s", text);
}

Test(access, mode_of_a_file_of_root)
{
	set(path, 0, 0, 0600);
	become(NOBODY, NOBODY);
	cure(denied("it belongs to root:root, mode 0600: as root, chgrp nogroup "), "as root, ", 0);
}

Test(access, group_of_root_is_not_for_users)
{
	set(path, 0, 0, 0660);
	become(NOBODY, NOBODY);
	cure(denied("it belongs to root:root, mode 0660: as root, chgrp nogroup "), "as root, ", 0);
}

/* In a directory like /tmp, another user could put a link in the file's place before root acts. */
Test(access, file_of_another_user_where_all_can_write)
{
	char text[IVS_ACCESS_TEXT_LEN];

	set(path, STRANGER, STRANGER, 0600);
	become(NOBODY, NOBODY);
	denied("mode 0600: as root, chgrp nogroup ");
	become(0, 0);
	set(dir, 0, 0, 01777);
	become(NOBODY, NOBODY);
	ivs_access_explain(path, R_OK | W_OK, text);
	cr_expect_str_eq(
		text,
		"it belongs to 54321:54321, mode 0600: its owner can give user nobody access");
	become(0, 0);
	set(path, 0, 0, 0600);
	become(NOBODY, NOBODY);
	ivs_access_explain(path, R_OK | W_OK, text);
	cr_expect(strstr(text, "as root, chgrp nogroup "), "%s", text);
}

/* A link that belongs to root or to the user may lead to the file; any other link may be a trap. */
Test(access, symbolic_link)
{
	char target[112];
	char text[IVS_ACCESS_TEXT_LEN];

	snprintf(target, sizeof(target), "%s/target", dir);
	cr_assert_eq(rename(path, target), 0);
	set(target, 0, 0, 0600);
	cr_assert_eq(symlink("target", path), 0);
	become(NOBODY, NOBODY);
	ivs_access_explain(path, R_OK | W_OK, text);
	cr_expect(strstr(text, "as root, chgrp nogroup "), "%s", text);
	become(0, 0);
	cr_assert_eq(lchown(path, STRANGER, STRANGER), 0);
	become(NOBODY, NOBODY);
	ivs_access_explain(path, R_OK | W_OK, text);
	cr_expect_str_eq(text, "it is a symbolic link that belongs to another user");
}

Test(access, own_file)
{
	set(path, NOBODY, 0, 0460);
	become(NOBODY, NOBODY);
	cure(denied("it belongs to nobody:root, mode 0460: chmod u+rw "), "0460: ", NOBODY);
}

Test(access, group_without_this_user)
{
	set(path, 0, 1, 0660);
	become(NOBODY, NOBODY);
	denied("it belongs to root:daemon, mode 0660, and user nobody is not in this group: "
	       "usermod -aG daemon nobody (as root), then log in again");
	become(NOBODY, 1); /* as it is after the next login */
	cr_expect(opens(O_RDWR));
}

Test(access, member_since_the_login)
{
	set(path, 0, NOBODY, 0660);
	become(NOBODY, 1);
	denied("it belongs to root:nogroup, mode 0660; user nobody is in this group, but this "
	       "login is older: log in again");
}

Test(access, group_that_may_only_read)
{
	set(path, 0, 1, 0640);
	become(NOBODY, 1);
	cure(denied("it belongs to root:daemon, mode 0640: as root, "), "as root, ", 0);
}

Test(access, group_has_less_than_others)
{
	set(path, 0, 1, 0606);
	become(NOBODY, 1);
	cure(denied("it belongs to root:daemon, mode 0606: as root, "), "as root, ", 0);
}

/* Opening a directory to more users might expose other files, so no command is printed. */
Test(access, directory_on_the_way)
{
	char text[160];

	set(path, 0, 0, 0666);
	set(dir, 0, 0, 0700);
	become(NOBODY, NOBODY);
	snprintf(text, sizeof(text),
		 "the directory %s belongs to root:root, mode 0700: use a directory that user "
		 "nobody may enter",
		 dir);
	denied(text);
	become(0, 0);
	set(dir, 0, 1, 0710);
	become(NOBODY, NOBODY);
	denied("root:daemon, mode 0710, and user nobody is not in this group: usermod");
	become(NOBODY, 1);
	cr_expect(opens(O_RDWR));
}

Test(access, directory_for_a_new_file)
{
	char text[160];

	cr_assert_eq(unlink(path), 0);
	become(NOBODY, NOBODY);
	snprintf(text, sizeof(text),
		 "the directory %s belongs to root:root, mode 0755: use a directory to which user "
		 "nobody may write",
		 dir);
	denied(text);
}

Test(access, ids_without_names)
{
	set(path, STRANGER, STRANGER, 0660);
	become(STRANGER + 1, STRANGER + 1);
	denied("it belongs to 54321:54321, mode 0660, and user 54322 is not in this group");
}

Test(access, file_that_cannot_be_examined)
{
	char text[IVS_ACCESS_TEXT_LEN];

	ivs_access_explain("/nonexistent/directory/file", R_OK, text);
	cr_expect_str_eq(text, "its owner, group and mode cannot be examined");
	ivs_access_explain(path, R_OK | W_OK, text);
	cr_expect(strstr(text, "which allow access"), "%s", text);
}
