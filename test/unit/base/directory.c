/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tests of base/directory.h. test/tool/test_other_users.py has the tests that involve other users.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/directory.h"
#include "base/fd.h"

static char dir[] = "/tmp/ivshmem-directory.XXXXXX";

static const char *in_dir(const char *name)
{
	static char texts[2][256];
	static unsigned int next;
	char *text = texts[next++ % 2];

	snprintf(text, sizeof(*texts), "%s/%s", dir, name);
	return text;
}

static void setup(void)
{
	cr_assert(mkdtemp(dir));
	cr_assert_eq(mkdir(in_dir("a"), 0700), 0);
	cr_assert_eq(mkdir(in_dir("a/b"), 0700), 0);
	cr_assert_eq(symlink("a/b", in_dir("relative")), 0);
	cr_assert_eq(symlink(in_dir("a"), in_dir("absolute")), 0);
	cr_assert_eq(symlink("loop", in_dir("loop")), 0);
	cr_assert_eq(symlink("none/c", in_dir("dangling")), 0);
	close(open(in_dir("file"), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
}

static void teardown(void)
{
	static const char *const names[] = {"file", "dangling", "loop", "absolute", "relative"};

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		unlink(in_dir(names[i]));
	rmdir(in_dir("a/b"));
	rmdir(in_dir("a"));
	rmdir(dir);
}

TestSuite(directory, .init = setup, .fini = teardown);

static const struct {
	const char *path;
	int result;
	const char *resolved;
} rows[] = {
	{"", 0, NULL},
	{"a", 0, "a"},
	{"a//./b/", 0, "a/b"},
	{"a/b/..", 0, "a"},
	{"relative", 0, "a/b"},
	{"relative/..", 0, "a"},
	{"absolute/b", 0, "a/b"},
	{"absolute/../relative/../b", 0, "a/b"},
	{"loop", -ELOOP, NULL},
	{"file", -ENOTDIR, NULL},
	{"file/x", -ENOTDIR, NULL},
	{"a/none/x", -ENOENT, "a/none/x"},
	{"absolute/none", -ENOENT, "a/none"},
	{"dangling/x", -ENOENT, "none/c/x"},
};

Test(directory, rows)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct ivs_directory directory;
		struct ivs_error err = {0};
		struct stat expected;
		struct stat st;
		int result = ivs_directory_open(in_dir(rows[i].path), &directory, &err);

		cr_expect_eq(result, rows[i].result, "row %zu: %d %s", i, result, err.text);
		cr_expect_eq(directory.fd >= 0, !result, "row %zu", i);
		if (rows[i].resolved)
			cr_expect_str_eq(directory.path, in_dir(rows[i].resolved), "row %zu", i);
		if (!result) {
			cr_expect_eq(stat(in_dir(rows[i].path), &expected), 0);
			cr_expect_eq(fstat(directory.fd, &st), 0);
			cr_expect_eq(st.st_ino, expected.st_ino, "row %zu", i);
		}
		ivs_fd_close(&directory.fd);
	}
}

Test(directory, root)
{
	static const char *const paths[] = {"/", "//", "/..", "/tmp/../.."};

	for (size_t i = 0; i < sizeof(paths) / sizeof(*paths); i++) {
		struct ivs_directory directory;

		cr_expect_eq(ivs_directory_open(paths[i], &directory, NULL), 0);
		cr_expect_str_eq(directory.path, "/");
		ivs_fd_close(&directory.fd);
	}
}

Test(directory, a_path_that_is_too_long)
{
	static char path[2 * PATH_MAX];
	struct ivs_directory directory;

	memset(path, '/', sizeof(path) - 1);
	cr_expect_eq(ivs_directory_open(path, &directory, NULL), -ENAMETOOLONG);
	cr_expect_eq(directory.fd, -1);
}
