/* SPDX-License-Identifier: BSD-3-Clause */
/* Rules about VMs whose faults cannot be made on a test machine; see rules.c. */
#include <criterion/criterion.h>
#include <string.h>

#include "doctor/rule.h"

#define PID 7

static struct ivs_host_memory memory;
static struct ivs_host_device device;
static struct ivs_host_socket server;
static struct ivs_host_user user;
static struct ivs_host_region host_region;
static struct ivs_doctor_region region;
static struct ivs_host_qemu qemu;
static struct ivs_doctor_link server_link;
static struct ivs_doctor_vm vm;
static struct ivs_doctor_facts facts;

/* A healthy VM with one region, about which everything is known. */
static void reset(void)
{
	memory = (struct ivs_host_memory){
		.id = (char *)"m",
		.path = (char *)"/dev/shm/lg",
		.size = 1 << 20,
		.shared = true,
		.ivshmem = true,
	};
	device = (struct ivs_host_device){
		.driver = (char *)"ivshmem-plain",
		.id = (char *)"",
		.memdev = (char *)"m",
		.chardev = (char *)"",
		.shm = (char *)"",
		.vectors = 1,
	};
	user = (struct ivs_host_user){.pid = PID, .maps = true, .shared = true, .qemu = true};
	host_region = (struct ivs_host_region){
		.path = (char *)"/dev/shm/lg",
		.kind = IVS_HOST_SHM,
		.known = true,
		.size = 1 << 20,
		.page_size = 4096,
		.why = IVS_HOST_USED,
		.users = &user,
		.users_n = 1,
	};
	region = (struct ivs_doctor_region){.host = &host_region, .is_safe = true};
	qemu = (struct ivs_host_qemu){
		.pid = PID,
		.vm = {.name = "win10",
		       .memories = &memory,
		       .memories_n = 1,
		       .devices = &device,
		       .devices_n = 1,
		       .ram_size = 1 << 30},
	};
	vm = (struct ivs_doctor_vm){
		.qemu = &qemu,
		.knows = ~0U,
		.selected = true,
		.named = true,
		.program = "/usr/bin/qemu-system-x86_64",
		.fds_n = 20,
		.fds_max = 1024,
		.fds_top = 4096,
		.locked_max = 8 << 20,
		.locked_top = 8 << 20,
		.has_plain = true,
		.has_doorbell = true,
		.has_vfio_user = true,
	};
	facts = (struct ivs_doctor_facts){
		.host = {.ram_len = UINT64_C(16) << 30},
		.regions = &region,
		.regions_n = 1,
		.vms = &vm,
		.vms_n = 1,
	};
}

/* Give the VM a doorbell device instead, with a server that knows the VM. */
static void make_doorbell(void)
{
	reset();
	device.driver = (char *)"ivshmem-doorbell";
	device.chardev = (char *)"c";
	qemu.vm.memories_n = 0;
	server = (struct ivs_host_socket){
		.id = (char *)"c", .path = (char *)"/run/s", .doorbell = true};
	server_link = (struct ivs_doctor_link){
		.socket = &server,
		.state = IVS_DOCTOR_LINK_LIVE,
		.runs = true,
		.answers = true,
		.lists_vm = true,
		.vectors = 1,
		.peers_n = 1,
	};
	vm.links = &server_link;
	vm.links_n = 1;
}

