/* SPDX-License-Identifier: BSD-3-Clause */
/* Tests of region/received.h: which kinds of files are recognised, and which are not. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "region/received.h"

static struct ivs_received_mounts mounts;

static void setup(void)
{
	ivs_received_mounts_open(&mounts);
}

static void teardown(void)
{
	ivs_received_mounts_close(&mounts);
}

TestSuite(received, .init = setup, .fini = teardown);

static enum ivs_received_kind kind_of(int fd)
{
	struct ivs_received received;

	ivs_received_look(&mounts, fd, &received);
	return received.kind;
}

static int temporary(const char *directory)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "%s/ivs-received-XXXXXX", directory);
	fd = mkostemp(path, O_CLOEXEC);
	cr_assert_geq(fd, 0);
	unlink(path);
	return fd;
}

Test(received, memory)
{
	int memfd = memfd_create("test", MFD_CLOEXEC);
	int shm = temporary("/dev/shm");

	cr_expect_eq(kind_of(memfd), IVS_RECEIVED_MEMORY);
	cr_expect_eq(kind_of(shm), IVS_RECEIVED_MEMORY);
	ivs_received_mounts_close(&mounts);
	cr_expect_eq(kind_of(memfd), IVS_RECEIVED_MEMORY, "mountinfo is not needed for a memfd");
	close(memfd);
	close(shm);
}

#define EXT4_MAGIC 0xef53 /* also used by ext2 and ext3 */
#define XFS_MAGIC 0x58465342
#define BTRFS_MAGIC 0x9123683e

Test(received, disk)
{
	struct statfs fs;
	int fd = temporary("/tmp");

	cr_assert_eq(fstatfs(fd, &fs), 0);
	if (fs.f_type != EXT4_MAGIC && fs.f_type != XFS_MAGIC && fs.f_type != BTRFS_MAGIC)
		cr_skip("/tmp is not on a disk");
	cr_expect_eq(kind_of(fd), IVS_RECEIVED_DISK);
	ivs_received_mounts_close(&mounts);
	cr_expect_eq(kind_of(fd), IVS_RECEIVED_OTHER, "nothing is known without mountinfo");
	close(fd);
}

Test(received, others)
{
	int fds[2];
	int event = eventfd(0, EFD_CLOEXEC);
	int zero = open("/dev/zero", O_RDWR | O_CLOEXEC);
	int proc = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
	int path = open("/dev/shm", O_PATH | O_CLOEXEC);

	cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
	cr_expect_eq(kind_of(fds[0]), IVS_RECEIVED_OTHER);
	cr_expect_eq(kind_of(event), IVS_RECEIVED_OTHER);
	cr_expect_eq(kind_of(zero), IVS_RECEIVED_OTHER);
	cr_expect_eq(kind_of(proc), IVS_RECEIVED_OTHER);
	cr_expect_eq(kind_of(path), IVS_RECEIVED_OTHER);
	cr_expect_eq(kind_of(-1), IVS_RECEIVED_OTHER);
	close(fds[0]);
	close(fds[1]);
	close(event);
	close(zero);
	close(proc);
	close(path);
}
