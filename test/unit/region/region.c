/* SPDX-License-Identifier: BSD-3-Clause */
/* Tests of ivshmem/region.h: sizes, addresses, existing objects, lack of memory. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/un.h>
#include <unistd.h>

#include "ivshmem/region.h"
#include "region/region.h"
#include "support/c/fds.h"

#define K UINT64_C(1024)
#define M (K * K)
#define G (K * M)

static char dir[64];
static char shm_name[64];
static unsigned int fds_before;

static void setup(void)
{
	fds_before = test_fds_open();
	strcpy(dir, "/tmp/ivshmem-test-XXXXXX");
	cr_assert_not_null(mkdtemp(dir));
	snprintf(shm_name, sizeof(shm_name), "ivshmem-test-%d", (int)getpid());
}

static void teardown(void)
{
	char command[128];

	shm_unlink(shm_name);
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	cr_expect_eq(system(command), 0);
	test_fds_check(fds_before);
}

TestSuite(region, .init = setup, .fini = teardown);

static const char *in_dir(const char *prefix, const char *name)
{
	static char texts[4][400];
	static unsigned int next;
	char *text = texts[next++ % 4];

	snprintf(text, sizeof(*texts), "%s%s/%s", prefix, dir, name);
	return text;
}

static const char *shm_address(void)
{
	static char text[128];

	snprintf(text, sizeof(text), "shm:%s", shm_name);
	return text;
}

static void make_file(const char *path, off_t size, mode_t mode)
{
	int fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);

	cr_assert_geq(fd, 0);
	cr_assert_eq(ftruncate(fd, size), 0);
	cr_assert_eq(fchmod(fd, mode), 0);
	close(fd);
}

static off_t size_of(const char *path)
{
	struct stat st;

	return stat(path, &st) ? -1 : st.st_size;
}

/* Opening @address with @size must return @result and an error text that contains @part. */
static void refuse(const char *address, uint64_t size, int result, const char *part)
{
	struct ivs_region_options opts = IVS_REGION_OPTIONS_INIT;
	struct ivs_region *region = NULL;
	struct ivs_error err = {0};
	int got;

	opts.size = size;
	got = ivs_region_open(address, &opts, &region, &err);
	cr_expect_eq(got, result, "%s of %lu: %d, not %d: %s", address, size, got, result,
		     err.text);
	cr_expect_null(region);
	cr_expect(strstr(err.text, part), "\"%s\" should contain \"%s\"", err.text, part);
	cr_expect_eq(ivs_region_open(address, &opts, &region, NULL), result);
}

static struct ivs_region *make(const char *address, uint64_t size)
{
	struct ivs_region_options opts = IVS_REGION_OPTIONS_INIT;
	struct ivs_region *region = NULL;
	struct ivs_error err = {0};

	opts.size = size;
	cr_assert_eq(ivs_region_open(address, size ? &opts : NULL, &region, &err), 0, "%s: %s",
		     address, err.text);
	return region;
}

static uint64_t reserved(const struct ivs_region *region)
{
	struct stat st;

	cr_assert_eq(fstat(ivs_region_fd(region), &st), 0);
	return (uint64_t)st.st_blocks * 512;
}

