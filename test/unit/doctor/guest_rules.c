/* SPDX-License-Identifier: BSD-3-Clause */
/* Rules about a guest whose faults cannot be made alone in a test guest: see rules.c. */
#include <criterion/criterion.h>
#include <string.h>

#include "doctor/rule.h"

static struct ivs_doctor_device device;
static struct ivs_doctor_facts facts;

/* A healthy guest with a doorbell device, about which everything is known. */
static void reset(void)
{
	device = (struct ivs_doctor_device){
		.knows = ~0U,
		.bdf = "0000:00:03.0",
		.driver = "ivshmem",
		.bind_ours = "modprobe ivshmem",
		.bind_vfio = "modprobe vfio-pci",
		.revision = 1,
		.memory_len = 1 << 20,
		.has_msix = true,
		.name_known = true,
		.node = "ivshmem0",
		.command = IVS_DOCTOR_PCI_MEMORY | IVS_DOCTOR_PCI_MASTER,
		.msix_n = 2,
		.msix_enabled = true,
		.vectors_n = 2,
		.has_roster = true,
		.assigned_n = 2,
	};
	facts = (struct ivs_doctor_facts){
		.has_guest = true,
		.guest = {.asked = true, .module = IVS_DOCTOR_MODULE_LOADED},
		.devices = &device,
		.devices_n = 1,
	};
}

/* Check that exactly @rule finds something; NULL: that none does. Return: its command. */
static const char *expect(const char *rule)
{
	static char command[IVS_DOCTOR_CURE_LEN];
	struct ivs_doctor_findings findings;

	*command = '\0';
	cr_assert_eq(ivs_doctor_apply(&facts, &findings), 0);
	cr_assert_eq(findings.n, rule ? 1 : 0, "%zu findings instead of %s", findings.n,
		     rule ? rule : "none");
	if (rule) {
		cr_assert_str_eq(findings.list->rule->id, rule);
		cr_assert(*findings.list->command || *findings.list->advice);
		strcpy(command, findings.list->command);
	}
	ivs_doctor_findings_deinit(&findings);
	return command;
}

#define PROVES(rule, fault, cure)                                                                  \
	do {                                                                                       \
		reset();                                                                           \
		fault;                                                                             \
		expect(rule);                                                                      \
		cure;                                                                              \
		expect(NULL);                                                                      \
	} while (0)

Test(guest_rules, healthy)
{
	reset();
	expect(NULL);
}

/* Only a device of revision 0 can have no id, and it breaks another rule. */
Test(guest_rules, id)
{
	PROVES("guest-no-id", device.position = -1, device.position = 3);
}

/* A program can map the region uncached only on a processor without write-combining. */
Test(guest_rules, uncached)
{
	PROVES("guest-uncached", device.is_uncached = true, device.is_uncached = false);
}

/* A guest runs out of interrupts only with very many devices. */
Test(guest_rules, interrupts)
{
	PROVES("guest-no-msi", device.vectors_n = 0, device.vectors_n = 2);
}

/* Only ivshmem-doorbell needs interrupts, an id and a roster page. */
Test(guest_rules, plain)
{
	reset();
	device.has_msix = device.has_roster = device.msix_enabled = false;
	device.vectors_n = device.msix_n = 0;
	device.assigned_n = -1;
	device.command = IVS_DOCTOR_PCI_MEMORY;
	expect(NULL);
}

/* Without IOMMU and without a signed module, only advice remains in a locked-down kernel. */
Test(guest_rules, locked_down)
{
	PROVES("guest-lockdown",
	       (facts.guest.is_locked_down = true, facts.guest.module = IVS_DOCTOR_MODULE_NONE,
		*device.driver = '\0'),
	       strcpy(device.driver, "ivshmem"));
	*device.driver = '\0';
	cr_assert_str_empty(expect("guest-lockdown"));
	device.has_iommu = true;
	cr_assert_str_eq(expect("guest-lockdown"), "modprobe vfio-pci");
}

/* vfio-pci maps the region uncached, which nothing can change in a locked-down kernel. */
Test(guest_rules, vfio)
{
	PROVES("guest-uncached", strcpy(device.driver, "vfio-pci"),
	       facts.guest.is_locked_down = true);
}

/* Looking Glass uses the region through a driver of its own. */
Test(guest_rules, kvmfr)
{
	PROVES("guest-wrong-driver", strcpy(device.driver, "uio_pci_generic"),
	       strcpy(device.driver, "kvmfr"));
}

/* A device that is not on a port can lack an address, too. */
Test(guest_rules, address)
{
	PROVES("guest-no-address", (device.memory_len = 0, *device.driver = '\0'),
	       (device.memory_len = 1 << 20, strcpy(device.driver, "ivshmem")));
}

/* Facts that are not known lead to no findings. */
Test(guest_rules, unknown)
{
	reset();
	device.node_absent = device.is_denied = true;
	device.command = 0;
	device.vectors_n = 0;
	device.position = -1;
	device.has_roster = false;
	device.knows = 0;
	expect(NULL);
}

/* Without --guest, a machine without a device is not a guest. */
Test(guest_rules, no_device)
{
	PROVES("guest-no-device", facts.devices_n = 0, facts.guest.asked = false);
}
