/* SPDX-License-Identifier: BSD-3-Clause */
/* Collects the facts about a guest and its ivshmem devices. */
#ifndef TOOLS_IVSHMEM_DOCTOR_GUEST_H
#define TOOLS_IVSHMEM_DOCTOR_GUEST_H

#include "doctor/facts.h"
#include "tools/ivshmem/doctor/scope.h"

/**
 * collect_guest() - examine the guest, if this machine has an ivshmem device or @scope names it
 *
 * Return: 0, -ENOMEM.
 */
int collect_guest(const struct scope *scope, struct ivs_doctor_facts *facts);

#endif
