/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * "ivshmem restore": the content of a region, as "ivshmem save" has saved it. The file is read
 * twice: it is checked to its end before the first byte of the region changes.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/parse.h"
#include "base/text.h"
#include "daemon/json.h"
#include "tools/ivshmem/commands.h"
#include "tools/ivshmem/image_file.h"
#include "tools/ivshmem/progress.h"
#include "tools/ivshmem/region_content.h"
#include "tools/ivshmem/region_show.h"
#include "tools/ivshmem/region_users.h"
#include "tools/ivshmem/signals.h"
#include "tools/shared/guard.h"

#define MIB ((double)(1u << 20))

/* Options without a short form */
enum { OPTION_JSON = 256, OPTION_FORCE };

static const char help_text[] =
	"usage: ivshmem restore FILE REGION [--force] [--json]\n"
	"\n"
	"Overwrites the content of a region with what \"ivshmem save\" has saved in FILE.\n"
	"The whole file is checked first. The region must exist, with the same size, and\n"
	"must not be in use. The server's roster at its end stays as it is.\n"
	"\n"
	"REGION is NAME, which means shm:NAME; PATH, which means file:PATH; or an\n"
	"address: shm:NAME, file:PATH.\n"
	"\n"
	"      --force          even while programs use the region: their memory changes\n"
	"                       while they run\n"
	"      --json           print a JSON object\n"
	"  -h, --help           print this help\n"
	"  -V, --version        print the version\n"
	"\n"
	"Example:\n"
	"  ivshmem restore /var/backups/my-region.saved my-region\n";

static const struct option options[] = {
	{"force", no_argument, NULL, OPTION_FORCE},
	{"json", no_argument, NULL, OPTION_JSON},
	{"help", no_argument, NULL, 'h'},
	{"version", no_argument, NULL, 'V'},
	{0},
};

/**
 * struct restore - a region that is being restored
 * @file:    path of the file
 * @given:   the region, as given on the command line
 * @header:  what the header of the image says
 * @sum:     checksum of the whole image
 * @end:     where the server's roster begins, which is left unchanged; if there is no roster, the
 *           region's size
 * @need:    memory that has to be added to the region
 * @hidden:  the image has content where the roster is now
 * @changed: the content of the region may have changed
 * @written: number of bytes that were not zeroes
 * @users:   processes that use the region
 */
struct restore {
	const char *file;
	const char *given;
	bool force;
	bool json;
	struct image_in in;
	struct place place;
	int fd;
	struct stat st;
	struct content content;
	struct ivs_image_header header;
	uint64_t sum;
	uint64_t end;
	uint64_t need;
	bool hidden;
	bool changed;
	uint64_t written;
	json_t *users;
};

static int take_option(void *context, int option, const char *value)
{
	struct restore *restore = context;

	(void)value;
	if (option == OPTION_FORCE)
		restore->force = true;
	else if (option == OPTION_JSON)
		restore->json = true;
	else
		return STATUS_USAGE;
	return 0;
}

static int take_operand(void *context, char *value)
{
	struct restore *restore = context;

	if (restore->given)
		return USAGE_SURPLUS;
	if (restore->file)
		restore->given = value;
	else
		restore->file = value;
	return 0;
}

/* The region does not exist, or has another size. Say how to create it. */
static int check_size(const struct restore *restore)
{
	uint64_t size = (uint64_t)restore->st.st_size;
	char word[SHOW_WORD_LEN];
	char wanted[IVS_SIZE_TEXT_LEN];
	char found[IVS_SIZE_TEXT_LEN];

	if (size == restore->header.size)
		return 0;
	ivs_size_text(restore->header.size, wanted);
	return usage_failed(
		"%s contains a region of %s, but the size of %s is %s: ivshmem resize %s --size %s",
		restore->in.place.path, wanted, restore->place.path, ivs_size_text(size, found),
		show_shell_name(&restore->place, word), wanted);
}

static int restore_open(struct restore *restore)
{
	char word[SHOW_WORD_LEN];
	char wanted[IVS_SIZE_TEXT_LEN];
	struct stat st;
	int result;
	int status = image_in_open(&restore->in, restore->file);

	if (status)
		return status;
	restore->header = *ivs_image_reader_header(restore->in.reader);
	if (place_stat(&restore->place, &st) == -ENOENT)
		return usage_failed("%s does not exist: ivshmem create %s --size %s",
				    restore->place.path, show_shell_name(&restore->place, word),
				    ivs_size_text(restore->header.size, wanted));
	status = place_open(&restore->place, O_RDWR, &restore->fd, &restore->st);
	if (!status)
		status = check_size(restore);
	if (!status)
		status = users_check(&restore->place, &restore->st, restore->fd, USERS_OVERWRITE,
				     restore->force, &restore->users);
	if (status)
		return status;
	result = content_open(restore->fd, restore->header.size, &restore->content);
	if (result)
		return usage_failed("cannot map %s: %s", restore->place.path, strerror(-result));
	restore->end = restore->header.size - content_roster_len(restore->fd, restore->header.size);
	return 0;
}

