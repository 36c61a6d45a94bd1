/* SPDX-License-Identifier: BSD-3-Clause */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/file.h"

static char path[] = "/tmp/ivshmem-file.XXXXXX";
static int fd = -1;

static void setup(void)
{
	fd = mkstemp(path);
	cr_assert_geq(fd, 0);
}

static void teardown(void)
{
	close(fd);
	unlink(path);
}

TestSuite(file, .init = setup, .fini = teardown);

Test(file, a_path_names_its_file)
{
	cr_assert_eq(ivs_path_is_fd(path, fd), 1);
}

Test(file, a_replaced_file_is_not_the_same)
{
	int other;

	cr_assert_eq(unlink(path), 0);
	cr_assert_eq(ivs_path_is_fd(path, fd), 0);
	other = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
	cr_assert_geq(other, 0);
	cr_assert_eq(ivs_path_is_fd(path, fd), 0);
	cr_assert_eq(ivs_path_is_fd(path, other), 1);
	close(other);
}

Test(file, a_symbolic_link_is_not_its_target)
{
	char link[sizeof(path) + 5];

	snprintf(link, sizeof(link), "%s.link", path);
	cr_assert_eq(symlink(path, link), 0);
	cr_assert_eq(ivs_path_is_fd(link, fd), 0);
	unlink(link);
}

Test(file, errors_of_lstat_are_returned)
{
	cr_assert_eq(ivs_path_is_fd("/dev/null/x", fd), -ENOTDIR);
	cr_assert_eq(ivs_path_is_fd(path, -1), -EBADF);
}

Test(file, a_lock_excludes_other_open_files)
{
	int other = open(path, O_RDONLY);

	cr_assert_eq(ivs_file_lock(fd, LOCK_EX, false), 0);
	cr_assert_eq(ivs_file_lock(fd, LOCK_EX, false), 0);
	cr_assert_eq(flock(other, LOCK_SH | LOCK_NB), -1);
	cr_assert_eq(ivs_file_lock(-1, LOCK_EX, false), -EBADF);
	close(other);
}

Test(file, a_pending_signal_ends_the_wait_for_a_lock)
{
	int other = open(path, O_RDONLY);
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	cr_assert_eq(sigprocmask(SIG_BLOCK, &set, NULL), 0);
	cr_assert_eq(raise(SIGTERM), 0);
	cr_assert_eq(ivs_file_lock(fd, LOCK_EX, true), 0);
	cr_assert_eq(ivs_file_lock(other, LOCK_EX, true), -EINTR);
	close(other);
}