Test(region, bad_sizes)
{
	static const struct {
		uint64_t size;
		const char *part;
	} rows[] = {
		{3 * M, "region size 3M is not a power of two; use 2M or 4M"},
		{5 * G, "region size 5G is not a power of two; use 4G or 8G"},
		{4097, "region size 4097 is not a power of two; use 4K or 8K"},
		{4095, "region size 4095 is not a power of two; use 4K or more"},
		{UINT64_MAX, "exceeds the maximum file size"},
		{2 * K, "region size 2K is less than one page; use 4K or more"},
		{1, "region size 1 is less than one page; use 4K or more"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		refuse(in_dir("file:", "r"), rows[i].size, IVS_REGION_E_SIZE, rows[i].part);
		refuse(shm_address(), rows[i].size, IVS_REGION_E_SIZE, rows[i].part);
		refuse("memfd:", rows[i].size, IVS_REGION_E_SIZE, rows[i].part);
		cr_expect_eq(size_of(in_dir("", "r")), -1, "a file was left behind");
	}
}

Test(region, bad_addresses)
{
	refuse("", 4 * M, IVS_REGION_E_ADDRESS, "use shm:NAME");
	refuse("ivshmem", 4 * M, IVS_REGION_E_ADDRESS, "use shm:NAME");
	refuse("SHM:x", 4 * M, IVS_REGION_E_ADDRESS, "use shm:NAME");
	refuse("shm:", 4 * M, IVS_REGION_E_ADDRESS, "one word without slashes");
	refuse("shm:/", 4 * M, IVS_REGION_E_ADDRESS, "one word without slashes");
	refuse("shm:a/b", 4 * M, IVS_REGION_E_ADDRESS, "use file:a/b");
	refuse("shm:/dev/shm/a", 4 * M, IVS_REGION_E_ADDRESS, "use shm:a");
	refuse("shm:/dev/shm/a/b", 4 * M, IVS_REGION_E_ADDRESS, "use file:/dev/shm/a/b");
	refuse("shm:/dev/shm/", 4 * M, IVS_REGION_E_ADDRESS, "use dir:/dev/shm/");
	refuse("shm:..", 4 * M, IVS_REGION_E_ADDRESS, "one word without slashes");
	refuse("file:", 4 * M, IVS_REGION_E_ADDRESS, "a path must follow");
	refuse("file:/nonexistent/x", 4 * M, -ENOENT, "does not exist: mkdir -p /nonexistent");
	refuse("dir:", 4 * M, IVS_REGION_E_ADDRESS, "a directory must follow");
	refuse("dir:/nonexistent", 4 * M, -ENOENT, "/nonexistent");
	refuse("dir:/dev/null", 4 * M, IVS_REGION_E_KIND, "file:/dev/null");
	refuse("memfd:3M", 4 * M, IVS_REGION_E_ADDRESS, "memfd:2M");
	refuse("memfd:x", 4 * M, IVS_REGION_E_ADDRESS, "memfd:2M");
	refuse("memfd:8K", 4 * M, IVS_REGION_E_ADDRESS, "use memfd:");
}

Test(region, is_created_reserved_and_removed)
{
	const char *addresses[] = {shm_address(), in_dir("file:", "r")};

	for (size_t i = 0; i < 2; i++) {
		struct ivs_region *region = make(addresses[i], M);
		struct stat st;

		cr_expect(ivs_region_created(region));
		cr_expect_not(ivs_region_sealed(region));
		cr_expect_eq(ivs_region_size(region), M);
		cr_expect_eq(ivs_region_page_size(region), 4 * K);
		cr_expect_geq(reserved(region), M, "the memory is not reserved");
		cr_assert_eq(stat(ivs_region_path(region), &st), 0);
		cr_expect_eq(st.st_size, (off_t)M);
		cr_expect_eq(st.st_mode & 07777, 0600);
		cr_expect_eq(ivs_region_remove(region), 0);
		cr_expect_eq(size_of(ivs_region_path(region)), -1);
		cr_expect_eq(ivs_region_remove(region), 0, "a second call does nothing");
		ivs_region_close(region);
	}
}

Test(region, mode_and_owner_do_not_depend_on_the_umask)
{
	struct ivs_region_options opts = {M, 0660, 12345, 54321};
	struct ivs_region *region;
	struct stat st;

	umask(077);
	if (getuid()) {
		opts.uid = getuid();
		opts.gid = getgid();
	}
	cr_assert_eq(ivs_region_open(shm_address(), &opts, &region, NULL), 0);
	cr_assert_eq(fstat(ivs_region_fd(region), &st), 0);
	cr_expect_eq(st.st_mode & 07777, 0660);
	cr_expect_eq(st.st_uid, opts.uid);
	cr_expect_eq(st.st_gid, opts.gid);
	ivs_region_close(region);
}

Test(region, an_existing_region_is_used_and_not_removed)
{
	struct ivs_region *first = make(shm_address(), M);
	struct ivs_region *second = make(shm_address(), M);
	struct ivs_region *third = make(shm_address(), 0);

	cr_expect_not(ivs_region_created(second));
	cr_expect_eq(ivs_region_size(third), M);
	cr_expect_eq(ivs_region_remove(second), 0);
	cr_expect_eq(size_of(ivs_region_path(first)), (off_t)M,
		     "only the handle that created it may remove it");
	ivs_region_close(first);
	ivs_region_close(second);
	ivs_region_close(third);
}

Test(region, another_size_is_refused_and_nothing_changes)
{
	make_file(in_dir("", "r"), 8 * M, 0640);
	refuse(in_dir("file:", "r"), 4 * M, IVS_REGION_E_OTHER_SIZE,
	       "exists with size 8M, not 4M: ask for size 8M, or remove it when it is no longer "
	       "used: rm ");
	cr_expect_eq(size_of(in_dir("", "r")), (off_t)(8 * M));
}

/* Users paste commands from messages, so the commands must be complete, and quoted for a shell. */
Test(region, commands_in_messages)
{
	char name[NAME_MAX + 1] = "";
	struct ivs_region *region = NULL;
	struct ivs_error err;
	const struct ivs_region_options opts = {.size = M, .uid = -1, .gid = -1};

	make_file(in_dir("", "it's $(a); b"), 8 * M, 0640);
	refuse(in_dir("file:", "it's $(a); b"), 4 * M, IVS_REGION_E_OTHER_SIZE,
	       "/it'\\''s $(a); b'");
	refuse(in_dir("file:", "x y/z"), 4 * M, -ENOENT, "/x y'");
	memset(name, 'r', NAME_MAX);
	make_file(in_dir("", name), 8 * M, 0640);
	cr_expect_eq(ivs_region_open(in_dir("file:", name), &opts, &region, &err),
		     IVS_REGION_E_OTHER_SIZE);
	cr_expect_null(strstr(err.text, ": rm "), "%s", err.text);
}

Test(region, an_empty_file_is_extended_and_keeps_mode_and_owner)
{
	struct ivs_region *region;
	struct stat st;

	make_file(in_dir("", "r"), 0, 0664);
	region = make(in_dir("file:", "r"), M);
	cr_expect_not(ivs_region_created(region));
	cr_assert_eq(stat(in_dir("", "r"), &st), 0);
	cr_expect_eq(st.st_size, (off_t)M);
	cr_expect_eq(st.st_mode & 07777, 0664);
	ivs_region_close(region);
}

Test(region, without_a_size_it_must_exist_with_a_valid_one)
{
	refuse(in_dir("file:", "none"), 0, IVS_REGION_E_ABSENT, "does not exist");
	refuse(shm_address(), 0, IVS_REGION_E_ABSENT, "does not exist");
	refuse("memfd:", 0, IVS_REGION_E_ABSENT, "give its size");
	refuse(in_dir("dir:", "."), 0, IVS_REGION_E_ABSENT, "give its size");
	make_file(in_dir("", "empty"), 0, 0600);
	refuse(in_dir("file:", "empty"), 0, IVS_REGION_E_SIZE, "is empty");
	make_file(in_dir("", "odd"), 3 * M, 0600);
	refuse(in_dir("file:", "odd"), 0, IVS_REGION_E_SIZE, "not a power of two");
}

Test(region, only_files_are_accepted)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	cr_assert_eq(mkfifo(in_dir("", "fifo"), 0600), 0);
	refuse(in_dir("file:", "fifo"), M, IVS_REGION_E_KIND, "is not a file");
	refuse(in_dir("file:", "."), M, IVS_REGION_E_KIND, "dir:");
	refuse("file:/dev/null", M, IVS_REGION_E_KIND, "is not a file");
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", in_dir("", "sock"));
	cr_assert_eq(bind(sock, (struct sockaddr *)&addr, sizeof(addr)), 0);
	refuse(in_dir("file:", "sock"), M, IVS_REGION_E_KIND, "is not a file");
	close(sock);
	cr_assert_eq(symlink("elsewhere", in_dir("", "link")), 0);
	refuse(in_dir("file:", "link"), M, IVS_REGION_E_KIND, "symbolic link");
	cr_expect_eq(size_of(in_dir("", "elsewhere")), -1, "the link was followed");
}

