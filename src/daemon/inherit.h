/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Named open fds that a program inherits: from the service manager (sd_listen_fds(3)), or from the
 * program that ran in this process before execve(2).
 */
#ifndef IVS_DAEMON_INHERIT_H
#define IVS_DAEMON_INHERIT_H

#include <stdbool.h>
#include <stddef.h>

#include "ivshmem/api.h"

#define IVS_NAMED_FD_LEN 64

#define IVS_NAMED_FD_NONE (-2) /* value of @fd if the entry has only a name */

/**
 * struct ivs_named_fd - an fd and its name
 * @fd:   -1: it has been taken; IVS_NAMED_FD_NONE: the entry has only a name
 * @name: contains no spaces, colons or control characters
 */
struct ivs_named_fd {
	int fd;
	char name[IVS_NAMED_FD_LEN];
};

/** struct ivs_inherited - named fds, sorted by name; if all members are zero, the list is empty */
struct ivs_inherited {
	struct ivs_named_fd *fds;
	size_t n;
	size_t room;
};

/** ivs_inherited_add() - add an fd; on failure the caller still owns it. Return: 0 or -ENOMEM. */
IVS_MUST_USE int ivs_inherited_add(struct ivs_inherited *inherited, int fd, const char *name);

/**
 * ivs_inherited_from_manager() - take the service manager's fds, and unset LISTEN_*
 *
 * Errors in these environment variables are logged, and the affected fds are skipped.
 *
 * Return: 0 or -ENOMEM.
 */
IVS_MUST_USE int ivs_inherited_from_manager(struct ivs_inherited *inherited, struct ivs_error *err);

/** ivs_inherited_is_list() - whether @fd is a list that ivs_inherited_pass() wrote */
bool ivs_inherited_is_list(int fd);

/**
 * ivs_inherited_from_program() - take the fds that ivs_inherited_pass() listed
 * @list_fd: the list; closed by this call
 *
 * Return: 0; -EINVAL: it is not a list, or some fds are not open (then none is taken); -ENOMEM.
 */
IVS_MUST_USE int ivs_inherited_from_program(struct ivs_inherited *inherited, int list_fd,
					    struct ivs_error *err);

/**
 * ivs_inherited_pass() - keep all fds open across execve(2)
 * @list_fd: set to a list of the fds, for ivs_inherited_from_program(); is also kept open
 *
 * Return: 0 or -errno.
 */
IVS_MUST_USE int ivs_inherited_pass(const struct ivs_inherited *inherited, int *list_fd);

/** ivs_inherited_unpass() - undo ivs_inherited_pass() after execve(2) failed */
void ivs_inherited_unpass(const struct ivs_inherited *inherited);

/** ivs_inherited_sort() - sort by name; call it between ivs_inherited_add() and _take() */
void ivs_inherited_sort(struct ivs_inherited *inherited);

/** ivs_inherited_take() - take the fd called @name. Return: the fd, owned by the caller, or -1. */
int ivs_inherited_take(struct ivs_inherited *inherited, const char *name);

/** ivs_inherited_close() - close the fds that have not been taken, and free the list */
void ivs_inherited_close(struct ivs_inherited *inherited);

/** ivs_inherited_free() - free the list; its fds stay open */
void ivs_inherited_free(struct ivs_inherited *inherited);

#endif
