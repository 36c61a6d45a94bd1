/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/ivshmem/region_place.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/access.h"
#include "base/directory.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/parse.h"
#include "base/shell.h"
#include "base/text.h"
#include "config/escape.h"
#include "region/hugetlbfs.h"
#include "region/region.h"
#include "tools/shared/usage.h"

#define SHM_DIR "/dev/shm"
#define OTHER_BACKEND "the address names a different backend than --backend"
#define MOUNT_HUGETLBFS "mkdir -p /dev/hugepages && mount -t hugetlbfs none /dev/hugepages"

int take_backend(const char *value, enum region_backend *out)
{
	if (!strcmp(value, "shm"))
		*out = BACKEND_SHM;
	else if (!strcmp(value, "file"))
		*out = BACKEND_FILE;
	else if (!strcmp(value, "hugetlb"))
		*out = BACKEND_HUGETLB;
	else
		return usage_error("invalid backend", value, "use shm, file or hugetlb");
	return 0;
}

static int invalid(const char *region, const char *fix)
{
	char text[256];

	return usage_error("invalid address", ivs_text_shown(region, text, sizeof(text)), fix);
}

/* Write to @out the address of the region with this name in the mounted hugetlbfs. */
static int hugetlb_address(const char *name, char out[ADDRESS_LEN])
{
	char mount[PATH_MAX];

	if (!ivs_hugetlbfs_find(mount, sizeof(mount)))
		return usage_failed("no hugetlbfs is mounted: as root, " MOUNT_HUGETLBFS);
	if (snprintf(out, ADDRESS_LEN, "file:%s/%s", mount, name) >= ADDRESS_LEN)
		return invalid(name, "it is too long");
	return 0;
}

/* Write to @out the address of the region, which is in this backend unless it is an address. */
static int backend_address(const char *region, enum region_backend backend, char out[ADDRESS_LEN])
{
	int status = address_complete(region, out);

	if (!status)
		status = address_check_region(out);
	if (status || backend == BACKEND_NONE || backend == BACKEND_SHM)
		return status;
	if (address_is_name(region))
		return backend == BACKEND_HUGETLB
			       ? hugetlb_address(region, out)
			       : invalid(region, "this backend needs a path, such as /mnt/NAME");
	return strncmp(out, "shm:", 4) ? 0 : invalid(region, OTHER_BACKEND);
}

/* Split the path into the absolute path of its directory, and its last part. */
static int path_split(const char *path, char dir[PATH_MAX], char name[PATH_MAX])
{
	char cwd[PATH_MAX] = "";
	char copy[PATH_MAX];

	strcpy(copy, path);
	strcpy(name, basename(copy));
	if (!strcmp(name, "/"))
		strcpy(name, ".");
	if (*path != '/' && !getcwd(cwd, sizeof(cwd)))
		return usage_failed("cannot find the working directory: %s", strerror(errno));
	strcpy(copy, path);
	if (snprintf(dir, PATH_MAX, "%s/%s", cwd, dirname(copy)) >= PATH_MAX)
		return invalid(path, "the path is too long");
	return 0;
}

/* Open the directory. That it does not exist is an error only for some commands. */
static int place_open_directory(const char *path, struct place *out)
{
	char why[IVS_ACCESS_TEXT_LEN];
	char dir[PATH_MAX];
	char name[PATH_MAX];
	struct ivs_directory directory;
	struct ivs_error err = {0};
	int status = path_split(path, dir, name);
	int result;

	if (status)
		return status;
	result = ivs_directory_open(dir, &directory, &err);
	out->dir_fd = directory.fd;
	out->errnum = result < 0 ? -result : 0;
	if (result == -EACCES)
		return usage_failed("cannot open %s: Permission denied: %s", path,
				    ivs_access_explain(dir, X_OK, why));
	if (result && result != -ENOENT && result != -ENOTDIR)
		return usage_failed("%s", err.text);
	if (snprintf(out->path, sizeof(out->path), "%s/%s",
		     strcmp(directory.path, "/") ? directory.path : "",
		     name) >= (int)sizeof(out->path))
		return invalid(path, "the path is too long");
	return 0;
}

