/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Open fds that a process begins with, each with a name: from its service manager (sd_listen_fds(3)),
 * or from the program that was in this process before (execve(2)).
 */
#ifndef IVS_DAEMON_INHERIT_H
#define IVS_DAEMON_INHERIT_H

#include <stdbool.h>
#include <stddef.h>

#include "ivshmem/api.h"

#define IVS_NAMED_FD_LEN 64

#define IVS_NAMED_FD_NONE (-2) /* instead of an fd: only the name is there */

/**
 * struct ivs_named_fd - an fd and what it is
 * @fd:   -1: taken; or IVS_NAMED_FD_NONE
 * @name: without space, colon and control characters
 */
struct ivs_named_fd {
	int fd;
	char name[IVS_NAMED_FD_LEN];
};

/** struct ivs_inherited - all of them, in the order of their names; all zero: none */
struct ivs_inherited {
	struct ivs_named_fd *fds;
	size_t n;
	size_t room;
};

/** ivs_inherited_add() - @fd stays the caller's if this fails. Return: 0 or -ENOMEM. */
IVS_MUST_USE int ivs_inherited_add(struct ivs_inherited *inherited, int fd, const char *name);

/**
 * ivs_inherited_from_manager() - what LISTEN_FDS names; takes it out of the environment
 *
 * What is wrong there is left out, with a line in the log.
 *
 * Return: 0 or -ENOMEM.
 */
IVS_MUST_USE int ivs_inherited_from_manager(struct ivs_inherited *inherited, struct ivs_error *err);

/** ivs_inherited_is_list() - whether ivs_inherited_pass() wrote into @fd; changes nothing */
bool ivs_inherited_is_list(int fd);

/**
 * ivs_inherited_from_program() - what ivs_inherited_pass() wrote into @list_fd, which is closed
 *
 * Return: 0, -EINVAL if it is no list, or one of fds that are not there (then none is taken), -ENOMEM.
 */
IVS_MUST_USE int ivs_inherited_from_program(struct ivs_inherited *inherited, int list_fd,
					    struct ivs_error *err);

/**
 * ivs_inherited_pass() - let all of them stay open over execve(2)
 * @list_fd: names them for ivs_inherited_from_program(); stays open, too
 *
 * Return: 0 or -errno.
 */
IVS_MUST_USE int ivs_inherited_pass(const struct ivs_inherited *inherited, int *list_fd);

/** ivs_inherited_unpass() - after ivs_inherited_pass(), when there was no execve(2): the reverse */
void ivs_inherited_unpass(const struct ivs_inherited *inherited);

/** ivs_inherited_sort() - after adding, before taking */
void ivs_inherited_sort(struct ivs_inherited *inherited);

/** ivs_inherited_take() - the fd of this name, which now is the caller's; -1 if there is none */
int ivs_inherited_take(struct ivs_inherited *inherited, const char *name);

/** ivs_inherited_close() - close what has not been taken, and free the list */
void ivs_inherited_close(struct ivs_inherited *inherited);

/** ivs_inherited_free() - free the list; its fds stay as they are */
void ivs_inherited_free(struct ivs_inherited *inherited);

#endif
