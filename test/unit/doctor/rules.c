/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Rules whose faults cannot be made on a test machine. Each test makes up the facts, sees exactly
 * its rule, changes the facts as the cure would, and sees nothing. test_doctor_rules.py looks for
 * PROVES().
 */
#include <criterion/criterion.h>
#include <string.h>

#include "doctor/rule.h"

static struct ivs_host_region host_region;
static struct ivs_doctor_region region;
static struct ivs_doctor_facts facts;

/* A healthy host with one region, about which everything is known. */
static void reset(void)
{
	host_region = (struct ivs_host_region){
		.path = (char *)"/dev/shm/lg",
		.kind = IVS_HOST_SHM,
		.known = true,
		.size = 1 << 20,
		.page_size = 4096,
		.mode = 0660,
	};
	region = (struct ivs_doctor_region){
		.host = &host_region,
		.knows = ~0U,
		.selected = true,
		.named = true,
		.allocated = 1 << 20,
	};
	facts = (struct ivs_doctor_facts){
		.has_host = true,
		.host = {.knows = ~0U, .shm_len = 1 << 30},
		.regions = &region,
		.regions_n = 1,
	};
}

/* Check that exactly @rule finds something; NULL: that none does. */
static void expect(const char *rule)
{
	struct ivs_doctor_findings findings;

	cr_assert_eq(ivs_doctor_apply(&facts, &findings), 0);
	cr_assert_eq(findings.n, rule ? 1 : 0, "%zu findings instead of %s", findings.n,
		     rule ? rule : "none");
	if (rule) {
		cr_assert_str_eq(findings.list->rule->id, rule);
		cr_assert(*findings.list->command || *findings.list->advice);
	}
	ivs_doctor_findings_deinit(&findings);
}

#define PROVES(rule, fault, cure)                                                                  \
	do {                                                                                       \
		reset();                                                                           \
		fault;                                                                             \
		expect(rule);                                                                      \
		cure;                                                                              \
		expect(NULL);                                                                      \
	} while (0)

Test(rules, healthy)
{
	reset();
	expect(NULL);
}

Test(rules, selinux)
{
	PROVES("region-selinux", strcpy(region.label, "system_u:object_r:user_tmp_t:s0"),
	       strcpy(region.label, "system_u:object_r:svirt_tmpfs_t:s0"));
}

Test(rules, udmabuf)
{
	PROVES("udmabuf-denied",
	       (facts.host.has_udmabuf = facts.host.udmabuf_denied = true,
		strcpy(facts.host.udmabuf_why, "usermod -aG kvm user")),
	       facts.host.udmabuf_denied = false);
	PROVES("udmabuf-limit",
	       (facts.host.has_udmabuf = true, facts.host.udmabuf_max = 64 << 20,
		host_region.kind = IVS_HOST_MEMFD,
		region.allocated = host_region.size = (64 << 20) + 4096),
	       facts.host.udmabuf_max = 65 << 20);
}

/* Facts that are not known lead to no findings. */
Test(rules, unknown)
{
	reset();
	strcpy(region.label, "user_tmp_t");
	host_region.mode = 0666;
	host_region.size = 3;
	region.knows = facts.host.knows = 0;
	expect(NULL);
}

Test(rules, not_selected)
{
	reset();
	host_region.mode = 0666;
	region.selected = false;
	expect(NULL);
}
