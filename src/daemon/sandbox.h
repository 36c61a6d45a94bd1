/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A program confines itself: once everything is open it keeps its fds, and hardly any right.
 *
 * The filter allows what the lists say that stand beside the code (base/syscalls.h): those of each
 * file whose code always runs, and those that the caller adds for what it was asked for.
 * Any other system call ends the process.
 */
#ifndef IVS_DAEMON_SANDBOX_H
#define IVS_DAEMON_SANDBOX_H

#include <stdbool.h>

#include "base/syscalls.h"
#include "ivshmem/api.h"

#define IVS_SANDBOX_LISTS_MAX 16
#define IVS_SANDBOX_NAMES_MAX 65

enum ivs_sandbox_error {
	IVS_SANDBOX_E_LACKS = 1, /* this build has no filter */
	IVS_SANDBOX_E_MORE,	 /* the filter in force allows less than is needed */
	IVS_SANDBOX_E_USER,	 /* there is no such user */
};

/**
 * struct ivs_sandbox_options - how far
 * @root:     new root directory; NULL: no change
 * @user:     user to become; NULL: no change
 * @filter:   whether to load the filter
 * @always:   calls that are always made, NULL at the end
 * @lists:    calls that depend on options, NULL at the end
 * @names:    files to be removed at the end, NULL at the end: a warning for each that cannot be
 * @in_force: what ivs_sandbox_list() said in the process that exec'd us and loaded a filter. Then root
 *            and user are as they should be, and the same filter is not loaded twice: the kernel
 *            counts them all, and refuses when they become too many. NULL: there is none
 */
struct ivs_sandbox_options {
	const char *root;
	const char *user;
	bool filter;
	const struct ivs_syscall *const *always;
	const struct ivs_syscall *lists[IVS_SANDBOX_LISTS_MAX];
	const char *names[IVS_SANDBOX_NAMES_MAX + 1];
	const char *in_force;
};

/**
 * ivs_sandbox() - give up rights and load the filter; there is no way back
 *
 * Return: 0, IVS_SANDBOX_E_LACKS, _MORE, _USER, -errno.
 */
IVS_MUST_USE int ivs_sandbox(const struct ivs_sandbox_options *opts, struct ivs_error *err);

/** ivs_sandbox_lacks() - why this build has no filter, in words; NULL: it has */
const char *ivs_sandbox_lacks(void);

/**
 * ivs_sandbox_list() - what the filter allows, one line for each call and set of conditions
 * @always, @lists: as in struct ivs_sandbox_options
 * @text: to be freed
 *
 * The same in each process of the same build, whether or not it has a filter.
 *
 * Return: 0 or -ENOMEM.
 */
IVS_MUST_USE int ivs_sandbox_list(const struct ivs_syscall *const *always,
				  const struct ivs_syscall *const *lists, char **text);

/**
 * ivs_sandbox_suffices() - whether a filter that allows @in_force is enough for @needed
 *
 * Both are texts of ivs_sandbox_list().
 *
 * Return: 0; IVS_SANDBOX_E_MORE, with the first line that it does not allow.
 */
IVS_MUST_USE int ivs_sandbox_suffices(const char *in_force, const char *needed,
				      struct ivs_error *err);

#endif
