/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/ivshmem/image_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/access.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/file.h"
#include "tools/ivshmem/signals.h"
#include "tools/shared/usage.h"

#define TRIES 100
#define MIB (1u << 20)

/* Find the place of a file that is given by its path, which need not have a slash. */
static int file_find(const char *file, struct place *out)
{
	char address[ADDRESS_LEN];

	if (!*file || strlen(file) >= PATH_MAX)
		return usage_error("invalid file", file, "use a path, such as region.saved");
	snprintf(address, sizeof(address), "file:%s", file);
	return place_find(address, BACKEND_FILE, out);
}

/* Return: 0 if the existing file is an image or is empty, or an exit status. */
static int check_magic(const struct place *place)
{
	char magic[sizeof(IVS_IMAGE_MAGIC) - 1];
	IVS_OWNED_FD fd = openat(place->dir_fd, place->name,
				 O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : pread(fd, magic, sizeof(magic), 0);

	if (n < 0)
		return usage_failed("%s exists, but cannot be read to check whether it was "
				    "written by \"ivshmem save\": %s: remove it, or give another "
				    "path",
				    place->path, strerror(errno));
	if (n && (n < (ssize_t)sizeof(magic) || memcmp(magic, IVS_IMAGE_MAGIC, sizeof(magic)) != 0))
		return usage_failed("%s exists, and was not written by \"ivshmem save\": remove "
				    "it, or give another path",
				    place->path);
	return 0;
}

/* Refuse to replace anything but an older image. */
static int check_existing(const struct place *place, const struct stat *region)
{
	struct stat st;
	int result = place_stat(place, &st);

	if (result == -ENOENT)
		return 0;
	if (result)
		return usage_failed("cannot stat %s: %s", place->path, strerror(-result));
	if (ivs_stat_same(&st, region)) {
		usage_failed("%s is the region itself: give another path for the file",
			     place->path);
		return STATUS_USAGE;
	}
	if (!S_ISREG(st.st_mode))
		return usage_failed("%s is not a file, but %s: give another path", place->path,
				    ivs_file_kind(st.st_mode));
	return check_magic(place);
}

/* Set @name to a name that no other process can predict. */
static int make_temp_name(char name[40])
{
	uint64_t number;

	if (getrandom(&number, sizeof(number), 0) != sizeof(number))
		return -EAGAIN;
	snprintf(name, 40, ".ivshmem-%016" PRIx64, number);
	return 0;
}

/* Create a file with a temporary name. A signal must not end this process and leave it behind. */
static int open_temp(struct image_out *out)
{
	const int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;

	int result = -EEXIST;

	signals_hold(&out->before);
	for (int i = 0; i < TRIES && result == -EEXIST; i++) {
		result = make_temp_name(out->temp);
		if (result)
			break;
		out->fd = openat(out->place.dir_fd, out->temp, flags, 0600);
		result = out->fd < 0 ? -errno : 0;
	}
	if (result) {
		out->temp[0] = '\0';
		signals_release(&out->before);
	}
	return result;
}

static int out_denied(const struct image_out *out)
{
	char why[IVS_ACCESS_TEXT_LEN];
	char dir[PATH_MAX];

	strcpy(dir, out->place.path);
	return usage_failed("cannot create %s: Permission denied: %s", out->place.path,
			    ivs_access_explain(dirname(dir), W_OK | X_OK, why));
}

static int out_create(struct image_out *out)
{
	int result = 0;

	out->fd = openat(out->place.dir_fd, ".", O_WRONLY | O_TMPFILE | O_CLOEXEC, 0600);
	if (out->fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR))
		result = open_temp(out);
	else if (out->fd < 0)
		result = -errno;
	if (result == -EACCES)
		return out_denied(out);
	return result ? usage_failed("cannot create %s: %s", out->place.path, strerror(-result))
		      : 0;
}

int image_out_open(struct image_out *out, const char *file, const struct stat *region)
{
	int status = file_find(file, &out->place);

	signal(SIGXFSZ, SIG_IGN); /* write(2) fails instead: EFBIG */
	if (!status)
		status = place_check(&out->place, BACKEND_FILE);
	if (!status)
		status = check_existing(&out->place, region);
	return status ? status : out_create(out);
}

