/* SPDX-License-Identifier: BSD-3-Clause */
/* Collects the facts that the doctor's rules look at. Nothing is changed. */
#ifndef TOOLS_IVSHMEM_DOCTOR_COLLECT_H
#define TOOLS_IVSHMEM_DOCTOR_COLLECT_H

#include "tools/ivshmem/doctor/collected.h"
#include "tools/ivshmem/doctor/scope.h"

/**
 * collect() - collect all facts within @scope
 * @out: free it with collected_deinit(), even on failure
 *
 * Return: 0, or an exit status after printing the reason.
 */
int collect(const struct scope *scope, struct collected *out);

void collected_deinit(struct collected *collected);

#endif
