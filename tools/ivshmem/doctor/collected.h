/* SPDX-License-Identifier: BSD-3-Clause */
/* The facts that have been collected. */
#ifndef TOOLS_IVSHMEM_DOCTOR_COLLECTED_H
#define TOOLS_IVSHMEM_DOCTOR_COLLECTED_H

#include "doctor/facts.h"

/**
 * struct collected - the facts, and what they point to
 * @unseen: what could not be seen, in words; "" if everything could be seen
 */
struct collected {
	struct ivs_doctor_facts facts;
	struct ivs_host_regions regions;
	char unseen[IVS_HOST_UNSEEN_TEXT_LEN];
};

#endif
