/* SPDX-License-Identifier: BSD-3-Clause */
/* Resize or remove a region. The file with its name is checked first, and again under its lock. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/access.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/parse.h"
#include "region/region.h"
#include "tools/ivshmem/boot.h"
#include "tools/ivshmem/progress.h"
#include "tools/ivshmem/region_ops.h"
#include "tools/ivshmem/region_show.h"
#include "tools/ivshmem/region_users.h"
#include "tools/ivshmem/signals.h"
#include "tools/shared/usage.h"

/**
 * struct change - an existing region that is to be changed
 * @fd:     open for reading and writing; or only a reference (O_PATH), if that is not permitted
 * @usable: whether @fd is open for reading and writing
 * @busy:   whether another process holds the lock
 * @st:     state of the region before the change
 * @region: the new file, if the old one is to be replaced
 * @boot:   the files of --boot that were changed; NULL: none
 * @users:  processes that use the region
 */
struct change {
	const struct region_plan *plan;
	struct place place;
	int fd;
	bool usable;
	bool busy;
	struct stat st;
	struct ivs_region *region;
	struct boot *boot;
	json_t *users;
};

static void change_deinit(struct change *change)
{
	place_close(&change->place);
	ivs_fd_close(&change->fd);
	ivs_region_close(change->region);
	boot_free(change->boot);
	json_decref(change->users);
}

static int change_absent(const struct change *change)
{
	return usage_failed("%s does not exist: \"ivshmem list\" shows all regions",
			    change->place.path);
}

