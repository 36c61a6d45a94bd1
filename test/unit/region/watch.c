/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tests of region/watch.h: which changes of a region's file are detected, and that nothing else is
 * reported.
 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "region/watch.h"

#define SIZE 8192

static char dir[32];
static char path[64];
static char other[64];
static int fd;
static struct ivs_region_watch watch;

static int new_file(const char *name)
{
	int made_fd = open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	cr_assert_geq(made_fd, 0);
	cr_assert_not(ftruncate(made_fd, SIZE));
	return made_fd;
}

static void setup(void)
{
	strcpy(dir, "/dev/shm/ivs-watch-XXXXXX");
	cr_assert(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/region", dir);
	snprintf(other, sizeof(other), "%s/other", dir);
	fd = new_file(path);
	ivs_region_watch_init(&watch, fd, SIZE, path, -1);
	cr_assert(ivs_region_watch_can_change(&watch));
	cr_assert_eq(ivs_region_watch_look(&watch), 0);
}

static void teardown(void)
{
	ivs_region_watch_deinit(&watch);
	close(fd);
	unlink(path);
	unlink(other);
	cr_expect_not(rmdir(dir));
}

TestSuite(watch, .init = setup, .fini = teardown);

Test(watch, removed)
{
	cr_assert_not(unlink(path));
	cr_expect_eq(ivs_region_watch_look(&watch), IVS_REGION_NAME_LOST);
	close(new_file(path));
	cr_expect_eq(ivs_region_watch_look(&watch), IVS_REGION_NAME_LOST,
		     "a new file with that name is not the region");
}

Test(watch, replaced)
{
	close(new_file(other));
	cr_assert_not(rename(other, path));
	cr_expect_eq(ivs_region_watch_look(&watch), IVS_REGION_NAME_LOST);
}

Test(watch, renamed_and_back)
{
	cr_assert_not(rename(path, other));
	cr_expect_eq(ivs_region_watch_look(&watch), IVS_REGION_NAME_LOST);
	cr_assert_not(rename(other, path));
	cr_expect_eq(ivs_region_watch_look(&watch), 0);
}

/* The link count stays 1, and the file can still be opened, but not by this name. */
Test(watch, removed_with_another_link)
{
	cr_assert_not(link(path, other));
	cr_expect_eq(ivs_region_watch_look(&watch), 0);
	cr_assert_not(unlink(path));
	cr_expect_eq(ivs_region_watch_look(&watch), IVS_REGION_NAME_LOST);
}

Test(watch, directory_renamed)
{
	char moved[48];

	snprintf(moved, sizeof(moved), "%s-moved", dir);
	cr_assert_not(rename(dir, moved));
	cr_expect_eq(ivs_region_watch_look(&watch), IVS_REGION_NAME_LOST);
	cr_assert_not(rename(moved, dir));
	cr_expect_eq(ivs_region_watch_look(&watch), 0);
}

Test(watch, another_size)
{
	cr_assert_not(ftruncate(fd, SIZE - 1));
	cr_expect_eq(ivs_region_watch_look(&watch), IVS_REGION_SHRUNK);
	cr_assert_not(ftruncate(fd, 0));
	cr_expect_eq(ivs_region_watch_look(&watch), IVS_REGION_SHRUNK);
	cr_assert_not(ftruncate(fd, SIZE + 1));
	cr_expect_eq(ivs_region_watch_look(&watch), IVS_REGION_GROWN);
	cr_assert_not(unlink(path));
	cr_expect_eq(ivs_region_watch_look(&watch), IVS_REGION_GROWN | IVS_REGION_NAME_LOST);
	cr_assert_not(ftruncate(fd, SIZE));
	cr_expect_eq(ivs_region_watch_look(&watch), IVS_REGION_NAME_LOST);
}

Test(watch, nothing_of_interest)
{
	cr_assert_not(fchmod(fd, 0));
	cr_assert_eq(pwrite(fd, "x", 1, 0), 1);
	close(new_file(other));
	cr_expect_eq(ivs_region_watch_look(&watch), 0);
}

/* When a server resumes, its region may have lost its name in the meantime. */
Test(watch, lost_before)
{
	cr_assert_not(rename(path, other));
	ivs_region_watch_deinit(&watch);
	ivs_region_watch_init(&watch, fd, SIZE, path, -1);
	cr_expect_eq(ivs_region_watch_look(&watch), IVS_REGION_NAME_LOST, "renamed");
	cr_assert_not(unlink(other));
	ivs_region_watch_deinit(&watch);
	ivs_region_watch_init(&watch, fd, SIZE, path, -1);
	cr_expect_eq(ivs_region_watch_look(&watch), IVS_REGION_NAME_LOST, "removed");
}

/* A client of a server does not know the region's name; the file that it received may have none. */
Test(watch, received)
{
	ivs_region_watch_deinit(&watch);
	ivs_region_watch_init(&watch, fd, SIZE, NULL, -1);
	cr_expect_eq(ivs_region_watch_look(&watch), 0);
	cr_assert_not(unlink(path));
	cr_expect_eq(ivs_region_watch_look(&watch), IVS_REGION_NAME_LOST);
	ivs_region_watch_deinit(&watch);
	ivs_region_watch_init(&watch, fd, SIZE, NULL, -1);
	cr_expect_eq(ivs_region_watch_look(&watch), 0, "it had no name");
	cr_expect(ivs_region_watch_can_change(&watch));
}

Test(watch, name_that_looks_deleted)
{
	char name[80];
	int odd_fd;

	snprintf(name, sizeof(name), "%s (deleted)", other);
	odd_fd = new_file(name);
	ivs_region_watch_deinit(&watch);
	ivs_region_watch_init(&watch, odd_fd, SIZE, name, -1);
	cr_expect_eq(ivs_region_watch_look(&watch), 0);
	cr_assert_not(unlink(name));
	cr_expect_eq(ivs_region_watch_look(&watch), IVS_REGION_NAME_LOST);
	close(odd_fd);
}

/* After chroot(2), /proc is reached through an fd; without /proc, only the link count is known. */
Test(watch, proc)
{
	int self_fd = open("/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC);

	ivs_region_watch_deinit(&watch);
	ivs_region_watch_init(&watch, fd, SIZE, path, self_fd);
	cr_assert_not(rename(path, other));
	cr_expect_eq(ivs_region_watch_look(&watch), IVS_REGION_NAME_LOST);
	ivs_region_watch_deinit(&watch);
	close(self_fd);
	cr_assert_not(rename(other, path));
	self_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	ivs_region_watch_init(&watch, fd, SIZE, path, self_fd);
	cr_expect_eq(ivs_region_watch_look(&watch), 0);
	cr_assert_not(unlink(path));
	cr_expect_eq(ivs_region_watch_look(&watch), IVS_REGION_NAME_LOST);
	close(self_fd);
}

Test(watch, memfd)
{
	int memfd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	cr_assert_not(ftruncate(memfd, SIZE));
	ivs_region_watch_deinit(&watch);
	ivs_region_watch_init(&watch, memfd, SIZE, "", -1);
	cr_expect(ivs_region_watch_can_change(&watch), "not sealed yet");
	cr_assert_not(fcntl(memfd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW));
	cr_expect_not(ivs_region_watch_can_change(&watch));
	cr_expect_eq(ivs_region_watch_look(&watch), 0);
	ivs_region_watch_deinit(&watch);
	cr_expect_eq(ivs_region_watch_look(&watch), 0, "nothing is watched");
	close(memfd);
}
