/* SPDX-License-Identifier: BSD-3-Clause */
#include "doctor/server_facts.h"

const char *ivs_doctor_refusal_name(unsigned int i)
{
	static const char *const names[IVS_DOCTOR_REFUSALS_N] = {
		"not_allowed",
		"max_peers",
		"max_peers_per_user",
		"max_joins_per_user",
		"user_share",
		"no_id",
		"no_fd",
		"failed",
	};

	return names[i];
}
