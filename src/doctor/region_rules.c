/* SPDX-License-Identifier: BSD-3-Clause */
/* Rules about regions. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/parse.h"
#include "doctor/private.h"

#define PAGE_MIN 4096
#define EXAMPLE_LEN (UINT64_C(32) << 20)
#define ADDRESS_LEN (PATH_MAX + 8) /* including the longest prefix */

static bool has_note(const struct ivs_doctor_case *at, unsigned int note)
{
	return at->region->host->notes & note;
}

/* Return: whether the region's file can be examined and changed by its name. */
static bool has_name(const struct ivs_doctor_region *region)
{
	const unsigned int none = IVS_HOST_NOTE_REMOVED | IVS_HOST_NOTE_REPLACED |
				  IVS_HOST_NOTE_ABSENT | IVS_HOST_NOTE_ELSEWHERE;

	return !(region->host->notes & none) && region->host->kind != IVS_HOST_MEMFD &&
	       region->host->kind != IVS_HOST_DEVICE;
}

/* Set a command that changes the region's file, which has its path as its last word. */
static void set_command(const struct ivs_doctor_case *at, const char *before,
			struct ivs_doctor_finding *finding)
{
	const struct ivs_host_region *host = at->region->host;

	ivs_doctor_command_on(finding, at->region->is_safe, host->uid, before, host->path);
}

/* ivshmem resize itself refuses a file that another user could exchange. */
static void set_resize(const struct ivs_doctor_case *at, uint64_t size,
		       struct ivs_doctor_finding *finding)
{
	char address[ADDRESS_LEN];
	char text[IVS_SIZE_TEXT_LEN];
	char before[64];

	snprintf(before, sizeof(before), "ivshmem resize --size %s ", ivs_size_text(size, text));
	ivs_host_region_address(at->region->host, address, sizeof(address));
	ivs_doctor_command(finding, before, address, "");
}

static void check_size(const struct ivs_doctor_case *at, struct ivs_doctor_findings *findings)
{
	const uint64_t size = at->region->host->size;
	char text[IVS_SIZE_TEXT_LEN];
	uint64_t above = PAGE_MIN;

	if (!has_note(at, IVS_HOST_NOTE_SIZE))
		return;
	while (above < size)
		above *= 2;
	set_resize(at, above,
		   ivs_doctor_found(findings, "its size, %s, is not a power of two",
				    ivs_size_text(size, text)));
}

static void check_empty(const struct ivs_doctor_case *at, struct ivs_doctor_findings *findings)
{
	struct ivs_doctor_finding *finding;

	if (!has_note(at, IVS_HOST_NOTE_EMPTY))
		return;
	finding = ivs_doctor_found(findings, "its size is 0: no program has set it yet");
	set_resize(at, EXAMPLE_LEN, finding);
	ivs_doctor_advise(finding, "use the size that the VM's configuration has, or start the VM: "
				   "QEMU sets the size");
}

static void check_absent(const struct ivs_doctor_case *at, struct ivs_doctor_findings *findings)
{
	const struct ivs_host_region *host = at->region->host;
	char users[IVS_DOCTOR_TEXT_LEN];
	struct ivs_doctor_finding *finding;

	if (!has_note(at, IVS_HOST_NOTE_ABSENT))
		return;
	if (host->users_n) {
		finding = ivs_doctor_found(findings,
					   "there is no such file, but the arguments of %s name it",
					   ivs_doctor_users_text(host, users));
		ivs_doctor_advise(finding, "the file has been removed: shut the VM down and start "
					   "it again");
	} else {
		finding = ivs_doctor_found(
			findings, "there is no such file, but %s creates it at boot", host->boot);
		ivs_doctor_command(finding, "systemd-tmpfiles --create ", host->boot, "");
	}
}

static void check_removed(const struct ivs_doctor_case *at, struct ivs_doctor_findings *findings)
{
	char users[IVS_DOCTOR_TEXT_LEN];

	if (has_note(at, IVS_HOST_NOTE_REMOVED))
		ivs_doctor_advise(
			ivs_doctor_found(findings, "its file has been removed, but %s still use it",
					 ivs_doctor_users_text(at->region->host, users)),
			"restart these programs, so that they open a file that others can open");
}

