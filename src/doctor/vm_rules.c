/* SPDX-License-Identifier: BSD-3-Clause */
/* Rules about VMs: what their arguments say, compared with what the host shows. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/parse.h"
#include "doctor/private.h"

#define FDS_SPARE 64 /* fds for disks, monitors and so on that are opened later */
#define FDS_STEP 1024
#define LOCKED_SPARE (UINT64_C(1) << 30)

static const struct ivs_host_vm *vm_of(const struct ivs_doctor_case *at)
{
	return &at->vm->qemu->vm;
}

static const struct ivs_host_user *find_user(const struct ivs_host_region *region, pid_t pid)
{
	for (size_t i = 0; i < region->users_n; i++) {
		if (region->users[i].pid == pid)
			return &region->users[i];
	}
	return NULL;
}

static const struct ivs_host_memory *find_memory(const struct ivs_host_vm *vm, const char *path)
{
	for (size_t i = 0; i < vm->memories_n; i++) {
		if (!strcmp(vm->memories[i].path, path))
			return &vm->memories[i];
	}
	return NULL;
}

/* Return: the region that a memory backend of the VM names, if the VM uses it; otherwise NULL. */
static const struct ivs_host_region *region_of(const struct ivs_doctor_facts *facts,
					       const struct ivs_host_qemu *qemu,
					       const struct ivs_host_memory *memory)
{
	for (size_t i = 0; i < facts->regions_n; i++) {
		const struct ivs_host_region *region = facts->regions[i].host;

		if (!strcmp(region->path, memory->path) && find_user(region, qemu->pid))
			return region;
	}
	return NULL;
}

/* Return: the region that the VM has received from a server; NULL: none, or it cannot be seen. */
static const struct ivs_host_region *received_region(const struct ivs_doctor_facts *facts,
						     const struct ivs_host_qemu *qemu)
{
	for (size_t i = 0; i < facts->regions_n; i++) {
		const struct ivs_host_region *region = facts->regions[i].host;
		const struct ivs_host_user *user = find_user(region, qemu->pid);

		if (region->why & IVS_HOST_USED && user && user->maps &&
		    !find_memory(&qemu->vm, region->path))
			return region;
	}
	return NULL;
}

static const struct ivs_doctor_link *find_link(const struct ivs_doctor_vm *vm, const char *chardev)
{
	for (size_t i = 0; i < vm->links_n; i++) {
		if (!strcmp(vm->links[i].socket->id, chardev))
			return &vm->links[i];
	}
	return NULL;
}

static bool is_driver(const struct ivs_host_device *device, const char *driver)
{
	return !strcmp(device->driver, driver);
}

/* Set the command that prints the arguments of today for an old device. */
static void command_for_old(const struct ivs_doctor_case *at, const struct ivs_host_device *device,
			    struct ivs_doctor_finding *finding)
{
	const struct ivs_host_vm *vm = vm_of(at);
	const char *shm = device->shm + strspn(device->shm, "/");
	char size[IVS_SIZE_TEXT_LEN];
	char after[64] = "";

	if (*shm) {
		if (device->size)
			snprintf(after, sizeof(after), " --size %s",
				 ivs_size_text(device->size, size));
		ivs_doctor_command(finding, "ivshmem config qemu ", shm, after);
		return;
	}
	snprintf(after, sizeof(after), " --kind doorbell --vectors %u", device->vectors);
	for (size_t i = 0; i < vm->sockets_n; i++) {
		if (*device->chardev && !strcmp(vm->sockets[i].id, device->chardev))
			ivs_doctor_command(finding, "ivshmem config qemu ", vm->sockets[i].path,
					   after);
	}
}

static void check_old(const struct ivs_doctor_case *at, struct ivs_doctor_findings *findings)
{
	const struct ivs_host_vm *vm = vm_of(at);

	for (size_t i = 0; i < vm->devices_n; i++) {
		struct ivs_doctor_finding *finding;

		if (!is_driver(&vm->devices[i], "ivshmem"))
			continue;
		finding = ivs_doctor_found(findings, "its arguments have -device ivshmem, which "
						     "QEMU 4.0 and later do not have");
		command_for_old(at, &vm->devices[i], finding);
		ivs_doctor_advise(finding, "replace the device by these arguments, and start the "
					   "VM again");
	}
}

static bool is_safe(const struct ivs_doctor_facts *facts, const struct ivs_host_region *region)
{
	size_t i = 0;

	while (facts->regions[i].host != region)
		i++;
	return facts->regions[i].is_safe;
}

