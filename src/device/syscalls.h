/* SPDX-License-Identifier: BSD-3-Clause */
/* What devices ask of the kernel, for the filter (daemon/sandbox.h). */
#ifndef IVS_DEVICE_SYSCALLS_H
#define IVS_DEVICE_SYSCALLS_H

#include "base/syscalls.h"
#include "device/device.h"

#define IVS_DEVICE_SYSCALL_LISTS_MAX 8

/** ivs_device_syscall_lists - what all ask for; NULL at the end */
extern const struct ivs_syscall *const ivs_device_syscall_lists[];

/** ivs_device_syscall_lists_of() - add what these options need to @lists, of which @n are taken. Return: n. */
unsigned int ivs_device_syscall_lists_of(const struct ivs_device_options *opts,
					 const struct ivs_syscall **lists, unsigned int n);

#endif