/* Note what the chunk needs, and whether a part of it cannot be restored. */
static void note_chunk(struct restore *restore, const struct ivs_image_chunk *chunk)
{
	uint64_t end = restore->end;
	size_t len = chunk->len;

	if (chunk->offset + chunk->len > end) {
		len = chunk->offset < end ? (size_t)(end - chunk->offset) : 0;
		restore->hidden |= !ivs_image_is_zero(chunk->content + len, chunk->len - len);
	}
	restore->need += content_need(&restore->content, chunk->offset, chunk->content, len);
}

/* Read the whole image. */
static int check_image(struct restore *restore)
{
	struct ivs_image_chunk chunk;
	int status;

	do {
		status = image_in_next(&restore->in, &chunk);
		if (!status && chunk.len) {
			note_chunk(restore, &chunk);
			progress_set(chunk.offset + chunk.len, restore->header.size);
		}
	} while (!status && chunk.len);
	restore->sum = ivs_image_reader_sum(restore->in.reader);
	return status;
}

static int check_room(const struct restore *restore)
{
	char size[IVS_SIZE_TEXT_LEN];
	struct statvfs fs;
	uint64_t room;

	if (restore->hidden && !restore->force) {
		usage_failed("the last %s of %s are now a server's roster, but %s has different "
			     "content for them: use --force to restore only the rest",
			     ivs_size_text(restore->header.size - restore->end, size),
			     restore->place.path, restore->in.place.path);
		return STATUS_FAILED;
	}
	/* A file system without a size limit reports 0 blocks. */
	if (!restore->need || fstatvfs(restore->fd, &fs) || !fs.f_blocks)
		return 0;
	room = (uint64_t)fs.f_bavail * fs.f_frsize;
	if (restore->need <= room)
		return 0;
	return usage_failed("no room for the content of %s: its memory is not reserved, and %.1f "
			    "MiB are needed, but only %.1f MiB are free on its file system",
			    restore->place.path, (double)restore->need / MIB, (double)room / MIB);
}

/* Wait for other processes that save or restore the region. Any reader can hold the lock. */
static int restore_lock(const struct restore *restore)
{
	int result = ivs_file_lock(restore->fd, LOCK_EX, false);

	if (result == IVS_FILE_E_BUSY && !restore->force)
		return usage_failed("another process holds the lock on %s: try again, or use "
				    "--force",
				    restore->place.path);
	if (result < 0)
		return usage_failed("cannot lock %s: %s", restore->place.path, strerror(-result));
	if (ivs_name_is_fd(restore->place.dir_fd, restore->place.name, restore->fd) != 1)
		return usage_failed("%s has been removed or replaced in the meantime: try again",
				    restore->place.path);
	return 0;
}

static int write_failed(const struct restore *restore, int result)
{
	const char *path = restore->place.path;

	if (result == CONTENT_E_SHRUNK)
		return usage_failed("%s was truncated while it was being restored", path);
	if (result == CONTENT_E_FULL)
		return usage_failed("no memory is left for %s", path);
	return usage_failed("cannot write %s: %s", path, strerror(-result));
}

/* Write a chunk, and zeroes between the previous chunk, which ends at @at, and this one. */
static int write_chunk(struct restore *restore, uint64_t at, const struct ivs_image_chunk *chunk)
{
	uint64_t offset = chunk->offset < restore->end ? chunk->offset : restore->end;
	uint64_t len = restore->end - offset < chunk->len ? restore->end - offset : chunk->len;
	int result;

	restore->changed = true;
	result = content_clear(&restore->content, at, offset);
	if (!result)
		result = content_put(&restore->content, offset, chunk->content, (size_t)len);
	restore->written += len;
	progress_set(chunk->offset + chunk->len, restore->header.size);
	return result ? write_failed(restore, result) : 0;
}

/* The file that was checked must be the file that is written. */
static int check_same(const struct restore *restore)
{
	if (ivs_image_reader_sum(restore->in.reader) == restore->sum)
		return 0;
	return usage_failed("%s changed while it was being restored", restore->in.place.path);
}

