/* SPDX-License-Identifier: BSD-3-Clause */
/* The tables of rules, one for each kind of subject. */
#ifndef IVS_DOCTOR_PRIVATE_H
#define IVS_DOCTOR_PRIVATE_H

#include "doctor/rule.h"

struct ivs_doctor_table {
	const struct ivs_doctor_rule *rules;
	size_t n;
};

extern const struct ivs_doctor_table ivs_doctor_region_rules;
extern const struct ivs_doctor_table ivs_doctor_host_rules;
extern const struct ivs_doctor_table ivs_doctor_guest_rules;
extern const struct ivs_doctor_table ivs_doctor_device_rules;

#endif
