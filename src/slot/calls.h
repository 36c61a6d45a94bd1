/* SPDX-License-Identifier: BSD-3-Clause */
/* What slots ask of the kernel, for the filter (daemon/sandbox.h). */
#ifndef IVS_SLOT_CALLS_H
#define IVS_SLOT_CALLS_H

#include "base/syscalls.h"
#include "slot/slot.h"

#define IVS_SLOT_CALLS_MAX 8

/** ivs_slot_calls - what all ask for; NULL at the end */
extern const struct ivs_syscall *const ivs_slot_calls[];

/** ivs_slot_calls_of() - add what these options need to @lists, of which @n are taken. Return: n. */
unsigned int ivs_slot_calls_of(const struct ivs_slot_options *opts,
			       const struct ivs_syscall **lists, unsigned int n);

#endif