Test(region, dir_creates_an_unnamed_file)
{
	char address[80];
	struct ivs_region *region;
	struct stat st;

	snprintf(address, sizeof(address), "dir:%s", dir);
	region = make(address, M);
	cr_assert_eq(fstat(ivs_region_fd(region), &st), 0);
	cr_expect_eq(st.st_nlink, 0);
	cr_expect_eq(st.st_mode & 07777, 0600);
	cr_expect_geq(reserved(region), M);
	cr_expect_str_eq(ivs_region_path(region), "");
	cr_expect_eq(ivs_region_remove(region), 0);
	cr_expect_eq(rmdir(dir), 0, "something was left in the directory");
	cr_assert_eq(mkdir(dir, 0700), 0);
	ivs_region_close(region);
}

Test(region, a_memfd_is_sealed_and_private)
{
	struct ivs_region *region = make("memfd:", M);
	int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL; /* the kernel may set more seals */
	int fd = ivs_region_fd(region);
	struct stat st;

	cr_expect(ivs_region_sealed(region));
	cr_expect_eq(fcntl(fd, F_GET_SEALS) & seals, seals);
	cr_expect_eq(ftruncate(fd, 0), -1);
	cr_expect_eq(errno, EPERM);
	cr_expect_eq(ftruncate(fd, (off_t)(2 * M)), -1);
	cr_assert_eq(fstat(fd, &st), 0);
	cr_expect_eq(st.st_mode & 0777, 0600);
	cr_expect_geq(reserved(region), M);
	ivs_region_close(region);
}