static int place_find_path(struct place *out)
{
	struct ivs_error err = {0};
	char path[PATH_MAX];
	const char *slash;
	int result = ivs_region_find_path(out->address, path, sizeof(path), &err);

	if (result) {
		usage_failed("%s", err.text);
		return result == IVS_REGION_E_ADDRESS ? STATUS_USAGE : STATUS_FAILED;
	}
	result = place_open_directory(path, out);
	if (result)
		return result;
	/* Owners of directories on the path chose parts of it, which end up in root's files. */
	if (!ivs_escape_valid(out->path))
		return invalid(out->path, "the name of a directory on the path, or the target of a "
					  "symbolic link, has control characters or is not UTF-8");
	slash = strrchr(out->path, '/');
	out->name = slash + 1;
	out->shm = slash == out->path + strlen(SHM_DIR) &&
		   !strncmp(out->path, SHM_DIR, strlen(SHM_DIR));
	snprintf(out->address, sizeof(out->address), "%s%s",
		 out->shm ? "shm:" : "file:", out->shm ? out->name : out->path);
	return 0;
}

int place_find(const char *region, enum region_backend backend, struct place *out)
{
	int status;

	*out = (struct place)PLACE_INIT;
	status = backend_address(region, backend, out->address);
	if (!status)
		status = place_find_path(out);
	if (!status && backend == BACKEND_SHM && !out->shm)
		return invalid(region, OTHER_BACKEND);
	return status;
}

void place_close(struct place *place)
{
	ivs_fd_close(&place->dir_fd);
}

int place_stat(const struct place *place, struct stat *st)
{
	if (place->dir_fd < 0)
		return -place->errnum;
	return fstatat(place->dir_fd, place->name, st, AT_SYMLINK_NOFOLLOW) ? -errno : 0;
}

