/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Creating a region. A new one is prepared without a name, then the files of --boot are written,
 * and then it gets its name. So no process sees the region without its size or its permissions, and
 * if this process ends before the last step, it leaves nothing behind.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/parse.h"
#include "region/region.h"
#include "tools/ivshmem/boot.h"
#include "tools/ivshmem/progress.h"
#include "tools/ivshmem/region_ops.h"
#include "tools/ivshmem/region_show.h"
#include "tools/ivshmem/signals.h"
#include "tools/shared/owners.h"
#include "tools/shared/usage.h"

#define AGAIN (-1) /* another process has created or removed the region in the meantime */
#define ROUNDS 5

/**
 * struct creation - a region that is being created
 * @opts:     options of @plan, with a mode
 * @uid:      the owner that a new region gets
 * @gid:      the group that a new region gets
 * @region:   the region
 * @in_place: whether it already has its name, because its file system does not support unnamed
 *            files
 */
struct creation {
	const struct region_plan *plan;
	struct place place;
	struct ivs_region_options opts;
	uid_t uid;
	gid_t gid;
	struct ivs_region *region;
	bool in_place;
	struct boot *boot;
};

/* Find the owner and group of a file that this process would create in the directory. */
static void creation_find_owner(struct creation *creation)
{
	const struct ivs_region_options *opts = &creation->opts;
	struct stat st;

	creation->uid = opts->uid == IVS_REGION_KEEP_ID ? geteuid() : opts->uid;
	creation->gid = opts->gid;
	if (opts->gid == IVS_REGION_KEEP_ID)
		creation->gid = !fstat(creation->place.dir_fd, &st) && st.st_mode & S_ISGID
					? st.st_gid
					: getegid();
}

static int creation_failed(const struct creation *creation, int result, const struct ivs_error *err)
{
	progress_end();
	usage_failed("%s", err->text);
	if (result == IVS_REGION_E_FULL)
		place_advice(&creation->place, creation->opts.size);
	return STATUS_FAILED;
}

static int creation_boot(struct creation *creation)
{
	const struct boot_wish wish = {
		.place = &creation->place,
		.size = creation->opts.size,
		.uid = creation->uid,
		.gid = creation->gid,
		.mode = creation->opts.mode,
	};

	if (!creation->plan->boot)
		return 0;
	return boot_install(&wish, creation->plan->root, &creation->boot);
}

static int creation_report(const struct creation *creation, const char *state, const char *text)
{
	char word[SHOW_WORD_LEN];
	char facts[SHOW_FACTS_LEN];
	struct stat st;

	progress_end();
	if (fstat(ivs_region_fd(creation->region), &st))
		return usage_failed("cannot stat %s: %s", creation->place.path, strerror(errno));
	if (creation->plan->json) {
		json_t *object = show_json(&creation->place, &st);

		json_object_set_new(
			object, "page_size",
			json_integer((json_int_t)ivs_region_page_size(creation->region)));
		json_object_set_new(object, "state", json_string(state));
		json_object_set_new(object, "boot_files", boot_json(creation->boot));
		return show_json_print(object);
	}
	printf("%s %s: %s\n", creation->place.path, text, show_facts(&st, facts));
	boot_print(creation->boot, "wrote");
	if (creation->plan->boot && place_kind(&creation->place) == PLACE_DISK)
		puts("a file on a disk still exists after a reboot, so --boot has nothing to add");
	printf("next: ivshmem config %s %s\n", creation->place.shm ? "libvirt" : "qemu",
	       show_shell_name(&creation->place, word));
	return 0;
}

/* Create the region, if possible without its name. If it has its name, signals are held. */
static int creation_prepare(struct creation *creation, sigset_t *before)
{
	struct ivs_error err = {0};
	int result;

	result = ivs_region_prepare(creation->place.address, creation->place.dir_fd,
				    &creation->opts, &creation->region, &err);
	creation->in_place = result == -EOPNOTSUPP;
	if (creation->in_place) {
		signals_hold(before);
		result = ivs_region_open_in(creation->place.address, creation->place.dir_fd,
					    &creation->opts, &creation->region, &err);
	}
	if (result == IVS_REGION_E_OTHER_SIZE && creation->in_place)
		return AGAIN;
	if (result)
		return creation_failed(creation, result, &err);
	return creation->in_place && !ivs_region_created(creation->region) ? AGAIN : 0;
}