/* Mount a small file system on dir, in a new mount namespace. */
static void mount_small(const char *type, const char *options)
{
	if (getuid())
		cr_skip_test("mounting a small file system needs root");
	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		cr_skip_test("cannot create a mount namespace: %s", strerror(errno));
	if (mount("none", dir, type, 0, options))
		cr_skip_test("cannot mount %s: %s", type, strerror(errno));
}

Test(region, read_only)
{
	const char *address = in_dir("file:", "r");
	const char *path = address + strlen("file:");
	struct ivs_region *region = NULL;
	struct ivs_error err = {0};

	cr_assert_eq(ivs_region_open_read_only(address, &region, &err), IVS_REGION_E_ABSENT);
	make_file(path, M, 0444);
	cr_assert_eq(chmod(dir, 0755), 0);
	cr_assert(getuid() || !seteuid(65534));
	cr_expect_eq(ivs_region_open(address, NULL, &region, &err), -EACCES);
	cr_assert_eq(ivs_region_open_read_only(address, &region, &err), 0, "%s", err.text);
	cr_expect_eq(ivs_region_size(region), M);
	cr_expect_eq(fcntl(ivs_region_fd(region), F_GETFL) & O_ACCMODE, O_RDONLY);
	cr_expect(!ivs_region_created(region));
	ivs_region_close(region);
	cr_expect_eq(ivs_region_open_read_only("memfd:", &region, &err), IVS_REGION_E_ABSENT);
	cr_assert_eq(seteuid(getuid()), 0);
	cr_assert_eq(truncate(path, 3 * M), 0);
	cr_expect_eq(ivs_region_open_read_only(address, &region, &err), IVS_REGION_E_SIZE);
	cr_expect(strstr(err.text, "r exists with size 3M, which is not a power of two"), "%s",
		  err.text);
	cr_assert_eq(truncate(path, 0), 0);
	cr_expect_eq(ivs_region_open_read_only(address, &region, &err), IVS_REGION_E_SIZE);
}

Test(region, lack_of_memory_is_an_error_and_leaves_nothing_behind)
{
	struct statvfs before;
	struct statvfs after;

	mount_small("tmpfs", "size=1M");
	cr_assert_eq(statvfs(dir, &before), 0);
	refuse(in_dir("file:", "r"), 4 * M, IVS_REGION_E_FULL, "no room for a region of 4M");
	cr_expect_eq(size_of(in_dir("", "r")), -1);
	refuse(in_dir("dir:", "."), 4 * M, IVS_REGION_E_FULL, "no room for a region of 4M");
	make_file(in_dir("", "empty"), 0, 0600);
	refuse(in_dir("file:", "empty"), 4 * M, IVS_REGION_E_FULL, "no room");
	cr_expect_eq(size_of(in_dir("", "empty")), 0, "the file must be empty again");
	unlink(in_dir("", "empty"));
	cr_assert_eq(statvfs(dir, &after), 0);
	cr_expect_eq(before.f_bfree, after.f_bfree, "memory was left reserved");
	umount(dir);
}

