/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Confining a program: once all its files are open, it drops its privileges and loads a system call
 * filter.
 *
 * The filter allows the system calls in the lists that source files define (base/syscalls.h): the
 * lists of all files whose code always runs, and the lists that the caller adds depending on
 * options. Any other system call kills the process.
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
	IVS_SANDBOX_E_MORE,	 /* the filter in force allows less than the program needs */
	IVS_SANDBOX_E_USER,	 /* the user does not exist */
};

/**
 * struct ivs_sandbox_options - how to confine the program
 * @root:     new root directory; NULL: no change
 * @user:     user to become; NULL: no change
 * @filter:   whether to load the filter
 * @always:   lists of system calls that are always needed, terminated by NULL
 * @lists:    lists of system calls that depend on options, terminated by NULL
 * @names:    files to be removed when the program exits, terminated by NULL. A warning is logged
 *            for each file that the confined program cannot remove
 * @in_force: NULL, unless a confined program executed this one. Then it is the filter of that
 *            program, as ivs_sandbox_list() describes it, or "" if that program had none. Root and
 *            user have already been changed, and an identical filter is not loaded again, because
 *            the kernel limits the total length of filters
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
 * ivs_sandbox() - permanently drop privileges and load the filter
 *
 * Return: 0, IVS_SANDBOX_E_LACKS, _MORE, _USER, -errno.
 */
IVS_MUST_USE int ivs_sandbox(const struct ivs_sandbox_options *opts, struct ivs_error *err);

/** ivs_sandbox_lacks() - the reason why this build has no filter; NULL if it has one */
const char *ivs_sandbox_lacks(void);

/**
 * ivs_sandbox_list() - list what the filter allows, one line per system call and set of conditions
 * @always, @lists: as in struct ivs_sandbox_options
 * @text: set to the list, which the caller frees
 *
 * The text depends only on the arguments and the build, not on whether a filter is supported.
 *
 * Return: 0 or -ENOMEM.
 */
IVS_MUST_USE int ivs_sandbox_list(const struct ivs_syscall *const *always,
				  const struct ivs_syscall *const *lists, char **text);

/**
 * ivs_sandbox_suffices() - check that the filter @in_force allows all that @needed lists
 *
 * Both were written by ivs_sandbox_list().
 *
 * Return: 0; IVS_SANDBOX_E_MORE, and @err names the first line that is not allowed.
 */
IVS_MUST_USE int ivs_sandbox_suffices(const char *in_force, const char *needed,
				      struct ivs_error *err);

#endif
