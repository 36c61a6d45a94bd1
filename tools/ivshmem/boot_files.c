/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/ivshmem/boot_files.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/access.h"
#include "base/fd.h"
#include "base/file.h"
#include "config/region_boot.h"
#include "tools/shared/usage.h"

#define TRIES 10

static int file_failed(const char *what, const char *path)
{
	char why[IVS_ACCESS_TEXT_LEN];

	if (errno == EACCES)
		return usage_failed("cannot %s %s: Permission denied: %s: run this as root", what,
				    path, ivs_access_explain(path, R_OK | W_OK, why));
	return usage_failed("cannot %s %s: %s", what, path, strerror(errno));
}

struct boot *boot_new(const char *root)
{
	struct boot *boot = calloc(1, sizeof(*boot));
	struct stat own;
	struct stat st;

	if (!boot) {
		usage_failed("out of memory");
		return NULL;
	}
	boot->root = root;
	boot->root_fd = open(*root ? root : "/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (boot->root_fd < 0 || fstat(boot->root_fd, &st) || stat("/", &own)) {
		usage_failed("cannot open %s: %s", *root ? root : "/", strerror(errno));
		boot_free(boot);
		return NULL;
	}
	boot->foreign = !ivs_stat_same(&st, &own);
	return boot;
}

void boot_free(struct boot *boot)
{
	for (unsigned int i = 0; boot && i < boot->files_n; i++)
		ivs_fd_close(&boot->files[i].dir_fd);
	for (unsigned int i = 0; boot && i < boot->dirs_n; i++)
		ivs_fd_close(&boot->dirs[i].parent_fd);
	if (boot)
		ivs_fd_close(&boot->root_fd);
	free(boot);
}

