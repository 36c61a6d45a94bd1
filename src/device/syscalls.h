/* SPDX-License-Identifier: BSD-3-Clause */
/* System calls that devices make; input to the sandbox (daemon/sandbox.h). */
#ifndef IVS_DEVICE_SYSCALLS_H
#define IVS_DEVICE_SYSCALLS_H

#include "base/syscalls.h"
#include "device/device.h"

#define IVS_DEVICE_SYSCALL_LISTS_MAX 8

/** ivs_device_syscall_lists - the lists that every device needs; the last entry is NULL */
extern const struct ivs_syscall *const ivs_device_syscall_lists[];

/**
 * ivs_device_syscall_lists_of() - append to @lists the lists that @opts needs
 * @n: number of entries that @lists already has
 *
 * Return: the new @n.
 */
unsigned int ivs_device_syscall_lists_of(const struct ivs_device_options *opts,
					 const struct ivs_syscall **lists, unsigned int n);

#endif
