/* SPDX-License-Identifier: BSD-3-Clause */
/* "ivshmem save": the content of a region in a file. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/parse.h"
#include "daemon/json.h"
#include "image/writer.h"
#include "tools/ivshmem/commands.h"
#include "tools/ivshmem/image_file.h"
#include "tools/ivshmem/progress.h"
#include "tools/ivshmem/region_content.h"
#include "tools/ivshmem/region_show.h"
#include "tools/ivshmem/region_users.h"

#define MIB ((double)(1u << 20))

/* Options without a short form */
enum { OPTION_JSON = 256 };

static const char help_text[] =
	"usage: ivshmem save REGION FILE [--json]\n"
	"\n"
	"Saves the content of a region in a file, compressed and with checksums. Parts\n"
	"that are full of zeroes take no space. An older file is replaced once the new\n"
	"one is complete. \"ivshmem restore\" reads the file.\n"
	"\n"
	"REGION is NAME, which means shm:NAME; PATH, which means file:PATH; or an\n"
	"address: shm:NAME, file:PATH.\n"
	"\n"
	"      --json           print a JSON object\n"
	"  -h, --help           print this help\n"
	"  -V, --version        print the version\n"
	"\n"
	"What programs write while the region is saved may or may not be in the file:\n"
	"pause VMs that write to it.\n"
	"\n"
	"Example:\n"
	"  ivshmem save my-region /var/backups/my-region.saved\n";

static const struct option options[] = {
	{"json", no_argument, NULL, OPTION_JSON},
	{"help", no_argument, NULL, 'h'},
	{"version", no_argument, NULL, 'V'},
	{0},
};

/**
 * struct save - a region that is being saved
 * @given:   the region, as given on the command line
 * @file:    path of the file
 * @chunk:   a chunk of the region
 * @header:  what the header of the image says
 * @saved_n: number of chunks that the image has
 * @users:   processes that use the region
 */
struct save {
	const char *given;
	const char *file;
	bool json;
	struct place place;
	int fd;
	struct stat st;
	uint8_t *chunk;
	struct ivs_image_header header;
	struct ivs_image_writer *writer;
	struct image_out out;
	uint64_t saved_n;
	json_t *users;
};

static int take_option(void *context, int option, const char *value)
{
	struct save *save = context;

	(void)value;
	if (option != OPTION_JSON)
		return STATUS_USAGE;
	save->json = true;
	return 0;
}

static int take_operand(void *context, char *value)
{
	struct save *save = context;

	if (save->file)
		return USAGE_SURPLUS;
	if (save->given)
		save->file = value;
	else
		save->given = value;
	return 0;
}

/* Say which programs may change the region while it is saved. */
static int find_users(struct save *save)
{
	const struct ivs_host_file file = {
		.dev = save->st.st_dev,
		.ino = save->st.st_ino,
		.path = save->place.path,
	};
	char text[IVS_HOST_USER_TEXT_LEN];
	struct ivs_host_users users;
	size_t maps_n = 0;

	if (ivs_host_users_find(&file, 1, &users)) {
		save->users = json_array();
		return save->users ? 0 : usage_failed("out of memory");
	}
	save->users = users_json(&users);
	for (size_t i = 0; i < users.n; i++) {
		/* A server maps only its roster. */
		if (users.list[i].maps && !users.list[i].server && !maps_n++)
			ivs_host_users_text(&users.list[i], text);
	}
	if (maps_n > 1)
		usage_failed("note: %s and %zu other%s map %s: what they write during the save may "
			     "or may not be saved",
			     text, maps_n - 1, maps_n == 2 ? "" : "s", save->place.path);
	else if (maps_n)
		usage_failed(
			"note: %s maps %s: what it writes during the save may or may not be saved",
			text, save->place.path);
	ivs_host_users_deinit(&users);
	return save->users ? 0 : usage_failed("out of memory");
}

static int save_open(struct save *save)
{
	int status = place_open(&save->place, O_RDONLY, &save->fd, &save->st);
	int result;

	if (status)
		return status;
	if (!save->st.st_size)
		return usage_failed("%s is empty: there is nothing to save", save->place.path);
	result = ivs_file_lock(save->fd, LOCK_SH, false);
	if (result == IVS_FILE_E_BUSY)
		usage_failed("note: another process holds the lock on %s, and may be changing it",
			     save->place.path);
	else if (result)
		return usage_failed("cannot lock %s: %s", save->place.path, strerror(-result));
	save->header = (struct ivs_image_header){
		.size = (uint64_t)save->st.st_size,
		.saved_ms = (uint64_t)ivs_clock_wall_ms(),
		.roster_len = content_roster_len(save->fd, (uint64_t)save->st.st_size),
		.chunk_len = IVS_IMAGE_CHUNK_DEFAULT,
	};
	save->chunk = malloc(IVS_IMAGE_CHUNK_DEFAULT);
	return save->chunk ? 0 : usage_failed("out of memory");
}