/* Open a directory of the system. Return: the fd, or -1. */
static int boot_open(const struct boot *boot, const char *dir)
{
	const struct open_how how = {
		.flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
		.resolve = RESOLVE_IN_ROOT,
	};
	long fd = -1;

	if (!boot->foreign)
		return openat(boot->root_fd, dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	/* EAGAIN: another process has renamed a directory in the meantime. */
	errno = EAGAIN;
	for (int i = 0; i < TRIES && fd < 0 && errno == EAGAIN; i++)
		fd = syscall(SYS_openat2, boot->root_fd, dir, &how, sizeof(how));
	return (int)fd;
}

/* Report that boot_open() has failed. */
static int boot_open_failed(const struct boot *boot, const char *dir)
{
	char path[PATH_MAX];

	if (boot->foreign && (errno == ENOSYS || errno == EPERM))
		return usage_failed("--root needs openat2(2) to keep links inside %s: "
				    "%s: use Linux 5.6 or later, and a container that permits it",
				    boot->root, strerror(errno));
	snprintf(path, sizeof(path), "%.2048s/%s", boot->root, dir);
	return file_failed("open the directory", path);
}

int boot_add(struct boot *boot, bool link, const char *dir, const char *name)
{
	struct boot_file *file = &boot->files[boot->files_n++];

	file->link = link;
	file->dir = dir;
	file->dir_fd = -1;
	if (strlen(name) > NAME_MAX - 4 || /* room for ".new" */
	    snprintf(file->path, PATH_MAX, "%s/%s/%s", boot->root, dir, name) >= PATH_MAX)
		return usage_failed("the name of the region is too long for --boot: %zu bytes",
				    strlen(name));
	file->name = strrchr(file->path, '/') + 1;
	file->dir_fd = boot_open(boot, dir);
	return file->dir_fd < 0 && errno != ENOENT ? boot_open_failed(boot, dir) : 0;
}

bool boot_has(const struct boot_file *file)
{
	struct stat st;

	return file->dir_fd >= 0 && !fstatat(file->dir_fd, file->name, &st, AT_SYMLINK_NOFOLLOW);
}

/* Read the current content of the file, or the target of the link, into @file->old. */
static int file_read(struct boot_file *file)
{
	IVS_OWNED_FD fd = -1;
	ssize_t len;

	if (file->dir_fd < 0)
		return 0;
	if (file->link) {
		len = readlinkat(file->dir_fd, file->name, file->old, sizeof(file->old) - 1);
	} else {
		fd = openat(file->dir_fd, file->name,
			    O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
		len = fd < 0 ? -1 : read(fd, file->old, sizeof(file->old) - 1);
	}
	if (len < 0)
		return errno == ENOENT ? 0 : file_failed("read", file->path);
	file->old[len] = '\0';
	if (!file->link && strncmp(file->old, IVS_REGION_BOOT_MARK, strlen(IVS_REGION_BOOT_MARK)))
		return usage_failed("%s was not made by \"ivshmem create --boot\": move it away",
				    file->path);
	return 0;
}

static int text_write(int dir_fd, const char *name, const char *text)
{
	IVS_OWNED_FD fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW,
				 0644);
	size_t len = strlen(text);
	ssize_t n = fd < 0 ? -1 : write(fd, text, len);

	if (n >= 0 && (size_t)n < len)
		errno = ENOSPC;
	return n == (ssize_t)len && !fchmod(fd, 0644) && !fsync(fd) ? 0 : -1;
}

/* Replace the file in one step. @text has the meaning that it has in struct boot_file. */
static int file_set(const struct boot_file *file, const char *text)
{
	int dir_fd = file->dir_fd;
	char name[NAME_MAX + 1];
	int result;

	if (!*text)
		return unlinkat(dir_fd, file->name, 0) && errno != ENOENT
			       ? file_failed("remove", file->path)
			       : 0;
	snprintf(name, sizeof(name), "%s.new", file->name);
	unlinkat(dir_fd, name, 0); /* a process that was killed may have left it */
	result = file->link ? symlinkat(text, dir_fd, name) : text_write(dir_fd, name, text);
	if (!result && !renameat(dir_fd, name, dir_fd, file->name))
		return 0;
	result = errno;
	unlinkat(dir_fd, name, 0);
	errno = result;
	return file_failed("write", file->path);
}

/* Create the directory @name in @parent_fd, which is called @path in messages. */
static int make_dir(struct boot *boot, int *parent_fd, const char *name, const char *path)
{
	struct boot_dir *dir = &boot->dirs[boot->dirs_n];

	if (boot->dirs_n == BOOT_DIRS_MAX)
		return usage_failed("too many directories are missing on the path to %s", path);
	if (mkdirat(*parent_fd, name, 0755))
		return file_failed("create the directory", path);
	snprintf(dir->name, sizeof(dir->name), "%s", name);
	dir->parent_fd = ivs_fd_take(parent_fd);
	boot->dirs_n++;
	return 0;
}

/* Open the directory that contains the file, creating missing directories on its path. */
static int file_make_dirs(struct boot *boot, struct boot_file *file)
{
	IVS_OWNED_FD parent_fd = boot_open(boot, ".");
	size_t len = 0;

	while (file->dir_fd < 0) {
		size_t start = len + (len > 0);
		char dir[PATH_MAX];
		IVS_OWNED_FD fd = -1;

		len = start + strcspn(file->dir + start, "/");
		snprintf(dir, sizeof(dir), "%.*s", (int)len, file->dir);
		fd = boot_open(boot, dir);
		if (fd < 0 && errno == ENOENT &&
		    make_dir(boot, &parent_fd, dir + start, file->path))
			return STATUS_FAILED;
		if (fd < 0)
			fd = boot_open(boot, dir);
		if (fd < 0)
			return boot_open_failed(boot, dir);
		ivs_fd_close(&parent_fd);
		parent_fd = ivs_fd_take(&fd);
		if (!file->dir[len])
			file->dir_fd = ivs_fd_take(&parent_fd);
	}
	return 0;
}

static int file_apply(struct boot *boot, struct boot_file *file)
{
	if (!strcmp(file->old, file->text))
		return 0;
	if (*file->text && file_make_dirs(boot, file))
		return STATUS_FAILED;
	if (file_set(file, file->text))
		return STATUS_FAILED;
	file->changed = true;
	return 0;
}

int boot_apply(struct boot *boot)
{
	int status = 0;

	for (unsigned int i = 0; !status && i < boot->files_n; i++)
		status = file_read(&boot->files[i]);
	for (unsigned int i = 0; !status && i < boot->files_n; i++)
		status = file_apply(boot, &boot->files[i]);
	return status;
}

void boot_undo(struct boot *boot)
{
	for (unsigned int i = boot ? boot->files_n : 0; i > 0; i--) {
		const struct boot_file *file = &boot->files[i - 1];

		if (file->changed && file_set(file, file->old))
			usage_failed("%s is left as it is", file->path);
	}
	for (unsigned int i = boot ? boot->dirs_n : 0; i > 0; i--) {
		const struct boot_dir *dir = &boot->dirs[i - 1];

		/* fails if another process has put files there */
		unlinkat(dir->parent_fd, dir->name, AT_REMOVEDIR);
	}
}