static int creation_publish(struct creation *creation)
{
	struct ivs_error err = {0};
	int result;

	if (creation->in_place)
		return 0;
	result = ivs_region_publish(creation->region, &err);
	if (result == -EEXIST)
		return AGAIN;
	return result ? creation_failed(creation, result, &err) : 0;
}

static void creation_undo(struct creation *creation)
{
	boot_undo(creation->boot);
	if (creation->in_place && ivs_region_remove(creation->region))
		usage_failed("%s is left there", creation->place.path);
}

static int create_new(struct creation *creation)
{
	sigset_t before;
	int status;

	sigprocmask(SIG_BLOCK, NULL, &before);
	status = creation_prepare(creation, &before);
	if (!status && !creation->in_place)
		signals_hold(&before);
	if (!status)
		status = creation_boot(creation);
	if (!status)
		status = creation_publish(creation);
	if (!status && creation->in_place && signals_pending())
		status = STATUS_FAILED;
	if (status)
		creation_undo(creation);
	signals_release(&before);
	return status ? status : creation_report(creation, "created", "created");
}

/* Print the difference, and the command that fixes it, or "". */
static void print_difference(const char *what, const char *found, const char *wanted,
			     const char *command)
{
	fprintf(stderr, "  %s is %s, not %s%s%s\n", what, found, wanted, *command ? ": " : "",
		command);
}

/* If no group was requested, the group matters only if it has access. */
static bool group_differs(const struct creation *creation, const struct stat *st)
{
	return st->st_gid != creation->gid &&
	       (creation->opts.gid != IVS_REGION_KEEP_ID || creation->opts.mode & S_IRWXG);
}

static bool differs(const struct creation *creation, const struct stat *st)
{
	return (st->st_size && (uint64_t)st->st_size != creation->opts.size) ||
	       st->st_uid != creation->uid || group_differs(creation, st) ||
	       (st->st_mode & 07777) != creation->opts.mode;
}

static void print_owners(const struct creation *creation, const struct stat *st, const char *path,
			 bool trusted)
{
	char found[SHOW_OWNER_LEN];
	char wanted[SHOW_OWNER_LEN];
	char word[SHOW_WORD_LEN];
	char command[2 * SHOW_WORD_LEN];

	if (st->st_uid != creation->uid) {
		show_user(creation->uid, wanted);
		snprintf(command, sizeof(command), "%schown -h %s %s", geteuid() ? "as root, " : "",
			 show_word(wanted, word), path);
		print_difference("the owner", show_user(st->st_uid, found), wanted,
				 trusted ? command : "");
	}
	if (group_differs(creation, st)) {
		show_group(creation->gid, wanted);
		snprintf(command, sizeof(command), "chgrp -h %s %s", show_word(wanted, word), path);
		print_difference("the group", show_group(st->st_gid, found), wanted,
				 trusted ? command : "");
	}
}