static int save_begin(struct save *save)
{
	struct ivs_image_piece piece;
	int status = image_out_open(&save->out, save->file, &save->st);

	if (status)
		return status;
	if (ivs_image_writer_new(&save->header, save->place.address, &save->writer, &piece))
		return usage_failed("out of memory");
	return image_out_write(&save->out, piece.bytes, piece.len);
}

/* The roster belongs to the server, so it is saved as zeroes. */
static void clear_roster(struct save *save, uint64_t offset, size_t len)
{
	uint64_t roster = save->header.size - save->header.roster_len;

	if (offset + len > roster) {
		size_t from = offset < roster ? (size_t)(roster - offset) : 0;

		memset(save->chunk + from, 0, len - from);
	}
}

static int save_chunk(struct save *save, uint64_t number)
{
	uint64_t offset = number * save->header.chunk_len;
	size_t len = ivs_image_chunk_len(&save->header, number);
	struct ivs_image_piece piece;
	int result = content_read(save->fd, offset, save->chunk, len);

	if (result == CONTENT_E_SHRUNK)
		return usage_failed("%s was truncated while it was being saved: nothing is saved",
				    save->place.path);
	if (result)
		return usage_failed("cannot read %s: %s", save->place.path, strerror(-result));
	clear_roster(save, offset, len);
	piece = ivs_image_writer_add(save->writer, number, save->chunk);
	save->saved_n += piece.len != 0;
	return image_out_write(&save->out, piece.bytes, piece.len);
}

static int save_content(struct save *save)
{
	const struct ivs_image_header *header = &save->header;
	struct ivs_image_piece piece;
	uint64_t at = 0;
	int status = 0;

	while (!status && (at = content_next(save->fd, at, header->size)) < header->size) {
		uint64_t number = at / header->chunk_len;

		status = save_chunk(save, number);
		at = (number + 1) * header->chunk_len;
		progress_set(at < header->size ? at : header->size, header->size);
	}
	if (status)
		return status;
	piece = ivs_image_writer_end(save->writer);
	status = image_out_write(&save->out, piece.bytes, piece.len);
	return status ? status : image_out_finish(&save->out);
}

static int save_report(struct save *save)
{
	const struct ivs_image_header *header = &save->header;
	char size[IVS_SIZE_TEXT_LEN];

	if (save->json) {
		json_t *object = json_pack(
			"{s:s, s:s, s:I, s:s, s:I, s:I, s:I, s:I, s:I, s:o, s:O}", "address",
			save->place.address, "path", save->place.path, "size",
			(json_int_t)header->size, "file", save->out.place.path, "file_size",
			(json_int_t)save->out.len, "chunk_size", (json_int_t)header->chunk_len,
			"chunks", (json_int_t)ivs_image_chunks_n(header), "saved_chunks",
			(json_int_t)save->saved_n, "roster_size", (json_int_t)header->roster_len,
			"saved_at", ivs_json_time((int64_t)header->saved_ms), "users", save->users);

		return show_json_print(object);
	}
	printf("saved %s (%s) in %s: %.1f MiB\n", save->place.path,
	       ivs_size_text(header->size, size), save->out.place.path,
	       (double)save->out.len / MIB);
	if (header->roster_len)
		printf("the last %s, the server's roster, are not saved\n",
		       ivs_size_text(header->roster_len, size));
	return 0;
}

static int save_region(struct save *save)
{
	char what[PATH_MAX + 64];
	int status = save_open(save);

	if (!status)
		status = save_begin(save);
	if (!status)
		status = find_users(save);
	if (status)
		return status;
	snprintf(what, sizeof(what), "saving %s", save->place.path);
	progress_start(what);
	status = save_content(save);
	progress_end();
	return status ? status : save_report(save);
}

static void save_deinit(struct save *save)
{
	image_out_close(&save->out);
	ivs_image_writer_free(save->writer);
	free(save->chunk);
	ivs_fd_close(&save->fd);
	place_close(&save->place);
	json_decref(save->users);
}

static int run_save(int argc, char **argv)
{
	static const struct usage usage = {
		.help = help_text,
		.letters = "hV",
		.options = options,
		.take = take_option,
		.surplus = "a region and a file are expected",
		.operand = take_operand,
	};
	struct save save = {.place = PLACE_INIT, .fd = -1, .out = IMAGE_OUT_INIT};
	int status = usage_parse(&usage, &save, argc, argv);

	if (status)
		return status < 0 ? 0 : status;
	if (!save.given || !save.file) {
		usage_failed("no %s is given: \"%s --help\" has an example",
			     save.given ? "file" : "region", usage_name());
		return STATUS_USAGE;
	}
	status = place_find(save.given, BACKEND_NONE, &save.place);
	if (!status)
		status = save_region(&save);
	save_deinit(&save);
	return status;
}

const struct command command_save = {
	.name = "save",
	.summary = "save the content of a region in a file",
	.run = run_save,
};