Test(region, hugetlbfs_determines_the_page_size)
{
	mount_small("hugetlbfs", "pagesize=2M");
	refuse(in_dir("file:", "r"), M, IVS_REGION_E_SIZE,
	       "region size 1M is less than one page; use 2M or more");
	cr_expect_eq(size_of(in_dir("", "r")), -1);
	/* No machine has reserved this many huge pages. */
	refuse(in_dir("file:", "r"), UINT64_C(1) << 46, IVS_REGION_E_FULL, "the machine has");
	cr_expect_eq(size_of(in_dir("", "r")), -1);
	umount(dir);
}

/* The number of names in the test's directory. */
static int names_n(void)
{
	char command[128];
	FILE *pipe;
	int n = -1;

	snprintf(command, sizeof(command), "ls -A %s | wc -l", dir);
	pipe = popen(command, "re");
	cr_assert_not_null(pipe);
	cr_assert_eq(fscanf(pipe, "%d", &n), 1);
	pclose(pipe);
	return n;
}

static struct ivs_region *prepare(const char *address, const struct ivs_region_options *opts)
{
	struct ivs_region *region = NULL;
	struct ivs_error err = {0};

	cr_assert_eq(ivs_region_prepare(address, AT_FDCWD, opts, &region, &err), 0, "%s", err.text);
	return region;
}

Test(region, a_prepared_region_is_complete_before_it_has_a_name)
{
	const struct ivs_region_options opts = {M, 0640, 5, 7};
	struct ivs_region *region = prepare(in_dir("file:", "r"), &opts);
	struct stat st;

	cr_expect_eq(names_n(), 0);
	cr_assert_eq(fstat(ivs_region_fd(region), &st), 0);
	cr_expect_eq(st.st_size, (off_t)M);
	cr_expect_eq(st.st_mode & 07777, 0640);
	cr_expect_eq(st.st_uid, geteuid() ? geteuid() : 5);
	cr_expect_eq(st.st_gid, geteuid() ? getegid() : 7);
	cr_expect_geq(reserved(region), M);
	cr_expect_eq(ivs_region_publish(region, NULL), 0);
	cr_expect_eq(ivs_region_has_name(region), 1);
	cr_expect_eq(ivs_region_publish(region, NULL), -EEXIST);
	ivs_region_close(region);
	cr_expect_eq(size_of(in_dir("", "r")), (off_t)M);
}

Test(region, a_prepared_region_that_is_not_published_leaves_nothing)
{
	const struct ivs_region_options opts = {.size = M, .uid = -1, .gid = -1};

	ivs_region_close(prepare(in_dir("file:", "r"), &opts));
	cr_expect_eq(names_n(), 0);
}

Test(region, publishing_does_not_replace_a_file_unless_asked)
{
	const struct ivs_region_options opts = {.size = M, .uid = -1, .gid = -1};
	struct ivs_region *region = prepare(in_dir("file:", "r"), &opts);
	struct ivs_error err = {0};

	make_file(in_dir("", "r"), 1, 0600);
	cr_expect_eq(ivs_region_publish(region, &err), -EEXIST);
	cr_expect_not_null(strstr(err.text, "cannot create"), "%s", err.text);
	cr_expect_eq(size_of(in_dir("", "r")), 1);
	cr_expect_eq(ivs_region_publish_over(region, NULL), 0);
	cr_expect_eq(ivs_region_has_name(region), 1);
	cr_expect_eq(names_n(), 1);
	ivs_region_close(region);
}

Test(region, the_name_before_replacing_cannot_be_foreseen)
{
	const struct ivs_region_options opts = {.size = M, .uid = -1, .gid = -1};
	struct ivs_region *region = prepare(in_dir("file:", "r"), &opts);
	struct ivs_error err = {0};
	char name[64];

	make_file(in_dir("", "r"), 1, 0600);
	snprintf(name, sizeof(name), "r.new-%d", (int)getpid());
	make_file(in_dir("", name), 1, 0600);
	cr_expect_eq(ivs_region_publish_over(region, &err), 0, "%s", err.text);
	cr_expect_eq(ivs_region_has_name(region), 1);
	cr_expect_eq(names_n(), 2);
	ivs_region_close(region);
}

