/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The rules of "ivshmem doctor", as a table. A rule looks at the facts about one subject and says
 * what is wrong with it, why that hurts, and how to mend it. Pure.
 */
#ifndef IVS_DOCTOR_RULE_H
#define IVS_DOCTOR_RULE_H

#include "doctor/facts.h"
#include "doctor/finding.h"

/**
 * enum ivs_doctor_severity - how bad a finding is
 * @IVS_DOCTOR_NOTE:    worth knowing; does not affect the exit status
 * @IVS_DOCTOR_WARNING: works now, but fails or hurts under foreseeable conditions
 * @IVS_DOCTOR_ERROR:   does not work
 */
enum ivs_doctor_severity {
	IVS_DOCTOR_NOTE,
	IVS_DOCTOR_WARNING,
	IVS_DOCTOR_ERROR,
};

/** enum ivs_doctor_subject - what a rule is applied to, once for each */
enum ivs_doctor_subject {
	IVS_DOCTOR_REGION,
	IVS_DOCTOR_SERVER,
	IVS_DOCTOR_DOMAIN,
	IVS_DOCTOR_VM,
	IVS_DOCTOR_HOST,
	IVS_DOCTOR_GUEST,
	IVS_DOCTOR_DEVICE,
};

/**
 * struct ivs_doctor_case - a subject, and all facts
 * @region: the region, for rules about regions; otherwise NULL
 * @device: the guest's device, for rules about devices; otherwise NULL
 * @server: the server, for rules about servers; otherwise NULL
 * @vm:     the VM, for rules about VMs; otherwise NULL
 */
struct ivs_doctor_case {
	const struct ivs_doctor_facts *facts;
	const struct ivs_doctor_region *region;
	const struct ivs_doctor_device *device;
	const struct ivs_doctor_server *server;
	const struct ivs_doctor_vm *vm;
};

/**
 * struct ivs_doctor_rule - a row of the table
 * @id:       identifier, such as "region-size"
 * @needs:    enum ivs_doctor_knows: the rule is applied only if all of these are known
 * @finds:    the condition, as a sentence without a full stop
 * @why:      why it hurts
 * @cure:     how to mend it, in general; a finding has the command for its case
 * @injected: tests cannot make the fault on a plain test machine, so they make up the facts
 * @check:    call ivs_doctor_found() if the condition is true
 */
struct ivs_doctor_rule {
	const char *id;
	enum ivs_doctor_severity severity;
	enum ivs_doctor_subject subject;
	unsigned int needs;
	const char *finds;
	const char *why;
	const char *cure;
	bool injected;
	void (*check)(const struct ivs_doctor_case *at, struct ivs_doctor_findings *findings);
};

/** ivs_doctor_rule_at() - the rule at index @i of the table. Return: NULL beyond the end. */
const struct ivs_doctor_rule *ivs_doctor_rule_at(size_t i);

/** ivs_doctor_rule_find() - the rule with an identifier. Return: NULL if there is none. */
const struct ivs_doctor_rule *ivs_doctor_rule_find(const char *id);

/** ivs_doctor_severity_name() - "note", "warning", "error" */
const char *ivs_doctor_severity_name(enum ivs_doctor_severity severity);

/**
 * ivs_doctor_apply() - apply all rules to all subjects
 * @out: set; free it with ivs_doctor_findings_deinit()
 *
 * Return: 0 or -ENOMEM.
 */
IVS_MUST_USE int ivs_doctor_apply(const struct ivs_doctor_facts *facts,
				  struct ivs_doctor_findings *out);

#endif