static int write_failed(const struct image_out *out, int errnum)
{
	uint64_t mib = out->len / MIB;
	struct statvfs fs;

	if (errnum == EFBIG)
		return usage_failed("cannot write %s: after %" PRIu64
				    " MiB it reached the limit on the size of files: ulimit -f",
				    out->place.path, mib);
	if (errnum == EDQUOT)
		return usage_failed("cannot write %s: after %" PRIu64
				    " MiB it reached this user's quota",
				    out->place.path, mib);
	if (errnum != ENOSPC || fstatvfs(out->fd, &fs))
		return usage_failed("cannot write %s: %s", out->place.path, strerror(errnum));
	return usage_failed("no room for %s: its file system was full after %" PRIu64
			    " MiB: free some space, or give a path on another file system",
			    out->place.path, mib);
}

int image_out_write(struct image_out *out, const uint8_t *bytes, size_t len)
{
	/* Signals are blocked while the file has a name that has to be removed. */
	if (*out->temp && signals_pending())
		return STATUS_FAILED;
	while (len) {
		ssize_t n = write(out->fd, bytes, len);

		if (n < 0 && errno != EINTR)
			return write_failed(out, errno);
		if (n > 0) {
			bytes += n;
			len -= (size_t)n;
			out->len += (uint64_t)n;
		}
	}
	return 0;
}

static int out_link(const struct image_out *out, const char *name)
{
	char self[64];

	snprintf(self, sizeof(self), "/proc/self/fd/%d", out->fd);
	return linkat(AT_FDCWD, self, out->place.dir_fd, name, AT_SYMLINK_FOLLOW) ? -errno : 0;
}

/* Give the file a temporary name, and then that of the file that it replaces. */
static int out_replace(struct image_out *out)
{
	int dir_fd = out->place.dir_fd;
	int result = *out->temp ? 0 : -EEXIST;

	for (int i = 0; i < TRIES && result == -EEXIST; i++) {
		result = make_temp_name(out->temp);
		if (!result)
			result = out_link(out, out->temp);
	}
	if (result) {
		out->temp[0] = '\0';
		return result;
	}
	if (renameat(dir_fd, out->temp, dir_fd, out->place.name)) {
		result = -errno;
		unlinkat(dir_fd, out->temp, 0);
	}
	out->temp[0] = '\0';
	return result;
}

