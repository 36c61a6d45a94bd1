/* SPDX-License-Identifier: BSD-3-Clause */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host/users.h"

#define SIZE 65536

enum use {
	NONE = 0,
	OPEN = 1,
	SHARED = 2,
	PRIVATE = 4,
};

static int make_file(char path[64], struct ivs_host_file *file)
{
	struct stat st;
	int fd;

	strcpy(path, "/dev/shm/ivs-test-users-XXXXXX");
	fd = mkstemp(path);
	cr_assert_geq(fd, 0);
	cr_assert_eq(ftruncate(fd, SIZE), 0);
	cr_assert_eq(fstat(fd, &st), 0);
	*file = (struct ivs_host_file){st.st_dev, st.st_ino, path};
	return fd;
}

static void child_use(int fd, int uses)
{
	const int protection = PROT_READ | PROT_WRITE;

	if ((uses & SHARED) && mmap(NULL, SIZE, protection, MAP_SHARED, fd, 0) == MAP_FAILED)
		_exit(1);
	if ((uses & PRIVATE) && mmap(NULL, SIZE, protection, MAP_PRIVATE, fd, 0) == MAP_FAILED)
		_exit(1);
	if (!(uses & OPEN))
		close(fd);
}

/* Fork a process that uses the file in these ways, until child_end(). */
static pid_t child_start(int fd, int uses)
{
	int ready[2];
	char byte;
	pid_t pid;

	cr_assert_eq(pipe(ready), 0);
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		child_use(fd, uses);
		if (write(ready[1], "", 1) != 1)
			_exit(1);
		while (true)
			pause();
	}
	close(ready[1]);
	cr_assert_eq(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	return pid;
}

static void child_end(pid_t child)
{
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
}

/* Return: the entry for process @pid among the users of the file with index @file, or NULL. */
static const struct ivs_host_user *user_of(const struct ivs_host_users *users, pid_t pid,
					   size_t file)
{
	for (size_t i = 0; i < users->n; i++) {
		if (users->list[i].pid == pid && users->list[i].file == file)
			return &users->list[i];
	}
	return NULL;
}

Test(users, each_way_to_use_a_file)
{
	static const int ways[] = {OPEN, SHARED,	PRIVATE, OPEN | SHARED, SHARED | PRIVATE,
				   NONE, OPEN | PRIVATE};
	pid_t children[sizeof(ways) / sizeof(*ways)];
	const size_t n = sizeof(ways) / sizeof(*ways);
	struct ivs_host_users users;
	struct ivs_host_file file;
	char path[64];
	int fd = make_file(path, &file);

	for (size_t i = 0; i < n; i++)
		children[i] = child_start(fd, ways[i]);
	unlink(path);
	cr_assert_eq(ivs_host_users_find(&file, 1, &users), 0);
	cr_expect_eq(users.n, n - 1, "not this process, nor the child that does not use the file");
	for (size_t i = 0; i < n; i++) {
		const struct ivs_host_user *user = user_of(&users, children[i], 0);

		cr_expect_eq(!user, ways[i] == NONE, "way %d", ways[i]);
		if (!user)
			continue;
		cr_expect_eq(user->open, !!(ways[i] & OPEN), "way %d", ways[i]);
		cr_expect_eq(user->shared, !!(ways[i] & SHARED), "way %d", ways[i]);
		cr_expect_eq(user->maps, !!(ways[i] & (SHARED | PRIVATE)), "way %d", ways[i]);
		cr_expect(!user->named && !user->qemu && !user->server);
		cr_expect_str_not_empty(user->program);
		cr_expect_str_empty(user->vm);
	}
	ivs_host_users_deinit(&users);
	for (size_t i = 0; i < n; i++)
		child_end(children[i]);
	close(fd);
}

Test(users, of_many_files_in_one_pass)
{
	struct ivs_host_file files[40];
	pid_t children[2];
	struct ivs_host_users users;
	char paths[40][64];
	int fds[40];

	for (size_t i = 0; i < 40; i++)
		fds[i] = make_file(paths[i], &files[i]);
	children[0] = child_start(fds[7], SHARED | OPEN);
	for (size_t i = 0; i < 20; i++)
		close(fds[i]);
	children[1] = child_start(fds[30], SHARED); /* inherits fds 20 to 39 */
	cr_assert_eq(ivs_host_users_find(files, 40, &users), 0);
	cr_expect_eq(users.n, 40 + 20);
	for (size_t i = 0; i < 40; i++) {
		const struct ivs_host_user *first = user_of(&users, children[0], i);
		const struct ivs_host_user *second = user_of(&users, children[1], i);

		cr_expect(first && first->maps == (i == 7));
		cr_expect_eq(!!second, i >= 20);
		cr_expect(!second || second->maps == (i == 30));
	}
	for (size_t i = 1; i < users.n; i++)
		cr_expect_leq(users.list[i - 1].pid, users.list[i].pid);
	ivs_host_users_deinit(&users);
	child_end(children[0]);
	child_end(children[1]);
	for (size_t i = 0; i < 40; i++)
		unlink(paths[i]);
}

