/* SPDX-License-Identifier: BSD-3-Clause */
/* Collects the facts about the host itself. */
#ifndef TOOLS_IVSHMEM_DOCTOR_HOST_H
#define TOOLS_IVSHMEM_DOCTOR_HOST_H

#include "doctor/facts.h"

/** collect_host() - examine the host */
void collect_host(struct ivs_doctor_host *host);

#endif