/* Check that exactly @rule finds something; NULL: that none does. Return: its command. */
static const char *expect(const char *rule)
{
	struct ivs_doctor_findings findings;
	static char command[IVS_DOCTOR_CURE_LEN];

	*command = '\0';
	cr_assert_eq(ivs_doctor_apply(&facts, &findings), 0);
	cr_assert_eq(findings.n, rule ? 1 : 0, "%zu findings instead of %s, first %s", findings.n,
		     rule ? rule : "none", findings.n ? findings.list->rule->id : "none");
	if (rule) {
		cr_assert_str_eq(findings.list->rule->id, rule);
		cr_assert_str_eq(findings.list->subject, "VM win10 (pid 7)");
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

Test(vm_rules, healthy)
{
	reset();
	expect(NULL);
	make_doorbell();
	expect(NULL);
}

Test(vm_rules, virtiofs)
{
	PROVES("vm-virtiofs",
	       (host_region.path = memory.path = (char *)"/dev/kvmfr0",
		qemu.vm.has_virtiofs = true),
	       qemu.vm.has_virtiofs = false);
}

Test(vm_rules, memlock)
{
	PROVES("vm-memlock", qemu.vm.locks_memory = true, vm.may_lock = true);
	PROVES("vm-memlock", qemu.vm.has_vfio = true, vm.locked_max = UINT64_MAX);
	reset();
	qemu.vm.has_vfio = true;
	cr_expect_str_eq(expect("vm-memlock"), "prlimit --pid 7 --memlock=2148532224:2148532224");
	vm.locked_top = UINT64_MAX;
	cr_expect_str_eq(expect("vm-memlock"), "prlimit --pid 7 --memlock=2148532224:");
	/* The limit must have room for the RAM and the region, and the RAM must be known. */
	vm.locked_max = (UINT64_C(1) << 30) + (1 << 20);
	expect(NULL);
	vm.locked_max--;
	expect("vm-memlock");
	qemu.vm.ram_size = 0;
	expect(NULL);
}

Test(vm_rules, apparmor)
{
	PROVES("vm-apparmor",
	       (host_region.users_n = 0, strcpy(vm.profile, "libvirt-1-2 (enforce)")),
	       host_region.users_n = 1);
	reset();
	host_region.users_n = 0;
	strcpy(vm.profile, "libvirt-1-2 (enforce)");
	cr_expect_str_eq(expect("vm-apparmor"), "ivshmem config apparmor /dev/shm/lg");
	strcpy(vm.profile, "libvirt-1-2 (complain)");
	expect(NULL);
	strcpy(vm.profile, "unconfined");
	expect(NULL);
}

/* A server that tells nothing is gone only if no process could be it. */
Test(vm_rules, server_gone)
{
	make_doorbell();
	server_link.lists_vm = false;
	expect("vm-server-gone");
	server_link.answers = false;
	expect(NULL);
	server_link.state = IVS_DOCTOR_LINK_ABSENT;
	expect(NULL);
	server_link.runs = false;
	expect("vm-server-gone");
	server_link.state = IVS_DOCTOR_LINK_UNKNOWN;
	expect(NULL);
	/* The device has been unplugged. */
	server_link.state = IVS_DOCTOR_LINK_DEAD;
	expect("vm-server-gone");
	host_region.users_n = 0;
	expect(NULL);
}

/* Without a maximum, there must be room for one more peer. */
Test(vm_rules, nofile)
{
	make_doorbell();
	vm.fds_max = 21;
	expect(NULL);
	vm.fds_max = 20;
	cr_expect_str_eq(expect("vm-nofile"), "prlimit --pid 7 --nofile=1024:");
	vm.fds_top = 20;
	cr_expect_str_eq(expect("vm-nofile"), "prlimit --pid 7 --nofile=1024:1024");
	vm.fds_max = UINT64_MAX;
	server_link.peers_max = 65536;
	expect(NULL);
}

/* A region fits if it is smaller than half of the address space. */
Test(vm_rules, phys_bits)
{
	reset();
	qemu.vm.phys_bits = 21;
	expect("vm-phys-bits");
	qemu.vm.phys_bits = 22;
	expect(NULL);
	qemu.vm.phys_bits = 64;
	expect(NULL);
}

/* A master of another region, and a VM that has no master, do not matter. */
Test(vm_rules, masters)
{
	struct ivs_host_user users[2];
	struct ivs_host_qemu qemus[2];
	struct ivs_doctor_vm vms[2];

	reset();
	device.master = true;
	users[0] = users[1] = user;
	users[1].pid = 8;
	qemus[0] = qemus[1] = qemu;
	qemus[1].pid = 8;
	vms[0] = vms[1] = vm;
	vms[0].qemu = &qemus[0];
	vms[1].qemu = &qemus[1];
	host_region.users = users;
	host_region.users_n = 2;
	facts.vms = vms;
	facts.vms_n = 2;
	expect("vm-masters");
	vms[1].selected = false;
	expect("vm-masters");
	host_region.users_n = 1;
	expect(NULL);
}

/* Facts that are not known lead to no findings. */
Test(vm_rules, unknown)
{
	reset();
	vm.has_plain = vm.has_doorbell = vm.has_vfio_user = false;
	vm.locked_max = vm.fds_max = 0;
	qemu.vm.has_vfio = true;
	strcpy(vm.profile, "libvirt-1-2 (enforce)");
	vm.knows = 0;
	expect(NULL);
	make_doorbell();
	server_link.runs = server_link.answers = false;
	server_link.state = IVS_DOCTOR_LINK_DEAD;
	vm.knows = 0;
	expect(NULL);
}
