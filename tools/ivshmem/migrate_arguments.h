/* SPDX-License-Identifier: BSD-3-Clause */
/* What the command line of a QEMU says about migration, which its monitor does not say. */
#ifndef TOOLS_IVSHMEM_MIGRATE_ARGUMENTS_H
#define TOOLS_IVSHMEM_MIGRATE_ARGUMENTS_H

#include <sys/types.h>

#include "migration/side.h"

/**
 * arguments_learn() - set @out->arguments, and the members that depend on it
 *
 * Return: whether the process is a QEMU on this host whose command line can be read.
 */
bool arguments_learn(pid_t pid, struct ivs_migration_side *out);

#endif
