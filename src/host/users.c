/* SPDX-License-Identifier: BSD-3-Clause */
#include "host/users.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/private.h"

/* The files, sorted by inode. */
struct search {
	const struct ivs_host_file **sorted;
	size_t n;
};

static int compare_files(const void *left, const void *right)
{
	const struct ivs_host_file *const *a = left;
	const struct ivs_host_file *const *b = right;

	return (*a)->ino == (*b)->ino ? 0 : (*a)->ino < (*b)->ino ? -1 : 1;
}

/* Return: the index of the first file with this inode; search->n if there is none. */
static size_t search_first(const struct search *search, ino_t ino)
{
	size_t low = 0;
	size_t high = search->n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (search->sorted[middle]->ino < ino)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* If the device is not exact (see struct ivs_host_use), compare the names. */
static bool is_use_of(const struct ivs_host_use *use, const struct ivs_host_file *file)
{
	if (use->dev == file->dev)
		return true;
	return !use->exact && file->path && ivs_host_name_is(use->name, file->path);
}

static bool users_wanted(const void *context, const struct ivs_host_process *process,
			 const struct ivs_host_use *use)
{
	const struct search *search = context;
	size_t i = search_first(search, use->ino);

	(void)process;
	for (; i < search->n && search->sorted[i]->ino == use->ino; i++) {
		if (!use->exact || use->dev == search->sorted[i]->dev)
			return true;
	}
	return false;
}

void ivs_host_user_fill(struct ivs_host_user *user, const struct ivs_host_process *process)
{
	user->pid = process->pid;
	user->server = process->server;
	user->qemu = process->qemu;
	memcpy(user->program, process->program, sizeof(process->program));
	memcpy(user->socket, process->socket, sizeof(process->socket));
	memcpy(user->vm, process->vm.name, sizeof(process->vm.name));
}

static int users_add(struct ivs_host_users *users, const struct ivs_host_process *process,
		     const struct ivs_host_user *user)
{
	struct ivs_host_user *list = reallocarray(users->list, users->n + 1, sizeof(*users->list));

	if (!list)
		return -ENOMEM;
	users->list = list;
	list[users->n] = *user;
	ivs_host_user_fill(&list[users->n], process);
	users->n++;
	return 0;
}

static int users_take_use(struct ivs_host_users *users, const struct ivs_host_scan *scan,
			  const struct ivs_host_use *use, const struct ivs_host_file *files,
			  size_t n)
{
	int result = 0;

	for (size_t i = 0; i < n && !result; i++) {
		const struct ivs_host_user user = {
			.file = i, .maps = use->maps, .shared = use->shared, .open = use->open};

		if (files[i].ino == use->ino && is_use_of(use, &files[i]))
			result = users_add(users, &scan->processes[use->process], &user);
	}
	return result;
}

static bool vm_names(const struct ivs_host_vm *vm, const char *path)
{
	for (size_t i = 0; i < vm->memories_n; i++) {
		if (!strcmp(vm->memories[i].path, path))
			return true;
	}
	return false;
}

/* A VM that cannot be examined counts as a user of the files that its arguments name. */
static int users_take_named(struct ivs_host_users *users, const struct ivs_host_process *process,
			    const struct ivs_host_file *files, size_t n)
{
	int result = 0;

	for (size_t i = 0; process->unseen && i < n && !result; i++) {
		const struct ivs_host_user user = {.file = i, .named = true};

		if (files[i].path && vm_names(&process->vm, files[i].path))
			result = users_add(users, process, &user);
	}
	return result;
}

static int compare_users(const void *left, const void *right)
{
	const struct ivs_host_user *a = left;
	const struct ivs_host_user *b = right;

	if (a->pid != b->pid)
		return a->pid < b->pid ? -1 : 1;
	return a->file < b->file ? -1 : a->file > b->file;
}

static int users_collect(const struct ivs_host_scan *scan, const struct ivs_host_file *files,
			 size_t n, struct ivs_host_users *users)
{
	int result = 0;

	for (size_t i = 0; i < scan->uses_n && !result; i++)
		result = users_take_use(users, scan, &scan->uses[i], files, n);
	for (size_t i = 0; i < scan->processes_n && !result; i++)
		result = users_take_named(users, &scan->processes[i], files, n);
	if (!result && users->n)
		qsort(users->list, users->n, sizeof(*users->list), compare_users);
	users->unseen_n = scan->unseen_n;
	users->hidden = scan->hidden;
	return result;
}

int ivs_host_users_find(const struct ivs_host_file *files, size_t n, struct ivs_host_users *out)
{
	struct search search = {calloc(n + 1, sizeof(*search.sorted)), n};
	const struct ivs_host_filter filter = {users_wanted, &search};
	struct ivs_host_users users = {0};
	struct ivs_host_scan scan;
	int result;

	if (!search.sorted)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		search.sorted[i] = &files[i];
	qsort(search.sorted, n, sizeof(*search.sorted), compare_files);
	result = ivs_host_scan_run(&filter, &scan);
	free(search.sorted);
	if (result)
		return result;
	result = users_collect(&scan, files, n, &users);
	ivs_host_scan_deinit(&scan);
	if (result)
		ivs_host_users_deinit(&users);
	else
		*out = users;
	return result;
}

void ivs_host_users_deinit(struct ivs_host_users *users)
{
	free(users->list);
	*users = (struct ivs_host_users){0};
}

const char *ivs_host_users_text(const struct ivs_host_user *user, char out[IVS_HOST_USER_TEXT_LEN])
{
	if (*user->vm)
		snprintf(out, IVS_HOST_USER_TEXT_LEN, "VM %s (pid %d)", user->vm, (int)user->pid);
	else if (user->qemu)
		snprintf(out, IVS_HOST_USER_TEXT_LEN, "a VM without a name (pid %d)",
			 (int)user->pid);
	else
		snprintf(out, IVS_HOST_USER_TEXT_LEN, "%s%s%s (pid %d)",
			 *user->program ? user->program : "a process", *user->socket ? " at " : "",
			 user->socket, (int)user->pid);
	return out;
}

const char *ivs_host_users_unseen(unsigned int unseen_n, bool hidden,
				  char out[IVS_HOST_UNSEEN_TEXT_LEN])
{
	bool root = !geteuid();
	const char *whose = root ? "" : unseen_n == 1 ? " of another user" : " of other users";
	const char *cure = root ? "that needs CAP_SYS_PTRACE" : "run this as root";

	*out = '\0';
	if (unseen_n)
		snprintf(out, IVS_HOST_UNSEEN_TEXT_LEN, "%u process%s%s could not be examined: %s",
			 unseen_n, unseen_n == 1 ? "" : "es", whose, cure);
	else if (hidden)
		snprintf(out, IVS_HOST_UNSEEN_TEXT_LEN,
			 "/proc hides processes of other users (its mount option hidepid): %s",
			 cure);
	return out;
}