/* Have the disk store the names, too. */
static int out_sync_directory(const struct image_out *out)
{
	IVS_OWNED_FD fd = openat(out->place.dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	/* Not all file systems support this; some directories can be written but not read. */
	return fd >= 0 && fsync(fd) && errno == EIO ? -EIO : 0;
}

int image_out_finish(struct image_out *out)
{
	bool held = *out->temp;
	sigset_t before;
	int result;

	if (fsync(out->fd))
		return write_failed(out, errno);
	if (!held)
		signals_hold(&before);
	result = held ? -EEXIST : out_link(out, out->place.name);
	if (result == -EEXIST)
		result = out_replace(out);
	signals_release(held ? &out->before : &before);
	if (!result)
		result = out_sync_directory(out);
	if (result)
		return usage_failed("cannot create %s: %s", out->place.path, strerror(-result));
	return 0;
}

void image_out_close(struct image_out *out)
{
	if (*out->temp) {
		unlinkat(out->place.dir_fd, out->temp, 0);
		out->temp[0] = '\0';
		signals_release(&out->before);
	}
	ivs_fd_close(&out->fd);
	place_close(&out->place);
}

/* Open the file for reading. It may belong to another user, and be anything. */
static int in_open_file(struct image_in *in)
{
	const struct place *place = &in->place;
	char why[IVS_ACCESS_TEXT_LEN];
	struct stat st;
	int result = place_stat(place, &st);

	if (result)
		return usage_failed("cannot open %s: %s", place->path, strerror(-result));
	if (!S_ISREG(st.st_mode))
		return usage_failed("%s is not a file, but %s", place->path,
				    ivs_file_kind(st.st_mode));
	in->fd = openat(place->dir_fd, place->name,
			O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (in->fd < 0 && errno == EACCES)
		return usage_failed("cannot open %s: Permission denied: %s", place->path,
				    ivs_access_explain(place->path, R_OK, why));
	return in->fd < 0 ? usage_failed("cannot open %s: %s", place->path, strerror(errno)) : 0;
}

static int in_failed(const struct image_in *in, const struct ivs_error *err)
{
	return usage_failed("%s cannot be restored: %s", in->place.path, err->text);
}

/* Read exactly @len bytes. Return: 0, -errno; -ENODATA if the file ends before that. */
static int in_read(const struct image_in *in, uint8_t *out, size_t len)
{
	while (len) {
		ssize_t n = read(in->fd, out, len);

		if (!n)
			return -ENODATA;
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0) {
			out += n;
			len -= (size_t)n;
		}
	}
	return 0;
}

/* Read the next piece, and pass it to the reader. */
static int in_step(struct image_in *in, size_t want)
{
	struct ivs_error err = {0};
	int result;

	if (in->room < want) {
		uint8_t *piece = realloc(in->piece, want);

		if (!piece)
			return usage_failed("out of memory");
		in->piece = piece;
		in->room = want;
	}
	result = in_read(in, in->piece, want);
	if (result == -ENODATA)
		ivs_image_reader_cut(in->reader, &err);
	else if (result)
		return usage_failed("cannot read %s: %s", in->place.path, strerror(-result));
	else
		result = ivs_image_reader_take(in->reader, in->piece, &err);
	return result ? in_failed(in, &err) : 0;
}

/* A file that is too short for a header is reported as such only if it begins like an image. */
static int in_check_magic(const struct image_in *in)
{
	const char *magic = IVS_IMAGE_MAGIC;
	struct ivs_error err = {0};
	char begin[8];
	ssize_t n = pread(in->fd, begin, sizeof(begin), 0);

	if (n < 0)
		return usage_failed("cannot read %s: %s", in->place.path, strerror(errno));
	if (n && !memcmp(begin, magic, (size_t)n))
		return 0;
	ivs_error_set(&err, 0, n ? "it was not written by \"ivshmem save\"" : "it is empty");
	return in_failed(in, &err);
}

int image_in_rewind(struct image_in *in)
{
	int status = 0;

	ivs_image_reader_free(in->reader);
	in->reader = NULL;
	if (ivs_image_reader_new(&in->reader))
		return usage_failed("out of memory");
	if (lseek(in->fd, 0, SEEK_SET))
		return usage_failed("cannot read %s: %s", in->place.path, strerror(errno));
	while (!status && !ivs_image_reader_header(in->reader))
		status = in_step(in, ivs_image_reader_want(in->reader));
	return status;
}

int image_in_open(struct image_in *in, const char *file)
{
	int status = file_find(file, &in->place);

	if (!status)
		status = in_open_file(in);
	if (!status)
		status = in_check_magic(in);
	return status ? status : image_in_rewind(in);
}

int image_in_next(struct image_in *in, struct ivs_image_chunk *out)
{
	struct ivs_error err = {0};
	int status = 0;
	uint8_t more;
	size_t want;

	*out = (struct ivs_image_chunk){0};
	while (!status && (want = ivs_image_reader_want(in->reader))) {
		status = in_step(in, want);
		if (!status && ivs_image_reader_chunk(in->reader, out))
			return 0;
	}
	if (status || in_read(in, &more, 1) == -ENODATA)
		return status;
	ivs_error_set(&err, 0, "it is damaged: bytes follow its last record");
	return in_failed(in, &err);
}

void image_in_close(struct image_in *in)
{
	ivs_image_reader_free(in->reader);
	free(in->piece);
	ivs_fd_close(&in->fd);
	place_close(&in->place);
	*in = (struct image_in)IMAGE_IN_INIT;
}
