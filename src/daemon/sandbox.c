/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/sandbox.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#ifndef IVS_NO_FILTER
#include <seccomp.h>
#endif

#include "base/error.h"
#include "daemon/log.h"
#include "daemon/privileges.h"

#define ENTRIES_MAX 512
#define LINE_LEN 160

/* The merged lists, without duplicates and without entries that an unconditional entry covers. */
struct joined {
	const struct ivs_syscall *entries[ENTRIES_MAX];
	unsigned int entries_n;
};

static bool is_unconditional(const struct ivs_syscall *call)
{
	return !call->args[0].number && !call->error;
}

static bool is_covered(const struct joined *joined, const struct ivs_syscall *call)
{
	for (unsigned int i = 0; i < joined->entries_n; i++) {
		const struct ivs_syscall *other = joined->entries[i];

		if (!strcmp(other->name, call->name) &&
		    (is_unconditional(other) ||
		     (!memcmp(other->args, call->args, sizeof(call->args)) &&
		      other->error == call->error)))
			return true;
	}
	return false;
}

/*
 * Call this first for unconditional entries, then for the others, because an unconditional entry
 * makes all others for the same system call redundant.
 */
static void join_list(struct joined *joined, const struct ivs_syscall *list, bool unconditional)
{
	for (; list->name; list++) {
		if (is_unconditional(list) == unconditional && !is_covered(joined, list) &&
		    joined->entries_n < ENTRIES_MAX)
			joined->entries[joined->entries_n++] = list;
	}
}

static int compare_names(const void *a, const void *b)
{
	const struct ivs_syscall *const *one = a;
	const struct ivs_syscall *const *other = b;

	return strcmp((*one)->name, (*other)->name);
}

/* Return: 0, or -E2BIG if there are too many entries. */
static int join_lists(struct joined *joined, const struct ivs_syscall *const *always,
		      const struct ivs_syscall *const *lists)
{
	joined->entries_n = 0;
	for (int unconditional = 1; unconditional >= 0; unconditional--) {
		for (unsigned int i = 0; always[i]; i++)
			join_list(joined, always[i], unconditional);
		for (unsigned int i = 0; lists[i]; i++)
			join_list(joined, lists[i], unconditional);
	}
	qsort(joined->entries, joined->entries_n, sizeof(*joined->entries), compare_names);
	return joined->entries_n < ENTRIES_MAX ? 0 : -E2BIG;
}

static void print_entry(FILE *file, const struct ivs_syscall *call)
{
	fputs(call->name, file);
	for (unsigned int i = 0; i < IVS_SYSCALL_ARGS_MAX && call->args[i].number; i++)
		fprintf(file, " %u&%#llx=%#llx", call->args[i].number,
			(unsigned long long)call->args[i].mask,
			(unsigned long long)call->args[i].value);
	if (call->error)
		fprintf(file, " error %d", call->error);
	fputc('\n', file);
}

static int print_joined(const struct joined *joined, char **text)
{
	size_t len;
	FILE *file;

	*text = NULL;
	file = open_memstream(text, &len);
	if (!file)
		return -ENOMEM;
	for (unsigned int i = 0; i < joined->entries_n; i++)
		print_entry(file, joined->entries[i]);
	/* If memory runs out, glibc reports success but sets no text. */
	if (!fclose(file) && *text)
		return 0;
	free(*text);
	*text = NULL;
	return -ENOMEM;
}

int ivs_sandbox_list(const struct ivs_syscall *const *always,
		     const struct ivs_syscall *const *lists, char **text)
{
	struct joined joined;
	int result;

	result = join_lists(&joined, always, lists);
	return result ? result : print_joined(&joined, text);
}

/* Return: whether a line of @text is equal to @line. */
static bool has_line(const char *text, const char *line, size_t len)
{
	while (*text) {
		size_t this_len = strcspn(text, "\n");

		if (this_len == len && !memcmp(text, line, len))
			return true;
		text += this_len + (text[this_len] == '\n');
	}
	return false;
}

int ivs_sandbox_suffices(const char *in_force, const char *needed, struct ivs_error *err)
{
	while (*needed) {
		size_t len = strcspn(needed, "\n");

		/* An entry without conditions covers all entries of the same system call. */
		if (!has_line(in_force, needed, len) &&
		    !has_line(in_force, needed, strcspn(needed, " \n")))
			return ivs_error_set(err, IVS_SANDBOX_E_MORE,
					     "the system call filter in force does not allow "
					     "\"%.*s\", which this version needs: stop the server "
					     "and start it again",
					     (int)len, needed);
		needed += len + (needed[len] == '\n');
	}
	return 0;
}