static void report_size(const struct ivs_doctor_case *at, const struct ivs_host_region *region,
			const struct ivs_host_memory *memory, struct ivs_doctor_findings *findings)
{
	char address[IVS_DOCTOR_NAME_LEN];
	char of_file[IVS_SIZE_TEXT_LEN];
	char of_vm[IVS_SIZE_TEXT_LEN];
	struct ivs_doctor_finding *finding;
	char before[64];

	ivs_size_text(region->size, of_file);
	ivs_size_text(memory->size, of_vm);
	ivs_host_region_address(region, address, sizeof(address));
	finding = ivs_doctor_found(findings,
				   "its arguments give the region %s a size of %s, but the file "
				   "has %s",
				   address, of_vm, of_file);
	if (region->size > memory->size) {
		ivs_doctor_advise(finding,
				  "shut the VM down, set size=%s in its memory backend, and start "
				  "it again",
				  of_file);
		return;
	}
	/* ivshmem resize refuses a region that is in use. Growing is safe. */
	snprintf(before, sizeof(before), "truncate -c -s '>%" PRIu64 "' ", memory->size);
	/* Any user can start a VM that names the region with any size. */
	if (!at->vm->uid || at->vm->uid == region->uid)
		ivs_doctor_command_on(finding, is_safe(at->facts, region), region->uid, before,
				      region->path);
	ivs_doctor_advise(finding, "or shut the VM down, set size=%s, and start it again", of_file);
}

static void check_size(const struct ivs_doctor_case *at, struct ivs_doctor_findings *findings)
{
	const struct ivs_host_vm *vm = vm_of(at);
	const unsigned int none = IVS_HOST_NOTE_REMOVED | IVS_HOST_NOTE_REPLACED |
				  IVS_HOST_NOTE_ABSENT | IVS_HOST_NOTE_ELSEWHERE |
				  IVS_HOST_NOTE_EMPTY;

	for (size_t i = 0; i < vm->memories_n; i++) {
		const struct ivs_host_memory *memory = &vm->memories[i];
		const struct ivs_host_region *region;

		if (!memory->ivshmem || !memory->size || memory->memfd)
			continue;
		region = region_of(at->facts, at->vm->qemu, memory);
		if (region && region->known && region->kind != IVS_HOST_DEVICE &&
		    !(region->notes & none) && region->size != memory->size)
			report_size(at, region, memory, findings);
	}
}

static void check_discard(const struct ivs_doctor_case *at, struct ivs_doctor_findings *findings)
{
	const struct ivs_host_vm *vm = vm_of(at);

	for (size_t i = 0; i < vm->memories_n; i++) {
		if (vm->memories[i].ivshmem && vm->memories[i].discard)
			ivs_doctor_advise(
				ivs_doctor_found(findings,
						 "discard-data=on is set for the region %s",
						 vm->memories[i].path),
				"remove discard-data=on from the memory backend, and start the VM "
				"again");
	}
}

/* Return: whether the VM is the master of the region. */
static bool is_master(const struct ivs_doctor_facts *facts, const struct ivs_doctor_vm *vm,
		      const struct ivs_host_region *region)
{
	const struct ivs_host_vm *host = &vm->qemu->vm;
	const struct ivs_host_memory *memory;
	bool is_received;

	if (!find_user(region, vm->qemu->pid))
		return false;
	memory = find_memory(host, region->path);
	is_received = region == received_region(facts, vm->qemu);
	for (size_t i = 0; i < host->devices_n; i++) {
		const struct ivs_host_device *device = &host->devices[i];

		if (!device->master)
			continue;
		if (is_driver(device, "ivshmem-plain") && memory &&
		    !strcmp(memory->id, device->memdev))
			return true;
		if (is_driver(device, "ivshmem-doorbell") && is_received)
			return true;
	}
	return false;
}

