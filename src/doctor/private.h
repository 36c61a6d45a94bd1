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
extern const struct ivs_doctor_table ivs_doctor_server_rules;
extern const struct ivs_doctor_table ivs_doctor_domain_rules;
extern const struct ivs_doctor_table ivs_doctor_vm_rules;
extern const struct ivs_doctor_table ivs_doctor_host_rules;
extern const struct ivs_doctor_table ivs_doctor_guest_rules;
extern const struct ivs_doctor_table ivs_doctor_device_rules;

/**
 * ivs_doctor_start_server() - set the command that starts a server at the socket @path
 * @name: name of its region in /dev/shm; NULL: derived from @path
 */
void ivs_doctor_start_server(struct ivs_doctor_finding *finding, const char *path,
			     const char *name);

#endif