#ifdef IVS_NO_FILTER
const char *ivs_sandbox_lacks(void)
{
	return IVS_NO_FILTER;
}

static int load_filter(const struct joined *joined, struct ivs_error *err)
{
	(void)joined;
	return ivs_error_set(err, IVS_SANDBOX_E_LACKS, "no system call filter: %s", IVS_NO_FILTER);
}
#else
const char *ivs_sandbox_lacks(void)
{
	return NULL;
}

static struct scmp_arg_cmp condition_of(const struct ivs_syscall_arg *arg)
{
	if (!arg->mask)
		return (struct scmp_arg_cmp){arg->number - 1, SCMP_CMP_MASKED_EQ, 0xffffffff,
					     (scmp_datum_t)getpid()};
	return (struct scmp_arg_cmp){arg->number - 1, SCMP_CMP_MASKED_EQ, arg->mask, arg->value};
}

/* Skip system calls unknown to libseccomp or to this architecture. Return: 0 or -errno. */
static int add_rule(scmp_filter_ctx filter, const struct ivs_syscall *call)
{
	int number = seccomp_syscall_resolve_name(call->name);
	struct scmp_arg_cmp args[IVS_SYSCALL_ARGS_MAX];
	unsigned int args_n = 0;

	if (number < 0)
		return 0;
	for (; args_n < IVS_SYSCALL_ARGS_MAX && call->args[args_n].number; args_n++)
		args[args_n] = condition_of(&call->args[args_n]);
	return seccomp_rule_add_array(
		filter, call->error ? SCMP_ACT_ERRNO((uint16_t)call->error) : SCMP_ACT_ALLOW,
		number, args_n, args);
}

static int load_filter(const struct joined *joined, struct ivs_error *err)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
	const char *name = "";
	int result = filter ? 0 : -ENOMEM;

	for (unsigned int i = 0; !result && i < joined->entries_n; i++) {
		name = joined->entries[i]->name;
		result = add_rule(filter, joined->entries[i]);
	}
	if (result)
		ivs_error_errno(err, -result, "cannot create the system call filter (%s)", name);
	else
		result = seccomp_load(filter);
	if (result)
		ivs_error_errno(
			err, -result,
			"cannot load the system call filter; use --sandbox off to run without it");
	seccomp_release(filter);
	return result;
}
#endif

/* @same: set if exactly this filter is already in force. Return: 0, IVS_SANDBOX_E_MORE, -errno. */
static int compare_filter(const struct joined *joined, const char *in_force, bool *same,
			  struct ivs_error *err)
{
	char *needed;
	int result;

	*same = false;
	if (!*in_force || prctl(PR_GET_SECCOMP) != 2) /* SECCOMP_MODE_FILTER */
		return 0;
	result = print_joined(joined, &needed);
	if (result)
		return ivs_error_errno(err, -result, "cannot compare system call filters");
	result = ivs_sandbox_suffices(in_force, needed, err);
	*same = !strcmp(in_force, needed);
	free(needed);
	return result;
}

static int apply_filter(const struct ivs_sandbox_options *opts, struct ivs_error *err)
{
	struct joined joined;
	bool same = false;
	int result;

	result = join_lists(&joined, opts->always, opts->lists);
	if (result)
		return ivs_error_errno(err, -result, "too many system calls to allow");
	if (opts->in_force)
		result = compare_filter(&joined, opts->in_force, &same, err);
	if (result || same)
		return result;
	return load_filter(&joined, err);
}

static void warn_of_remains(const struct ivs_sandbox_options *opts)
{
	for (unsigned int i = 0; opts->names[i]; i++) {
		int result = ivs_privileges_may_remove(opts->names[i]);

		if (result == -ENOENT && opts->root)
			ivs_log(IVS_LOG_WARNING,
				"%s will not be removed at exit, because it is outside %s: "
				"use a path in that directory",
				opts->names[i], opts->root);
		else if (result && result != -ENOENT)
			ivs_log(IVS_LOG_WARNING,
				"%s will not be removed at exit, because user %d cannot remove "
				"it (%s): use a directory owned by that user, such as one created "
				"by install -d -o %d /run/ivshmem",
				opts->names[i], (int)geteuid(), strerrordesc_np(-result),
				(int)geteuid());
	}
}

int ivs_sandbox(const struct ivs_sandbox_options *opts, struct ivs_error *err)
{
	int result;

	result = ivs_privileges_drop(opts->in_force ? NULL : opts->root,
				     opts->in_force ? NULL : opts->user, err);
	if (result)
		return result == IVS_PRIVILEGES_E_USER ? IVS_SANDBOX_E_USER : result;
	warn_of_remains(opts);
	return opts->filter ? apply_filter(opts, err) : 0;
}