/* A pair of VMs is reported once. */
static void check_masters(const struct ivs_doctor_case *at, struct ivs_doctor_findings *findings)
{
	const struct ivs_doctor_facts *facts = at->facts;
	char address[IVS_DOCTOR_NAME_LEN];

	for (size_t i = 0; i < facts->regions_n; i++) {
		const struct ivs_host_region *region = facts->regions[i].host;

		if (!is_master(facts, at->vm, region))
			continue;
		for (size_t k = 0; k < facts->vms_n; k++) {
			const struct ivs_doctor_vm *other = &facts->vms[k];

			if (other == at->vm || (other->selected && other < at->vm) ||
			    !is_master(facts, other, region))
				continue;
			ivs_doctor_advise(
				ivs_doctor_found(
					findings,
					"this VM and VM %s (pid %d) both have master=on for the "
					"region %s",
					other->qemu->vm.name, (int)other->qemu->pid,
					ivs_host_region_address(region, address, sizeof(address))),
				"remove master=on from all VMs but the one that is to be saved or "
				"migrated with the region, and start them again");
		}
	}
}

static void check_reconnect(const struct ivs_doctor_case *at, struct ivs_doctor_findings *findings)
{
	for (size_t i = 0; i < at->vm->links_n; i++) {
		const struct ivs_host_socket *socket = at->vm->links[i].socket;

		if (socket->reconnects)
			ivs_doctor_advise(
				ivs_doctor_found(findings,
						 "the character device %s of its ivshmem-doorbell "
						 "has reconnect=",
						 socket->id),
				"remove reconnect= (or reconnect-ms=) from the -chardev, and start "
				"the VM again");
	}
}

/* Return: what has happened to the server to which the VM connected; NULL: nothing, or unknown. */
static const char *gone_text(const struct ivs_doctor_link *link)
{
	if (link->answers)
		return link->lists_vm ? NULL : "has started after it, and does not know it";
	if (link->runs)
		return NULL;
	if (link->state == IVS_DOCTOR_LINK_ABSENT)
		return "is gone: the socket does not exist";
	return link->state == IVS_DOCTOR_LINK_DEAD ? "is gone: no process listens there" : NULL;
}

/* A device that has been unplugged does not map a region. */
static void check_gone(const struct ivs_doctor_case *at, struct ivs_doctor_findings *findings)
{
	if (!received_region(at->facts, at->vm->qemu))
		return;
	for (size_t i = 0; i < at->vm->links_n; i++) {
		const struct ivs_doctor_link *link = &at->vm->links[i];
		const char *text = gone_text(link);

		if (text)
			ivs_doctor_advise(
				ivs_doctor_found(findings, "its server at %s %s",
						 link->socket->path, text),
				"start the server, then shut the VM down and start it again: QEMU "
				"does not connect again by itself");
	}
}

static void check_vectors(const struct ivs_doctor_case *at, struct ivs_doctor_findings *findings)
{
	const struct ivs_host_vm *vm = vm_of(at);

	for (size_t i = 0; i < vm->devices_n; i++) {
		const struct ivs_host_device *device = &vm->devices[i];
		const struct ivs_doctor_link *link = find_link(at->vm, device->chardev);

		if (!is_driver(device, "ivshmem-doorbell") || !link || !link->answers ||
		    !link->lists_vm || link->vectors == device->vectors)
			continue;
		ivs_doctor_advise(
			ivs_doctor_found(findings,
					 "its ivshmem-doorbell has vectors=%u, but the "
					 "server at %s gives each client %u",
					 device->vectors, link->socket->path, link->vectors),
			"shut the VM down, set vectors=%u, and start it again", link->vectors);
	}
}

/* Set the command that raises a limit of a process: the soft limit, and the hard one if needed. */
static void command_for_limit(const struct ivs_doctor_vm *vm, const char *name, uint64_t limit,
			      uint64_t top, struct ivs_doctor_finding *finding)
{
	char command[128];
	int len = snprintf(command, sizeof(command), "prlimit --pid %d --%s=%" PRIu64 ":",
			   (int)vm->qemu->pid, name, limit);

	if (limit > top)
		snprintf(command + len, sizeof(command) - (size_t)len, "%" PRIu64, limit);
	ivs_doctor_command(finding, command, NULL, "");
}

static void check_fds(const struct ivs_doctor_case *at, struct ivs_doctor_findings *findings)
{
	const struct ivs_doctor_vm *vm = at->vm;
	struct ivs_doctor_finding *finding;
	uint64_t need = vm->fds_n;

	for (size_t i = 0; i < vm->links_n; i++) {
		const struct ivs_doctor_link *link = &vm->links[i];
		unsigned int more = link->peers_max > link->peers_n
					    ? link->peers_max - link->peers_n
					    : 1;

		if (link->answers && link->lists_vm)
			need += (uint64_t)more * link->vectors;
	}
	if (need == vm->fds_n || need <= vm->fds_max)
		return;
	finding = ivs_doctor_found(findings,
				   "it may have %" PRIu64 " open files, and has %u, but will need "
				   "%" PRIu64 " as more peers join",
				   vm->fds_max, vm->fds_n, need);
	command_for_limit(vm, "nofile", (need + FDS_SPARE + FDS_STEP - 1) / FDS_STEP * FDS_STEP,
			  vm->fds_top, finding);
	ivs_doctor_advise(finding, "for the next start, set max_files in /etc/libvirt/qemu.conf, "
				   "LimitNOFILE= of the unit, or ulimit -n");
}