static int write_image(struct restore *restore)
{
	struct ivs_image_chunk chunk;
	uint64_t at = 0;
	int result;
	int status = image_in_rewind(&restore->in);

	if (!status && memcmp(ivs_image_reader_header(restore->in.reader), &restore->header,
			      sizeof(restore->header)) != 0)
		return usage_failed("%s has changed: nothing is restored", restore->in.place.path);
	while (!status && !(status = image_in_next(&restore->in, &chunk)) && chunk.len) {
		status = write_chunk(restore, at, &chunk);
		at = chunk.offset + chunk.len;
	}
	if (status)
		return status;
	restore->changed = true;
	result = content_clear(&restore->content, at, restore->end);
	if (result)
		return write_failed(restore, result);
	if (fsync(restore->fd) && errno != EINVAL)
		return usage_failed("cannot write %s: %s", restore->place.path, strerror(errno));
	return check_same(restore);
}

static int restore_report(const struct restore *restore)
{
	uint64_t roster_len = restore->header.size - restore->end;
	const char *name = ivs_image_reader_name(restore->in.reader);
	int64_t saved_ms = (int64_t)restore->header.saved_ms;
	char time[IVS_CLOCK_TEXT_LEN];
	char shown[IVS_IMAGE_NAME_MAX + 1];
	char size[IVS_SIZE_TEXT_LEN];

	if (restore->json) {
		json_t *object = json_pack(
			"{s:s, s:s, s:I, s:s, s:o, s:o, s:I, s:I, s:O}", "address",
			restore->place.address, "path", restore->place.path, "size",
			(json_int_t)restore->header.size, "file", restore->in.place.path,
			"saved_from", ivs_json_text(name), "saved_at", ivs_json_time(saved_ms),
			"written", (json_int_t)restore->written, "roster_size",
			(json_int_t)roster_len, "users", restore->users);

		return show_json_print(object);
	}
	printf("restored %s (%s) from %s, saved from %s at %s\n", restore->place.path,
	       ivs_size_text(restore->header.size, size), restore->in.place.path,
	       ivs_text_shown(name, shown, sizeof(shown)), ivs_clock_wall_text(saved_ms, time));
	if (roster_len)
		printf("the last %s, the server's roster, were left as they are\n",
		       ivs_size_text(roster_len, size));
	return 0;
}

static int with_progress(struct restore *restore, const char *verb, const char *path,
			 int (*work)(struct restore *restore))
{
	char what[PATH_MAX + 64];
	int status;

	snprintf(what, sizeof(what), "%s %s", verb, path);
	progress_start(what);
	status = work(restore);
	progress_end();
	return status;
}

static int restore_region(struct restore *restore)
{
	sigset_t before;
	int status = restore_open(restore);

	if (!status)
		status = with_progress(restore, "checking", restore->in.place.path, check_image);
	if (!status)
		status = check_room(restore);
	if (!status)
		status = restore_lock(restore);
	if (status)
		return status;
	/* An interruption would leave a mixture of old and restored content. */
	signals_hold(&before);
	guard_start();
	status = with_progress(restore, "restoring", restore->place.path, write_image);
	if (status && restore->changed)
		usage_failed("the content of %s is now a mixture: end the programs that use it, "
			     "and restore it again",
			     restore->place.path);
	signals_release(&before);
	return status ? status : restore_report(restore);
}

static void restore_deinit(struct restore *restore)
{
	content_close(&restore->content);
	image_in_close(&restore->in);
	ivs_fd_close(&restore->fd);
	place_close(&restore->place);
	json_decref(restore->users);
}

static int run_restore(int argc, char **argv)
{
	static const struct usage usage = {
		.help = help_text,
		.letters = "hV",
		.options = options,
		.take = take_option,
		.surplus = "a file and a region are expected",
		.operand = take_operand,
	};
	struct restore restore = {.in = IMAGE_IN_INIT, .place = PLACE_INIT, .fd = -1};
	int status = usage_parse(&usage, &restore, argc, argv);

	if (status)
		return status < 0 ? 0 : status;
	if (!restore.file || !restore.given) {
		usage_failed("no %s is given: \"%s --help\" has an example",
			     restore.file ? "region" : "file", usage_name());
		return STATUS_USAGE;
	}
	status = place_find(restore.given, BACKEND_NONE, &restore.place);
	if (!status)
		status = restore_region(&restore);
	restore_deinit(&restore);
	return status;
}

const struct command command_restore = {
	.name = "restore",
	.summary = "overwrite a region with the content that was saved in a file",
	.run = run_restore,
};