/* Return: the region that has the same name, and has been replaced. */
static const struct ivs_host_region *find_replaced(const struct ivs_doctor_case *at)
{
	for (size_t i = 0; i < at->facts->regions_n; i++) {
		const struct ivs_host_region *other = at->facts->regions[i].host;

		if (other->notes & IVS_HOST_NOTE_REPLACED &&
		    !strcmp(other->path, at->region->host->path))
			return other;
	}
	return NULL;
}

static void check_split(const struct ivs_doctor_case *at, struct ivs_doctor_findings *findings)
{
	const struct ivs_host_region *old = find_replaced(at);
	char users[IVS_DOCTOR_TEXT_LEN];

	if (has_note(at, IVS_HOST_NOTE_SPLIT))
		ivs_doctor_advise(
			ivs_doctor_found(findings,
					 "there are two files of this name: %s still use a file "
					 "that has been replaced",
					 old ? ivs_doctor_users_text(old, users) : "programs"),
			"restart the programs that use the old file, so that they open the new "
			"one");
}

static void check_private(const struct ivs_doctor_case *at, struct ivs_doctor_findings *findings)
{
	const struct ivs_host_region *host = at->region->host;
	char text[IVS_HOST_USER_TEXT_LEN];

	if (!has_note(at, IVS_HOST_NOTE_PRIVATE))
		return;
	for (size_t i = 0; i < host->users_n; i++) {
		if (host->users[i].copies)
			ivs_doctor_advise(
				ivs_doctor_found(findings, "%s has a private copy of it",
						 ivs_host_users_text(&host->users[i], text)),
				"add share=on to the memory-backend-file in QEMU's arguments, and "
				"start the VM again");
	}
}

static void check_kvmfr(const struct ivs_doctor_case *at, struct ivs_doctor_findings *findings)
{
	struct ivs_doctor_finding *finding;

	if (!has_note(at, IVS_HOST_NOTE_KVMFR))
		return;
	finding = ivs_doctor_found(findings, "it is a regular file, not the device of the module "
					     "kvmfr");
	ivs_doctor_command(finding, "rm ", at->region->host->path, "");
	ivs_doctor_advise(finding, "stop the VM first; then load the module (modprobe kvmfr) "
				   "before the VM starts");
}

static void check_elsewhere(const struct ivs_doctor_case *at, struct ivs_doctor_findings *findings)
{
	char users[IVS_DOCTOR_TEXT_LEN];

	if (has_note(at, IVS_HOST_NOTE_ELSEWHERE))
		ivs_doctor_advise(
			ivs_doctor_found(findings,
					 "%s use it under a name that this host does not have",
					 ivs_doctor_users_text(at->region->host, users)),
			"share the directory with the container or the mount namespace of these "
			"programs, and restart them");
}

/* Return: whether a server passes the region to clients, which then need not open the file. */
static bool is_served(const struct ivs_host_region *host)
{
	for (size_t i = 0; i < host->users_n; i++) {
		if (host->users[i].server)
			return true;
	}
	return false;
}

static void check_denied(const struct ivs_doctor_case *at, struct ivs_doctor_findings *findings)
{
	if (at->region->is_denied && has_name(at->region) &&
	    (at->region->named || !is_served(at->region->host)))
		ivs_doctor_advise(ivs_doctor_found(findings, "this user may not read and write it"),
				  "%s", at->region->denied_why);
}

static void check_world(const struct ivs_doctor_case *at, struct ivs_doctor_findings *findings)
{
	const struct ivs_host_region *host = at->region->host;
	struct ivs_doctor_finding *finding;

	if (!has_name(at->region) || !(host->mode & S_IWOTH))
		return;
	finding = ivs_doctor_found(findings, "all users can write to it (mode %04o)",
				   (unsigned int)host->mode & 07777);
	set_command(at, "chmod o-w ", finding);
	ivs_doctor_advise(finding, "make sure that its owner and group are those of the VM and of "
				   "the programs that use it");
}

static void check_sticky(const struct ivs_doctor_case *at, struct ivs_doctor_findings *findings)
{
	const struct ivs_doctor_region *region = at->region;
	struct ivs_doctor_finding *finding;
	char before[64];

	if (!region->named || !has_name(region) || !region->is_sticky ||
	    !at->facts->host.protected_regular || region->host->uid == region->dir_uid)
		return;
	finding = ivs_doctor_found(findings,
				   "programs of users other than its owner (uid %u), even root's, "
				   "cannot open it with O_CREAT",
				   (unsigned int)region->host->uid);
	snprintf(before, sizeof(before), "chown -h %u ", (unsigned int)region->dir_uid);
	ivs_doctor_command(finding, before, region->host->path, "");
	ivs_doctor_advise(finding, "keep the access of its present owner through the group, or "
				   "through an access control list (setfacl)");
}