static void check_phys_bits(const struct ivs_doctor_case *at, struct ivs_doctor_findings *findings)
{
	const unsigned int bits = vm_of(at)->phys_bits;
	char address[IVS_DOCTOR_NAME_LEN];
	char text[IVS_SIZE_TEXT_LEN];

	if (!bits || bits > 63)
		return;
	for (size_t i = 0; i < at->facts->regions_n; i++) {
		const struct ivs_host_region *region = at->facts->regions[i].host;

		if (!(region->why & (IVS_HOST_USED | IVS_HOST_NAMED)) ||
		    region->size < UINT64_C(1) << (bits - 1) ||
		    !find_user(region, at->vm->qemu->pid))
			continue;
		ivs_doctor_advise(
			ivs_doctor_found(findings,
					 "its CPU has %u bits of physical addresses, but the "
					 "region %s has a size of %s",
					 bits,
					 ivs_host_region_address(region, address, sizeof(address)),
					 ivs_size_text(region->size, text)),
			"use a larger phys-bits= (-cpu), or host-phys-bits=on with KVM, and start "
			"the VM again");
	}
}

static void check_virtiofs(const struct ivs_doctor_case *at, struct ivs_doctor_findings *findings)
{
	const struct ivs_host_vm *vm = vm_of(at);

	for (size_t i = 0; vm->has_virtiofs && i < vm->memories_n; i++) {
		if (!strncmp(vm->memories[i].path, "/dev/kvmfr", strlen("/dev/kvmfr")))
			ivs_doctor_advise(ivs_doctor_found(findings,
							   "it has %s as a region, and a "
							   "vhost-user-fs device",
							   vm->memories[i].path),
					  "use a region in /dev/shm instead of the module kvmfr, "
					  "or remove the vhost-user-fs device, and start the VM "
					  "again");
	}
}

static void check_locked(const struct ivs_doctor_case *at, struct ivs_doctor_findings *findings)
{
	const struct ivs_doctor_vm *vm = at->vm;
	const struct ivs_host_vm *host = vm_of(at);
	uint64_t need = host->ram_size;
	struct ivs_doctor_finding *finding;
	char text[2][IVS_SIZE_TEXT_LEN];

	if (!(host->locks_memory || host->has_vfio) || vm->may_lock || !host->ram_size)
		return;
	for (size_t i = 0; i < at->facts->regions_n; i++) {
		const struct ivs_host_region *region = at->facts->regions[i].host;
		const struct ivs_host_user *user = find_user(region, vm->qemu->pid);

		if (region->why && user && user->maps)
			need += region->size;
	}
	if (need <= vm->locked_max)
		return;
	finding = ivs_doctor_found(
		findings, "it locks its memory, %s with its regions, but may lock only %s",
		ivs_size_text(need, text[0]), ivs_size_text(vm->locked_max, text[1]));
	/* QEMU locks more than the memory of the guest. */
	if (need + LOCKED_SPARE <= at->facts->host.ram_len)
		command_for_limit(vm, "memlock", need + LOCKED_SPARE, vm->locked_top, finding);
	ivs_doctor_advise(finding, "for the next start, set <hard_limit> in the domain's "
				   "<memtune>, LimitMEMLOCK= of the unit, or ulimit -l");
}

static bool is_enforced(const char *profile)
{
	const char *mode = strrchr(profile, '(');

	return mode && !strcmp(mode, "(enforce)");
}

static void check_profile(const struct ivs_doctor_case *at, struct ivs_doctor_findings *findings)
{
	const struct ivs_doctor_vm *vm = at->vm;
	const struct ivs_host_vm *host = vm_of(at);

	for (size_t i = 0; vm->named && is_enforced(vm->profile) && i < host->memories_n; i++) {
		const struct ivs_host_memory *memory = &host->memories[i];
		struct ivs_doctor_finding *finding;

		if (!memory->ivshmem || *memory->path != '/' ||
		    region_of(at->facts, vm->qemu, memory))
			continue;
		finding = ivs_doctor_found(findings,
					   "the AppArmor profile %s confines it, and it does not "
					   "use %s, which its arguments name",
					   vm->profile, memory->path);
		ivs_doctor_command(finding, "ivshmem config apparmor ", memory->path, "");
		ivs_doctor_advise(finding, "unless the device has been unplugged, add these lines, "
					   "and start the VM again");
	}
}