static int change_open(struct change *change)
{
	const char *path = change->place.path;
	const char *name = change->place.name;
	int dir_fd = change->place.dir_fd;
	int result = place_stat(&change->place, &change->st);
	char why[IVS_ACCESS_TEXT_LEN];

	if (result)
		return result == -ENOENT
			       ? change_absent(change)
			       : usage_failed("cannot stat %s: %s", path, strerror(-result));
	if (!S_ISREG(change->st.st_mode))
		return usage_failed("%s is not a region, but %s", path,
				    ivs_file_kind(change->st.st_mode));
	change->fd = openat(dir_fd, name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	change->usable = change->fd >= 0;
	if (change->fd < 0 && errno == EACCES)
		change->fd = openat(dir_fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (change->fd < 0 && errno == EACCES)
		return usage_failed("cannot open %s: %s", path,
				    ivs_access_explain(path, F_OK, why));
	if (change->fd < 0 || fstat(change->fd, &change->st))
		return usage_failed("cannot open %s: %s", path, strerror(errno));
	return 0;
}

static int change_start(struct change *change, const struct region_plan *plan)
{
	int status = place_find(plan->region, plan->backend, &change->place);

	change->plan = plan;
	return status;
}

/*
 * Wait until no other process is changing the region. Any process that may read the file can hold
 * the lock, so with --force the lock is not required. Signals are not blocked here, and nothing has
 * been changed yet.
 */
static int change_lock(struct change *change)
{
	int result = change->usable ? ivs_file_lock(change->fd, LOCK_EX, false) : 0;

	change->busy = result == IVS_FILE_E_BUSY;
	if (change->busy && !change->plan->force)
		return usage_failed("another process holds the lock on %s: try again, or use "
				    "--force",
				    change->place.path);
	if (change->busy)
		usage_failed("another process holds the lock on %s", change->place.path);
	else if (result)
		return usage_failed("cannot lock %s: %s", change->place.path, strerror(-result));
	return 0;
}

/* Check that the name still refers to the region. */
static int change_check_name(const struct change *change)
{
	if (ivs_name_is_fd(change->place.dir_fd, change->place.name, change->fd) == 1)
		return 0;
	return usage_failed("%s has been removed or replaced in the meantime: try again",
			    change->place.path);
}

static int change_report(const struct change *change, json_t *object)
{
	json_object_set(object, "users", change->users);
	json_object_set_new(object, "boot_files", boot_json(change->boot));
	return show_json_print(object);
}

/* Remove the file. Between the check and unlink(2) only a rename(2) by others can intervene. */
static int remove_file(const struct change *change)
{
	char user[SHOW_OWNER_LEN];
	int status = change_check_name(change);
	int errnum;

	if (status)
		return status;
	if (!unlinkat(change->place.dir_fd, change->place.name, 0))
		return 0;
	errnum = errno;
	if (errnum == EPERM || errnum == EACCES)
		return usage_failed("cannot remove %s: %s: it belongs to %s: run this as that "
				    "user or as root",
				    change->place.path, strerror(errnum),
				    show_user(change->st.st_uid, user));
	return usage_failed("cannot remove %s: %s", change->place.path, strerror(errnum));
}

/* The region is absent, but remove any files that would create it at the next boot. */
static int remove_boot_only(struct change *change)
{
	sigset_t before;
	int status;

	signals_hold(&before);
	status = boot_uninstall(&change->place, change->plan->root, &change->boot);
	signals_release(&before);
	if (status)
		return status;
	if (!boot_changed_n(change->boot))
		return change_absent(change);
	if (change->plan->json)
		return change_report(change,
				     json_pack("{s:s, s:s, s:s}", "address", change->place.address,
					       "path", change->place.path, "state", "absent"));
	boot_print(change->boot, "removed");
	printf("%s did not exist\n", change->place.path);
	return 0;
}

static int remove_existing(struct change *change)
{
	sigset_t before;
	int status = change_open(change);
	json_t *object;

	if (!status)
		status = users_check(&change->place, &change->st, change->usable ? change->fd : -1,
				     USERS_REPLACE, change->plan->force, &change->users);
	if (!status)
		status = change_lock(change);
	if (status)
		return status;
	signals_hold(&before);
	status = boot_uninstall(&change->place, change->plan->root, &change->boot);
	if (!status)
		status = remove_file(change);
	if (status)
		boot_undo(change->boot);
	signals_release(&before);
	if (status)
		return status;
	if (change->plan->json) {
		object = show_json(&change->place, &change->st);
		json_object_set_new(object, "state", json_string("removed"));
		return change_report(change, object);
	}
	printf("removed %s\n", change->place.path);
	boot_print(change->boot, "removed");
	return 0;
}

int region_remove(const struct region_plan *plan)
{
	struct change change = {.place = PLACE_INIT, .fd = -1};
	int status = change_start(&change, plan);
	struct stat st;

	if (status) {
		change_deinit(&change);
		return status;
	}
	if (place_stat(&change.place, &st) == -ENOENT)
		status = remove_boot_only(&change);
	else
		status = remove_existing(&change);
	change_deinit(&change);
	return status;
}

static void on_signal(int number)
{
	(void)number; /* its arrival interrupts fallocate(2) */
}

/* Let a signal interrupt ivs_region_grow(), which then restores the size. */
static int grow_interruptibly(struct ivs_region *region, uint64_t size, struct ivs_error *err)
{
	const struct sigaction action = {.sa_handler = on_signal};
	struct sigaction before[NSIG];
	sigset_t stop;
	int result;

	sigemptyset(&stop);
	signals_add_stop(&stop);
	for (int i = 1; i < NSIG; i++) {
		if (sigismember(&stop, i) == 1)
			sigaction(i, &action, &before[i]);
	}
	sigprocmask(SIG_UNBLOCK, &stop, NULL);
	result = ivs_region_grow(region, size, err);
	sigprocmask(SIG_BLOCK, &stop, NULL);
	for (int i = 1; i < NSIG; i++) {
		if (sigismember(&stop, i) == 1)
			sigaction(i, &before[i], NULL);
	}
	return result;
}

static int resize_failed(const struct change *change, int result, const struct ivs_error *err)
{
	progress_end();
	usage_failed("%s", err->text);
	if (result == IVS_REGION_E_FULL)
		place_advice(&change->place, change->plan->options.size);
	return STATUS_FAILED;
}

static int resize_in_place(struct change *change)
{
	const struct ivs_region_former former = {.size = (uint64_t)change->st.st_size};
	struct ivs_region *region = NULL;
	struct ivs_error err = {0};
	int fd = fcntl(change->fd, F_DUPFD_CLOEXEC, 3);
	int result;

	if (fd < 0)
		return usage_failed("cannot open %s: %s", change->place.path, strerror(errno));
	result = ivs_region_adopt(change->place.address, &fd, &former, &region, &err);
	if (!result)
		result = grow_interruptibly(region, change->plan->options.size, &err);
	ivs_region_close(region);
	return result ? resize_failed(change, result, &err) : 0;
}

/* Create a file of the new size, with the same owner and mode. */
static int resize_prepare(struct change *change)
{
	const struct ivs_region_options opts = {
		.size = change->plan->options.size,
		/* Without the bits of programs and directories, which others may have set. */
		.mode = change->st.st_mode & 0777,
		.uid = change->st.st_uid == geteuid() ? IVS_REGION_KEEP_ID : change->st.st_uid,
		.gid = change->st.st_gid,
	};
	struct ivs_error err = {0};
	int result = ivs_region_prepare(change->place.address, change->place.dir_fd, &opts,
					&change->region, &err);

	if (result == -EOPNOTSUPP)
		return usage_failed("the file system of %s does not support unnamed files: use "
				    "ivshmem remove, then ivshmem create",
				    change->place.path);
	return result ? resize_failed(change, result, &err) : 0;
}

/* Put the new file in place of the old one. */
static int resize_replace(struct change *change)
{
	struct ivs_error err = {0};
	int result = ivs_region_publish_over(change->region, &err);

	return result ? resize_failed(change, result, &err) : 0;
}

/* Change the size in the files of --boot, if there are any. */
static int resize_boot(struct change *change)
{
	const struct boot_wish wish = {
		.place = &change->place,
		.size = change->plan->options.size,
		.uid = change->st.st_uid,
		.gid = change->st.st_gid,
		.mode = change->st.st_mode & 0777,
	};
	bool exists;
	int status;

	status = boot_exists(&change->place, change->plan->root, &exists);
	if (status || !exists)
		return status;
	return boot_install(&wish, change->plan->root, &change->boot);
}

static int resize_report(const struct change *change, bool replaced)
{
	char old[IVS_SIZE_TEXT_LEN];
	char facts[SHOW_FACTS_LEN];
	struct stat st;
	int result;

	progress_end();
	result = place_stat(&change->place, &st);
	if (result)
		return usage_failed("cannot stat %s: %s", change->place.path, strerror(-result));
	if (change->plan->json) {
		json_t *object = show_json(&change->place, &st);

		json_object_set_new(object, "old_size",
				    json_integer((json_int_t)change->st.st_size));
		json_object_set_new(object, "replaced", json_boolean(replaced));
		return change_report(change, object);
	}
	printf("%s: %s (formerly %s)%s\n", change->place.path, show_facts(&st, facts),
	       ivs_size_text((uint64_t)change->st.st_size, old),
	       replaced ? "; the file is a new one, full of zeroes" : "");
	boot_print(change->boot, "wrote");
	return 0;
}

static int resize(struct change *change)
{
	uint64_t size = change->plan->options.size;
	uint64_t old = (uint64_t)change->st.st_size;
	bool used = json_array_size(change->users);
	int status = size != old ? change_lock(change) : 0;
	bool replaced = size != old && (size < old || used || !change->usable || change->busy);
	sigset_t before;

	if (!status && replaced)
		status = resize_prepare(change);
	if (status)
		return status;
	signals_hold(&before);
	status = resize_boot(change);
	if (!status && size != old)
		status = change_check_name(change);
	if (!status && size != old)
		status = replaced ? resize_replace(change) : resize_in_place(change);
	if (status)
		boot_undo(change->boot);
	signals_release(&before);
	return status ? status : resize_report(change, replaced);
}

static int resize_with_progress(struct change *change)
{
	char text[IVS_SIZE_TEXT_LEN];
	char what[PATH_MAX + 64];
	int status;

	snprintf(what, sizeof(what), "reserving %s for %s",
		 ivs_size_text(change->plan->options.size, text), change->place.path);
	progress_start(what);
	status = resize(change);
	progress_end();
	return status;
}

int region_resize(const struct region_plan *plan)
{
	struct change change = {.place = PLACE_INIT, .fd = -1};
	struct ivs_error err = {0};
	int status;

	if (ivs_region_check_size(plan->options.size, &err)) {
		usage_failed("%s", err.text);
		return STATUS_USAGE;
	}
	status = change_start(&change, plan);
	if (!status)
		status = change_open(&change);
	if (!status && (uint64_t)change.st.st_size != plan->options.size)
		status = users_check(&change.place, &change.st, change.usable ? change.fd : -1,
				     USERS_REPLACE, plan->force, &change.users);
	if (!status)
		status = resize_with_progress(&change);
	change_deinit(&change);
	return status;
}
