/* SPDX-License-Identifier: BSD-3-Clause */
/* Collects the facts about a domain of libvirt, as virsh shows it. */
#ifndef TOOLS_IVSHMEM_DOCTOR_DOMAIN_H
#define TOOLS_IVSHMEM_DOCTOR_DOMAIN_H

#include "doctor/domain_facts.h"

/**
 * collect_domain() - examine the domain @name
 *
 * Return: 0, or an exit status after printing the reason.
 */
int collect_domain(const char *name, struct ivs_doctor_domain *out);

#endif