/*
 * The file is on a disk, because on btrfs and overlayfs /proc/PID/maps shows a different device
 * than stat(2).
 */
Test(users, of_a_file_on_disk)
{
	char path[] = "ivs-test-users-XXXXXX";
	int fd = mkstemp(path);
	char *whole = realpath(path, NULL);
	struct ivs_host_users users;
	struct ivs_host_file file;
	pid_t child;
	struct stat st;

	cr_assert(fd >= 0 && ftruncate(fd, SIZE) == 0 && fstat(fd, &st) == 0);
	file = (struct ivs_host_file){st.st_dev, st.st_ino, whole};
	child = child_start(fd, SHARED);
	cr_assert_eq(ivs_host_users_find(&file, 1, &users), 0);
	cr_expect(user_of(&users, child, 0) && user_of(&users, child, 0)->maps);
	ivs_host_users_deinit(&users);
	child_end(child);
	unlink(path);
	free(whole);
}

Test(users, no_files_and_no_users)
{
	struct ivs_host_users users;
	struct ivs_host_file file;
	char path[64];
	int fd = make_file(path, &file);

	cr_assert_eq(ivs_host_users_find(NULL, 0, &users), 0);
	cr_expect_eq(users.n, 0);
	ivs_host_users_deinit(&users);
	cr_assert_eq(ivs_host_users_find(&file, 1, &users), 0);
	cr_expect_eq(users.n, 0);
	ivs_host_users_deinit(&users);
	unlink(path);
	close(fd);
}

Test(users, a_memfd)
{
	int fd = memfd_create("ivs-test", MFD_CLOEXEC);
	struct ivs_host_users users;
	struct ivs_host_file file;
	pid_t child;
	struct stat st;

	cr_assert_eq(ftruncate(fd, SIZE), 0);
	cr_assert_eq(fstat(fd, &st), 0);
	file = (struct ivs_host_file){st.st_dev, st.st_ino, NULL};
	child = child_start(fd, SHARED);
	cr_assert_eq(ivs_host_users_find(&file, 1, &users), 0);
	cr_expect_eq(users.n, 1);
	cr_expect(user_of(&users, child, 0) && user_of(&users, child, 0)->maps);
	ivs_host_users_deinit(&users);
	child_end(child);
}

/* Without root, a process that cannot be examined is counted. */
Test(users, processes_of_others_are_counted)
{
	struct ivs_host_users users;
	struct ivs_host_file file;
	pid_t child;
	char path[64];
	int fd = make_file(path, &file);

	if (geteuid())
		cr_skip_test("needs root to start a process of another user");
	child = child_start(fd, SHARED);
	cr_assert_eq(seteuid(65534), 0);
	cr_assert_eq(ivs_host_users_find(&file, 1, &users), 0);
	cr_expect_null(user_of(&users, child, 0));
	cr_expect_gt(users.unseen_n, 0);
	cr_expect_not(users.hidden);
	ivs_host_users_deinit(&users);
	cr_assert_eq(seteuid(0), 0);
	child_end(child);
	unlink(path);
}

Test(users, words)
{
	static const struct {
		struct ivs_host_user user;
		const char *text;
	} rows[] = {
		{{.pid = 5, .program = "cat"}, "cat (pid 5)"},
		{{.pid = 5}, "a process (pid 5)"},
		{{.pid = 5, .program = "ivshmem-server", .socket = "/run/s"},
		 "ivshmem-server at /run/s (pid 5)"},
		{{.pid = 5, .program = "kvm", .qemu = true}, "a VM without a name (pid 5)"},
		{{.pid = 5, .program = "kvm", .qemu = true, .vm = "win 10"}, "VM win 10 (pid 5)"},
	};
	char text[IVS_HOST_USER_TEXT_LEN];
	char unseen[IVS_HOST_UNSEEN_TEXT_LEN];

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		cr_expect_str_eq(ivs_host_users_text(&rows[i].user, text), rows[i].text);
	cr_expect_str_empty(ivs_host_users_unseen(0, false, unseen));
	cr_expect(strstr(ivs_host_users_unseen(0, true, unseen), "hidepid"));
	cr_expect(!strncmp(ivs_host_users_unseen(1, false, unseen), "1 process ", 10) ||
		  !strncmp(unseen, "1 process of another user ", 26));
	cr_expect(strstr(ivs_host_users_unseen(2, true, unseen), "2 processes "));
}
