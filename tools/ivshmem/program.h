/* SPDX-License-Identifier: BSD-3-Clause */
/* The path of this program, for units that run it as root. */
#ifndef TOOLS_IVSHMEM_PROGRAM_H
#define TOOLS_IVSHMEM_PROGRAM_H

#include <limits.h>
#include <stdbool.h>

#include "ivshmem/api.h"

#define PROGRAM_WHY_LEN 400

/** program_find() - the path of this program. Return: whether it is known, and fits in a unit. */
IVS_MUST_USE bool program_find(char out[PATH_MAX]);

/**
 * program_is_safe() - whether only root can replace the program at this path: it and all
 * directories on its path belong to root, and no other user or group may write to them
 * @program: absolute, without links
 * @why:     set to the reason if it is not
 */
IVS_MUST_USE bool program_is_safe(const char *program, char why[PROGRAM_WHY_LEN]);

#endif
