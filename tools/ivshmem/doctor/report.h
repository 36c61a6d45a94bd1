/* SPDX-License-Identifier: BSD-3-Clause */
/* Prints what the doctor has found, and what its rules are. */
#ifndef TOOLS_IVSHMEM_DOCTOR_REPORT_H
#define TOOLS_IVSHMEM_DOCTOR_REPORT_H

#include <stdbool.h>

#include "doctor/rule.h"
#include "tools/ivshmem/doctor/collect.h"

/** report_findings() - print the findings as text. Return: 0, or an exit status. */
int report_findings(const struct collected *collected, const struct ivs_doctor_findings *findings);

/** report_json() - the same as JSON */
int report_json(const struct collected *collected, const struct ivs_doctor_findings *findings);

/** report_rules() - print the table of rules, as text or JSON. Return: 0, or an exit status. */
int report_rules(bool json);

/** report_rule() - print a rule in full, as text or JSON. Return: 0, or an exit status. */
int report_rule(const struct ivs_doctor_rule *rule, bool json);

#endif