static void check_full(const struct ivs_doctor_case *at, struct ivs_doctor_findings *findings)
{
	const struct ivs_doctor_region *region = at->region;
	uint64_t missing;
	char need[IVS_SIZE_TEXT_LEN];
	char free_text[IVS_SIZE_TEXT_LEN];
	struct ivs_doctor_finding *finding;

	if (!has_name(region) || region->host->kind == IVS_HOST_HUGETLB ||
	    region->host->size <= region->allocated)
		return;
	missing = region->host->size - region->allocated;
	/* Any user can create a large file that no program uses. */
	if (missing <= region->free_len || !(region->named || region->host->why & IVS_HOST_USED))
		return;
	finding = ivs_doctor_found(findings,
				   "%s of it have no memory yet, but its file system has only %s "
				   "left",
				   ivs_size_text(missing, need),
				   ivs_size_text(region->free_len, free_text));
	if (region->host->kind == IVS_HOST_SHM &&
	    region->total_len + missing <= at->facts->host.ram_len) {
		char command[96];

		snprintf(command, sizeof(command), "mount -o remount,size=%" PRIu64 "M /dev/shm",
			 (region->total_len + missing) / (1024 * 1024) + 1);
		ivs_doctor_command(finding, command, NULL, "");
	}
	ivs_doctor_advise(finding, "or remove other files there, or use a smaller region");
}

static void check_huge(const struct ivs_doctor_case *at, struct ivs_doctor_findings *findings)
{
	const struct ivs_doctor_region *region = at->region;
	char need[IVS_SIZE_TEXT_LEN];
	char free_text[IVS_SIZE_TEXT_LEN];
	struct ivs_doctor_finding *finding;
	uint64_t missing;
	char command[192];

	if (region->host->kind != IVS_HOST_HUGETLB || region->host->size <= region->allocated ||
	    !region->host->page_size)
		return;
	missing = region->host->size - region->allocated;
	if (missing <= region->free_len)
		return;
	finding = ivs_doctor_found(findings,
				   "%s of it have no huge pages yet, and only %s of huge pages are "
				   "free",
				   ivs_size_text(missing, need),
				   ivs_size_text(region->free_len, free_text));
	snprintf(command, sizeof(command),
		 "echo %" PRIu64 " > /sys/kernel/mm/hugepages/hugepages-%" PRIu64 "kB/nr_hugepages",
		 (region->total_len + missing - region->free_len) / region->host->page_size,
		 region->host->page_size / 1024);
	if (region->total_len + missing <= at->facts->host.ram_len)
		ivs_doctor_command(finding, command, NULL, "");
	ivs_doctor_advise(finding, "best at boot, when memory is not fragmented: hugepages= on the "
				   "kernel's command line");
}

static bool is_label_of_vms(const char *label)
{
	return strstr(label, ":svirt_") || strstr(label, ":svirt_image_t");
}

static void check_selinux(const struct ivs_doctor_case *at, struct ivs_doctor_findings *findings)
{
	struct ivs_doctor_finding *finding;

	if (!has_name(at->region) || !*at->region->label || is_label_of_vms(at->region->label))
		return;
	finding = ivs_doctor_found(findings, "its SELinux label is %s", at->region->label);
	set_command(at, "chcon -t svirt_tmpfs_t ", finding);
	ivs_doctor_advise(finding, "a region that tmpfiles.d creates gets the label with a line "
				   "of type \"t\"");
}

