/* SPDX-License-Identifier: BSD-3-Clause */
/* Which files and processes other users cannot have put in place of what they seem to be. */
#ifndef TOOLS_IVSHMEM_DOCTOR_TRUST_H
#define TOOLS_IVSHMEM_DOCTOR_TRUST_H

#include <stdbool.h>
#include <sys/types.h>

/**
 * trust_path() - whether only root and the user of this process can put another file at @path
 *
 * A command that is printed runs later, and follows links. On a file system that a user has
 * mounted, this user chooses which owners files have; such file systems are mounted nosuid. The
 * path must not contain symbolic links. It may wait for a file system: use bounded_run().
 */
bool trust_path(const char *path);

/**
 * trust_process() - find the user of a process that has no other user ids
 *
 * A program with the set-user-id bit, such as su(1), seems to belong to root, although another user
 * has started it with any arguments.
 *
 * Return: whether all user ids of the process are the same.
 */
bool trust_process(pid_t pid, uid_t *uid);

/**
 * trust_server() - whether a process whose arguments name the socket at @path can be its server: it
 * belongs to root, or to the owner of the socket
 */
bool trust_server(pid_t pid, const char *path);

#endif