Test(region, the_longest_name_can_be_replaced)
{
	const struct ivs_region_options opts = {.size = M, .uid = -1, .gid = -1};
	struct ivs_error err = {0};
	struct ivs_region *region;
	char name[NAME_MAX + 1] = "";

	memset(name, 'r', NAME_MAX);
	region = prepare(in_dir("file:", name), &opts);
	make_file(in_dir("", name), 1, 0600);
	cr_expect_eq(ivs_region_publish_over(region, &err), 0, "%s", err.text);
	cr_expect_eq(names_n(), 1);
	ivs_region_close(region);
}

Test(region, a_region_that_cannot_replace_a_directory_leaves_no_other_name)
{
	const struct ivs_region_options opts = {.size = M, .uid = -1, .gid = -1};
	struct ivs_region *region = prepare(in_dir("file:", "r"), &opts);
	struct ivs_error err = {0};

	cr_assert_eq(mkdir(in_dir("", "r"), 0700), 0);
	cr_expect_eq(ivs_region_publish_over(region, &err), -EISDIR);
	cr_expect_not_null(strstr(err.text, "cannot replace"), "%s", err.text);
	cr_expect_eq(names_n(), 1);
	ivs_region_close(region);
}

Test(region, preparing_checks_what_opening_checks)
{
	static const struct {
		const char *address;
		uint64_t size;
		int result;
		const char *text;
	} cases[] = {
		{"shm:r", 3 * M, IVS_REGION_E_SIZE, "use 2M or 4M"},
		{"shm:r", 1024, IVS_REGION_E_SIZE, "use 4K or more"},
		{"shm:a/b", M, IVS_REGION_E_ADDRESS, "is a path"},
		{"other:a", M, IVS_REGION_E_ADDRESS, "use shm:NAME"},
		{"file:/none-such/r", M, -ENOENT, "mkdir -p /none-such"},
		{"file:/proc/r", M, -EOPNOTSUPP, "an unnamed file"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		const struct ivs_region_options opts = {cases[i].size, 0, -1, -1};
		struct ivs_region *region = NULL;
		struct ivs_error err = {0};

		cr_expect_eq(ivs_region_prepare(cases[i].address, AT_FDCWD, &opts, &region, &err),
			     cases[i].result, "%s: %s", cases[i].address, err.text);
		cr_expect_not_null(strstr(err.text, cases[i].text), "%s", err.text);
		cr_expect_null(region);
	}
}

Test(region, growing)
{
	struct ivs_region *region = make(in_dir("file:", "r"), M);
	struct ivs_error err = {0};

	cr_assert_eq(pwrite(ivs_region_fd(region), "kept", 4, M - 4), 4);
	cr_expect_eq(ivs_region_grow(region, 4 * M, &err), 0, "%s", err.text);
	cr_expect_eq(ivs_region_size(region), 4 * M);
	cr_expect_eq(size_of(in_dir("", "r")), (off_t)(4 * M));
	cr_expect_geq(reserved(region), 4 * M);
	cr_expect_eq(ivs_region_grow(region, UINT64_C(1) << 62, &err), IVS_REGION_E_FULL);
	cr_expect_eq(size_of(in_dir("", "r")), (off_t)(4 * M), "a failure changes nothing");
	ivs_region_close(region);
}

Test(region, path_of_an_address)
{
	struct ivs_error err = {0};
	char path[256];

	cr_expect_eq(ivs_region_find_path("shm:/a", path, sizeof(path), &err), 0);
	cr_expect_str_eq(path, "/dev/shm/a");
	cr_expect_eq(ivs_region_find_path("memfd:", path, sizeof(path), &err), 0);
	cr_expect_str_eq(path, "");
	cr_expect_eq(ivs_region_find_path("file:", path, sizeof(path), &err), IVS_REGION_E_ADDRESS);
}