static void check_drivers(const struct ivs_doctor_case *at, struct ivs_doctor_findings *findings)
{
	const struct ivs_doctor_vm *vm = at->vm;

	if (!vm->named || vm->has_plain || vm->has_doorbell)
		return;
	ivs_doctor_advise(
		ivs_doctor_found(findings, "%s, version %s, has no ivshmem devices", vm->program,
				 vm->version),
		"%s",
		vm->has_vfio_user
			? "use a vfio-user-pci device, and ivshmem-device on the host"
			: "start the VM with a QEMU that was built with CONFIG_IVSHMEM_DEVICE");
}

/* Return: whether an ivshmem-device uses a region of the VM. */
static bool shares_with_device(const struct ivs_doctor_case *at)
{
	for (size_t i = 0; i < at->facts->regions_n; i++) {
		const struct ivs_host_region *region = at->facts->regions[i].host;

		if (!find_user(region, at->vm->qemu->pid))
			continue;
		for (size_t user = 0; user < region->users_n; user++) {
			if (!strcmp(region->users[user].program, "ivshmem-device"))
				return true;
		}
	}
	return false;
}

static void check_vfio_user(const struct ivs_doctor_case *at, struct ivs_doctor_findings *findings)
{
	const struct ivs_doctor_vm *vm = at->vm;

	if (!vm->named || vm->has_vfio_user || !shares_with_device(at))
		return;
	ivs_doctor_advise(ivs_doctor_found(findings,
					   "an ivshmem-device serves a region of this VM, but %s, "
					   "version %s, cannot use that device",
					   vm->program, vm->version),
			  "to use the ivshmem-device, start the VM with QEMU 10.1 or later, or "
			  "another VMM that is a vfio-user client");
}

static void check_unplug(const struct ivs_doctor_case *at, struct ivs_doctor_findings *findings)
{
	const struct ivs_doctor_vm *vm = at->vm;

	if (!vm->named || !received_region(at->facts, vm->qemu))
		return;
	for (size_t i = 0; i < vm->links_n; i++) {
		const struct ivs_doctor_link *link = &vm->links[i];

		if (link->is_foreign && link->state == IVS_DOCTOR_LINK_LIVE)
			ivs_doctor_advise(
				ivs_doctor_found(findings,
						 "the server at %s is QEMU's own, which tells QEMU "
						 "when a peer leaves",
						 link->socket->path),
				"do not unplug the device: shut the VM down; then use the "
				"ivshmem-server of this project, which does not tell a QEMU of "
				"leaves");
	}
}

