/* SPDX-License-Identifier: BSD-3-Clause */
/* The facts that have been collected. */
#ifndef TOOLS_IVSHMEM_DOCTOR_COLLECTED_H
#define TOOLS_IVSHMEM_DOCTOR_COLLECTED_H

#include "doctor/facts.h"

/**
 * struct collected - the facts, and what they point to
 * @regions_left_n: regions that were not examined, because that took too long
 * @servers_left_n: servers that were not examined, because there are too many, or because others
 *                  did not answer
 * @unseen: what could not be seen, in words; "" if everything could be seen
 */
struct collected {
	struct ivs_doctor_facts facts;
	struct ivs_host_regions regions;
	unsigned int regions_left_n;
	unsigned int servers_left_n;
	char unseen[IVS_HOST_UNSEEN_TEXT_LEN];
};

#endif
