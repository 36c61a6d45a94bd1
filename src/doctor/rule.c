/* SPDX-License-Identifier: BSD-3-Clause */
#include "doctor/rule.h"

#include <stdio.h>
#include <string.h>

#include "doctor/private.h"

/* In the order of the man page. */
static const struct ivs_doctor_table *const tables[] = {
	&ivs_doctor_region_rules, &ivs_doctor_vm_rules,	  &ivs_doctor_server_rules,
	&ivs_doctor_domain_rules, &ivs_doctor_host_rules, &ivs_doctor_guest_rules,
	&ivs_doctor_device_rules,
};

#define TABLES_N (sizeof(tables) / sizeof(*tables))

const struct ivs_doctor_rule *ivs_doctor_rule_at(size_t i)
{
	for (size_t at = 0; at < TABLES_N; at++) {
		if (i < tables[at]->n)
			return &tables[at]->rules[i];
		i -= tables[at]->n;
	}
	return NULL;
}

const struct ivs_doctor_rule *ivs_doctor_rule_find(const char *id)
{
	const struct ivs_doctor_rule *rule;

	for (size_t i = 0; (rule = ivs_doctor_rule_at(i)); i++) {
		if (!strcmp(rule->id, id))
			return rule;
	}
	return NULL;
}

const char *ivs_doctor_severity_name(enum ivs_doctor_severity severity)
{
	static const char *const names[] = {"note", "warning", "error"};

	return names[severity];
}

/* Apply the rules of a table to a subject. */
static void apply(const struct ivs_doctor_table *table, const struct ivs_doctor_case *at,
		  unsigned int knows, struct ivs_doctor_findings *out)
{
	for (size_t i = 0; i < table->n; i++) {
		out->rule = &table->rules[i];
		if (!(out->rule->needs & ~knows))
			out->rule->check(at, out);
	}
}

static void apply_to_guest(const struct ivs_doctor_facts *facts, struct ivs_doctor_findings *out)
{
	struct ivs_doctor_case at = {.facts = facts};

	strcpy(out->name, "this guest");
	apply(&ivs_doctor_guest_rules, &at, 0, out);
	for (size_t i = 0; i < facts->devices_n; i++) {
		at.device = &facts->devices[i];
		snprintf(out->name, sizeof(out->name), "device pci:%s", at.device->bdf);
		apply(&ivs_doctor_device_rules, &at, at.device->knows, out);
	}
}

static void apply_to_servers(const struct ivs_doctor_facts *facts, struct ivs_doctor_findings *out)
{
	struct ivs_doctor_case at = {.facts = facts};

	for (size_t i = 0; i < facts->servers_n; i++) {
		at.server = &facts->servers[i];
		if (*at.server->path)
			snprintf(out->name, sizeof(out->name), "server %s", at.server->path);
		else
			snprintf(out->name, sizeof(out->name), "server with pid %d",
				 (int)at.server->pid);
		apply(&ivs_doctor_server_rules, &at, at.server->knows, out);
	}
}

static void apply_to_vms(const struct ivs_doctor_facts *facts, struct ivs_doctor_findings *out)
{
	struct ivs_doctor_case at = {.facts = facts};

	for (size_t i = 0; i < facts->vms_n; i++) {
		const struct ivs_host_qemu *qemu = facts->vms[i].qemu;

		if (!facts->vms[i].selected)
			continue;
		at.vm = &facts->vms[i];
		snprintf(out->name, sizeof(out->name), "VM%s%s (pid %d)", *qemu->vm.name ? " " : "",
			 qemu->vm.name, (int)qemu->pid);
		apply(&ivs_doctor_vm_rules, &at, at.vm->knows, out);
	}
}

int ivs_doctor_apply(const struct ivs_doctor_facts *facts, struct ivs_doctor_findings *out)
{
	struct ivs_doctor_case at = {.facts = facts};

	*out = (struct ivs_doctor_findings){0};
	for (size_t i = 0; i < facts->regions_n; i++) {
		size_t len = strlen(strcpy(out->name, "region "));

		if (!facts->regions[i].selected)
			continue;
		at.region = &facts->regions[i];
		ivs_host_region_address(at.region->host, out->name + len, sizeof(out->name) - len);
		apply(&ivs_doctor_region_rules, &at, at.region->knows, out);
	}
	at.region = NULL;
	apply_to_servers(facts, out);
	snprintf(out->name, sizeof(out->name), "domain %s", facts->domain.name);
	apply(&ivs_doctor_domain_rules, &at, 0, out);
	apply_to_vms(facts, out);
	strcpy(out->name, "this host");
	if (facts->has_host)
		apply(&ivs_doctor_host_rules, &at, facts->host.knows, out);
	if (facts->has_guest)
		apply_to_guest(facts, out);
	return out->result;
}