static const struct ivs_doctor_rule rules[] = {
	{"region-size", IVS_DOCTOR_ERROR, IVS_DOCTOR_REGION, IVS_DOCTOR_FILE,
	 "the size of a region is not a power of two",
	 "a BAR's size is a power of two, so QEMU refuses the region",
	 "resize the region to the next power of two", false, check_size},
	{"region-empty", IVS_DOCTOR_WARNING, IVS_DOCTOR_REGION, IVS_DOCTOR_FILE,
	 "the size of a region is 0",
	 "programs cannot map it before the VM starts (\"Failed to map the shared memory device\")",
	 "set the size with ivshmem resize, or start the VM", false, check_empty},
	{"region-absent", IVS_DOCTOR_ERROR, IVS_DOCTOR_REGION, 0,
	 "a region that a VM or tmpfiles.d names does not exist",
	 "programs on the host cannot open it; a VM that still runs uses memory that no other "
	 "program can reach",
	 "create it as configured, or restart the VM that used the removed file", false,
	 check_absent},
	{"region-removed", IVS_DOCTOR_ERROR, IVS_DOCTOR_REGION, 0,
	 "a region's file has been removed while programs use it",
	 "programs that start now create another file, and do not share memory with these",
	 "restart the programs that use the removed file", false, check_removed},
	{"region-split", IVS_DOCTOR_ERROR, IVS_DOCTOR_REGION, 0,
	 "programs use different files that have had the same name",
	 "they do not share memory, although they use the same name",
	 "restart the programs that use the old file", false, check_split},
	{"region-private", IVS_DOCTOR_ERROR, IVS_DOCTOR_REGION, 0,
	 "a VM maps a region privately, because share=on is missing",
	 "no other program sees what the VM writes",
	 "add share=on to the memory-backend-file, and restart the VM", false, check_private},
	{"region-kvmfr", IVS_DOCTOR_ERROR, IVS_DOCTOR_REGION, 0,
	 "a regular file is at the path of a kvmfr device",
	 "QEMU created it because the module was not loaded; the Looking Glass client cannot use "
	 "it as a device, and the module cannot create its node",
	 "stop the VM, remove the file, load the module, and start the VM", false, check_kvmfr},
	{"region-elsewhere", IVS_DOCTOR_WARNING, IVS_DOCTOR_REGION, 0,
	 "programs use a region that is not among the files of this host",
	 "programs on the host cannot open it by its name",
	 "share the directory with the container", false, check_elsewhere},
	{"region-denied", IVS_DOCTOR_ERROR, IVS_DOCTOR_REGION, IVS_DOCTOR_ACCESS,
	 "the user of the doctor may not read and write a region",
	 "programs of this user, such as looking-glass-client, fail with \"Permission denied\"",
	 "change its group and mode, or become a member of its group", false, check_denied},
	{"region-world", IVS_DOCTOR_WARNING, IVS_DOCTOR_REGION, IVS_DOCTOR_FILE,
	 "all users of the host can write to a region",
	 "every program on the host can read and change what the VM shows, and resize the file, "
	 "which ends the programs that use it (SIGBUS)",
	 "chmod o-w, and set owner and group", false, check_world},
	{"region-sticky", IVS_DOCTOR_NOTE, IVS_DOCTOR_REGION, IVS_DOCTOR_FILE,
	 "a region in a sticky directory belongs to another user than the directory",
	 "with fs.protected_regular, the kernel denies other users to open it with O_CREAT; "
	 "QEMU's ivshmem-server, for example, does so",
	 "let the owner of the directory own the region, and give access through its group", false,
	 check_sticky},
	{"region-full", IVS_DOCTOR_ERROR, IVS_DOCTOR_REGION, IVS_DOCTOR_FILE | IVS_DOCTOR_SPACE,
	 "a region has parts without memory, and the file system is too full for them",
	 "a program that touches such a part is ended by SIGBUS; this can be QEMU",
	 "enlarge the file system, or use a smaller region", false, check_full},
	{"region-huge-pages", IVS_DOCTOR_ERROR, IVS_DOCTOR_REGION,
	 IVS_DOCTOR_FILE | IVS_DOCTOR_SPACE,
	 "a region consists of huge pages, and fewer are free than it needs",
	 "mapping it fails (\"Cannot allocate memory\"), or a program is ended by SIGBUS",
	 "reserve more huge pages, best at boot", false, check_huge},
	{"region-selinux", IVS_DOCTOR_ERROR, IVS_DOCTOR_REGION, IVS_DOCTOR_LABELS,
	 "SELinux is enforcing, and the label of a region is not one that VMs may use",
	 "libvirt's VMs run confined, and may not open the region", "chcon -t svirt_tmpfs_t", true,
	 check_selinux},
};

const struct ivs_doctor_table ivs_doctor_region_rules = {rules, sizeof(rules) / sizeof(*rules)};