int place_open(const struct place *place, int flags, int *fd, struct stat *st)
{
	const int wanted = flags == O_RDONLY ? R_OK : R_OK | W_OK;
	char why[IVS_ACCESS_TEXT_LEN];
	int result = place_stat(place, st);

	if (result == -ENOENT)
		return usage_failed("%s does not exist: \"ivshmem list\" shows all regions",
				    place->path);
	if (result)
		return usage_failed("cannot stat %s: %s", place->path, strerror(-result));
	if (!S_ISREG(st->st_mode))
		return usage_failed("%s is not a region, but %s", place->path,
				    ivs_file_kind(st->st_mode));
	*fd = openat(place->dir_fd, place->name, flags | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (*fd < 0 && errno == EACCES)
		return usage_failed("cannot open %s: Permission denied: %s", place->path,
				    ivs_access_explain(place->path, wanted, why));
	if (*fd < 0 || fstat(*fd, st))
		return usage_failed("cannot open %s: %s", place->path, strerror(errno));
	return 0;
}

/* Refuse /dev/kvmfrN if it is missing, or is a regular file instead of a device node. */
static int check_kvmfr(const struct place *place)
{
	const char *digits = place->name + strlen("kvmfr");
	struct stat st;

	if (strncmp(place->path, "/dev/kvmfr", 10) != 0 || !*digits ||
	    digits[strspn(digits, "0123456789")])
		return 0;
	if (place_stat(place, &st))
		return usage_failed(
			"%s does not exist: it is a device that the kvmfr module creates (modprobe "
			"kvmfr); a file of that name would take its place. To share memory without "
			"this module use the name looking-glass",
			place->path);
	if (S_ISREG(st.st_mode))
		return usage_failed("%s is a regular file, not the device of the kvmfr module: a "
				    "VM that started before the module was loaded created it. Shut "
				    "the VM down, then ivshmem remove file:%s and modprobe kvmfr",
				    place->path, place->path);
	return 0; /* opening it will report that it is a device */
}

/* Return: whether the file system on the device has this type in /proc/self/mountinfo. */
static bool mount_type_is(dev_t dev, const char *type)
{
	FILE *file = fopen("/proc/self/mountinfo", "re");
	char *line = NULL;
	size_t room = 0;
	bool is = false;

	while (file && !is && getline(&line, &room, file) > 0) {
		const char *dash = strstr(line, " - ");
		unsigned int major_n;
		unsigned int minor_n;
		size_t len = strlen(type);

		if (dash && sscanf(line, "%*u %*u %u:%u", &major_n, &minor_n) == 2 &&
		    makedev(major_n, minor_n) == dev)
			is = !strncmp(dash + 3, type, len) && dash[3 + len] == ' ';
	}
	free(line);
	if (file)
		fclose(file);
	return is;
}

static int check_hugetlb(const struct place *place, const char *dir)
{
	char mount[PATH_MAX];
	struct statfs fs;

	if (fstatfs(place->dir_fd, &fs) || fs.f_type == HUGETLBFS_MAGIC)
		return 0;
	if (ivs_hugetlbfs_find(mount, sizeof(mount)))
		return usage_failed("%s is not on a hugetlbfs, so a region there would have "
				    "ordinary pages: use a path in %s",
				    dir, mount);
	return usage_failed("%s is not on a hugetlbfs, so a region there would have ordinary "
			    "pages, and no hugetlbfs is mounted: as root, " MOUNT_HUGETLBFS,
			    dir);
}

static int directory_absent(const struct place *place, const char *dir)
{
	char command[IVS_SHELL_WORD_LEN + 16] = "";

	if (place->shm)
		return usage_failed("this system has no " SHM_DIR ", where POSIX shared memory is: "
				    "as root, mkdir " SHM_DIR " && mount -t tmpfs -o "
				    "mode=1777,nosuid,nodev shm " SHM_DIR);
	if (place->errnum != ENOENT)
		return usage_failed("cannot create %s: %s", place->path, strerror(place->errnum));
	ivs_shell_add(command, sizeof(command), ": mkdir -p ", dir, "");
	return usage_failed("cannot create %s: the directory %s does not exist%s", place->path, dir,
			    command);
}

int place_check(const struct place *place, enum region_backend backend)
{
	int status = check_kvmfr(place);
	char dir[PATH_MAX];
	struct stat st;

	if (status)
		return status;
	strcpy(dir, place->path);
	dirname(dir);
	if (place->dir_fd < 0)
		return directory_absent(place, dir);
	if (!place_stat(place, &st) && !S_ISREG(st.st_mode))
		return 0; /* opening it will report what it is */
	if (!fstat(place->dir_fd, &st) &&
	    (!strcmp(dir, "/dev") || mount_type_is(st.st_dev, "devtmpfs")))
		return usage_failed("%s would be a file among device nodes: use shm:%s, which is "
				    "in " SHM_DIR,
				    place->path, place->name);
	return backend == BACKEND_HUGETLB ? check_hugetlb(place, dir) : 0;
}

void place_advice(const struct place *place, unsigned long long size)
{
	bool container = !access("/.dockerenv", F_OK) || !access("/run/.containerenv", F_OK);
	char total_text[IVS_SIZE_TEXT_LEN];
	char size_text[IVS_SIZE_TEXT_LEN];
	unsigned long long total;
	struct statvfs fs;

	if (!place->shm || statvfs(SHM_DIR, &fs))
		return;
	total = (unsigned long long)fs.f_blocks * fs.f_frsize;
	if (!container || size <= total)
		return;
	usage_failed(SHM_DIR " of this container holds %s in all: start it with --shm-size=%s or "
			     "more",
		     ivs_size_text(total, total_text), ivs_size_text(size * 2, size_text));
}

enum place_kind place_kind(const struct place *place)
{
	struct statfs fs;

	if (place->dir_fd < 0 || fstatfs(place->dir_fd, &fs))
		return PLACE_DISK;
	if (fs.f_type == HUGETLBFS_MAGIC)
		return PLACE_HUGETLBFS;
	return fs.f_type == TMPFS_MAGIC ? PLACE_TMPFS : PLACE_DISK;
}