static const struct ivs_doctor_rule rules[] = {
	{"vm-old-device", IVS_DOCTOR_WARNING, IVS_DOCTOR_VM, 0,
	 "a VM's arguments have the device ivshmem, which QEMU 4.0 removed",
	 "a newer QEMU does not start with these arguments (\"'ivshmem' is not a valid device "
	 "model name\"), and its devices have another revision",
	 "use ivshmem-plain or ivshmem-doorbell; ivshmem config prints the arguments", false,
	 check_old},
	{"vm-size", IVS_DOCTOR_ERROR, IVS_DOCTOR_VM, 0,
	 "the size of a memory backend is not that of the region's file",
	 "if the file is larger, the VM does not see the rest, where other programs may have their "
	 "data; if it is smaller, QEMU is ended by SIGBUS when the guest uses the end of it",
	 "resize the region, or set size= to the file's size and restart the VM", false,
	 check_size},
	{"vm-discard", IVS_DOCTOR_WARNING, IVS_DOCTOR_VM, 0, "discard-data=on is set for a region",
	 "when the VM ends, QEMU discards the content of the region, also for other programs",
	 "remove discard-data=on, and restart the VM", false, check_discard},
	{"vm-masters", IVS_DOCTOR_ERROR, IVS_DOCTOR_VM, 0,
	 "two VMs with master=on use the same region",
	 "when one of them is restored or migrated, it overwrites the region with older content "
	 "under the other; nothing prevents that",
	 "leave master=on only in the VM that is to be saved or migrated", false, check_masters},
	{"vm-reconnect", IVS_DOCTOR_ERROR, IVS_DOCTOR_VM, 0,
	 "the character device of an ivshmem-doorbell has reconnect= or reconnect-ms=",
	 "QEMU then connects in the background, but waits for the server's greeting at once: it "
	 "does not start the VM, and uses all the time of a processor",
	 "remove reconnect=, and restart the VM", false, check_reconnect},
	{"vm-server-gone", IVS_DOCTOR_ERROR, IVS_DOCTOR_VM, IVS_DOCTOR_VM_FILES,
	 "the server of an ivshmem-doorbell has ended since the VM connected to it",
	 "QEMU does not connect again, so the VM sees no peers that join, and they do not see it",
	 "start the server, and restart the VM", false, check_gone},
	{"vm-vectors", IVS_DOCTOR_WARNING, IVS_DOCTOR_VM, 0,
	 "vectors= of an ivshmem-doorbell is not the number that its server gives each client",
	 "a doorbell on a vector that only one of the two has never arrives",
	 "set vectors= to the server's number, and restart the VM", false, check_vectors},
	{"vm-nofile", IVS_DOCTOR_WARNING, IVS_DOCTOR_VM, IVS_DOCTOR_VM_LIMITS,
	 "a VM's limit of open files is too low for the peers that may join",
	 "QEMU needs an open file for each vector of each peer; at its limit, it takes a peer that "
	 "joins for one that leaves",
	 "raise the limit (prlimit)", false, check_fds},
	{"vm-phys-bits", IVS_DOCTOR_ERROR, IVS_DOCTOR_VM, 0,
	 "a region does not fit into the physical addresses of a VM's CPU",
	 "the guest cannot assign an address to the memory BAR, so the device does not work",
	 "use a larger phys-bits=, or a smaller region", false, check_phys_bits},
	{"vm-virtiofs", IVS_DOCTOR_ERROR, IVS_DOCTOR_VM, 0,
	 "a VM has a kvmfr device as a region, and a vhost-user-fs device",
	 "virtiofsd cannot seek in a kvmfr device, and ends (\"Illegal seek\")",
	 "use a region in /dev/shm", true, check_virtiofs},
	{"vm-memlock", IVS_DOCTOR_ERROR, IVS_DOCTOR_VM, IVS_DOCTOR_VM_LIMITS,
	 "a VM locks its memory, and its limit of locked memory is too low for the regions",
	 "a region that is plugged in cannot be mapped or locked, and the VM may not start again",
	 "raise the limit (prlimit)", true, check_locked},
	{"vm-apparmor", IVS_DOCTOR_NOTE, IVS_DOCTOR_VM, IVS_DOCTOR_VM_FILES | IVS_DOCTOR_VM_PROFILE,
	 "a VM under an AppArmor profile does not use a region that its arguments name",
	 "if the profile has no line for the region, QEMU cannot open it (\"Permission denied\")",
	 "add the lines that ivshmem config apparmor prints", true, check_profile},
	{"vm-no-ivshmem", IVS_DOCTOR_ERROR, IVS_DOCTOR_VM, IVS_DOCTOR_VM_DRIVERS,
	 "the QEMU of a VM has been built without ivshmem devices",
	 "no region can be plugged into the VM (\"'ivshmem-plain' is not a valid device model "
	 "name\")",
	 "use another QEMU", false, check_drivers},
	{"vm-no-vfio-user", IVS_DOCTOR_NOTE, IVS_DOCTOR_VM, IVS_DOCTOR_VM_DRIVERS,
	 "an ivshmem-device serves a region of a VM whose QEMU has no vfio-user-pci",
	 "the VM cannot use the device of the ivshmem-device",
	 "use QEMU 10.1 or later, built with vfio-user", false, check_vfio_user},
	{"vm-unplug", IVS_DOCTOR_NOTE, IVS_DOCTOR_VM, IVS_DOCTOR_VM_FILES,
	 "the server of an ivshmem-doorbell is QEMU's own",
	 "once a peer has left, QEMU is likely to crash when the device is unplugged, because it "
	 "frees the memory for that peer twice",
	 "use the ivshmem-server of this project, or do not unplug the device", false,
	 check_unplug},
};

const struct ivs_doctor_table ivs_doctor_vm_rules = {rules, sizeof(rules) / sizeof(*rules)};