static int print_differences(const struct creation *creation, const struct stat *st)
{
	bool trusted = owner_is_trusted(st->st_uid, creation->uid);
	char size_found[IVS_SIZE_TEXT_LEN];
	char size_wanted[IVS_SIZE_TEXT_LEN];
	char command[2 * SHOW_WORD_LEN];
	char name[SHOW_WORD_LEN];
	char path[SHOW_WORD_LEN];
	char found[8];
	char wanted[8];

	usage_failed("%s exists, but is not as requested:", creation->place.path);
	show_shell_name(&creation->place, name);
	show_word(creation->place.path, path);
	if (st->st_size && (uint64_t)st->st_size != creation->opts.size) {
		ivs_size_text(creation->opts.size, size_wanted);
		snprintf(command, sizeof(command), "ivshmem resize %s --size %s", name,
			 size_wanted);
		print_difference("the size", ivs_size_text((uint64_t)st->st_size, size_found),
				 size_wanted, trusted ? command : "");
	}
	print_owners(creation, st, path, trusted);
	if ((st->st_mode & 07777) != creation->opts.mode) {
		snprintf(found, sizeof(found), "%04o", (unsigned int)st->st_mode & 07777);
		snprintf(wanted, sizeof(wanted), "%04o", (unsigned int)creation->opts.mode);
		snprintf(command, sizeof(command), "chmod %s %s", wanted, path);
		print_difference("the mode", found, wanted, trusted ? command : "");
	}
	if (trusted)
		fprintf(stderr,
			"Or, when it is no longer used: ivshmem remove %s, and create it again\n",
			name);
	else
		fprintf(stderr,
			"The owner's existing mappings remain even if the owner or "
			"mode is changed:\nivshmem remove %s, and create it again\n",
			name);
	return STATUS_FAILED;
}

/* Open the existing region, which sets the size of an empty one, and reserves memory. */
static int existing_open(struct creation *creation, const struct stat *seen)
{
	struct ivs_error err = {0};
	struct stat st;
	int result = ivs_region_open_in(creation->place.address, creation->place.dir_fd,
					&creation->opts, &creation->region, &err);

	if (result)
		return creation_failed(creation, result, &err);
	if (ivs_region_created(creation->region)) {
		result = ivs_region_remove(creation->region);
		return result ? usage_failed("%s is left there", creation->place.path) : AGAIN;
	}
	if (fstat(ivs_region_fd(creation->region), &st) || !ivs_stat_same(&st, seen) ||
	    differs(creation, &st))
		return AGAIN;
	return 0;
}

static int create_existing(struct creation *creation, const struct stat *seen)
{
	sigset_t before;
	int status;

	if (S_ISREG(seen->st_mode) && differs(creation, seen))
		return print_differences(creation, seen);
	signals_hold(&before);
	status = S_ISREG(seen->st_mode) ? creation_boot(creation) : 0;
	if (!status)
		status = existing_open(creation, seen);
	if (status)
		boot_undo(creation->boot);
	signals_release(&before);
	if (status)
		return status;
	if (!seen->st_size)
		return creation_report(creation, "extended", "was empty, and now has its size");
	return creation_report(creation, "existed", "is already there");
}

/* Create the region, or compare the existing region with the plan. */
static int create_once(struct creation *creation)
{
	struct stat st;
	int status;

	if (!place_stat(&creation->place, &st))
		status = create_existing(creation, &st);
	else
		status = create_new(creation);
	ivs_region_close(creation->region);
	creation->region = NULL;
	boot_free(creation->boot);
	creation->boot = NULL;
	return status;
}

static int create(struct creation *creation)
{
	char size[IVS_SIZE_TEXT_LEN];
	char what[PATH_MAX + 64];
	int status = place_check(&creation->place, creation->plan->backend);

	if (status)
		return status;
	creation_find_owner(creation);
	snprintf(what, sizeof(what), "reserving %s for %s",
		 ivs_size_text(creation->opts.size, size), creation->place.path);
	progress_start(what);
	status = AGAIN;
	for (int round = 0; round < ROUNDS && status == AGAIN; round++)
		status = create_once(creation);
	progress_end();
	if (status == AGAIN)
		return usage_failed("another process keeps creating and removing %s",
				    creation->place.path);
	return status;
}

int region_create(const struct region_plan *plan)
{
	struct creation creation = {.plan = plan, .place = PLACE_INIT, .opts = plan->options};
	struct ivs_error err = {0};
	int status;

	if (!creation.opts.mode)
		creation.opts.mode = plan->options.gid == IVS_REGION_KEEP_ID ? 0600 : 0660;
	if (ivs_region_check_size(creation.opts.size, &err)) {
		usage_failed("%s", err.text);
		return STATUS_USAGE;
	}
	status = place_find(plan->region, plan->backend, &creation.place);
	if (!status)
		status = create(&creation);
	place_close(&creation.place);
	return status;
}
