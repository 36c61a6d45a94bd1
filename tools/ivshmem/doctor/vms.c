/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/ivshmem/doctor/vms.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/parse.h"
#include "tools/ivshmem/doctor/vm_links.h"
#include "tools/ivshmem/doctor/vm_program.h"

#define CAP_IPC_LOCK_BIT 14
#define LINE_LEN 512

static FILE *open_of(pid_t pid, const char *name)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	return fopen(path, "re");
}

/* Read the first line of a file of a process. Return: whether there is one. */
static bool read_line(pid_t pid, const char *name, char *out, int len)
{
	FILE *file = open_of(pid, name);
	bool done = file && fgets(out, len, file);

	if (file)
		fclose(file);
	if (done)
		out[strcspn(out, "\n")] = '\0';
	return done;
}

/* Find both limits in the line that starts with @name. Return: whether they were found. */
static bool find_limit(FILE *file, const char *name, uint64_t *soft, uint64_t *hard)
{
	uint64_t *const values[2] = {soft, hard};
	char line[LINE_LEN];

	rewind(file);
	while (fgets(line, sizeof(line), file)) {
		char text[2][24];

		if (strncmp(line, name, strlen(name)) != 0)
			continue;
		if (sscanf(line + strlen(name), " %23s %23s", text[0], text[1]) != 2)
			return false;
		for (int i = 0; i < 2; i++) {
			if (!ivs_parse_uint(text[i], 0, UINT64_MAX, values[i]))
				*values[i] = UINT64_MAX; /* "unlimited" */
		}
		return true;
	}
	return false;
}

static bool find_capability(pid_t pid, bool *out)
{
	FILE *file = open_of(pid, "status");
	char line[LINE_LEN];
	bool found = false;
	uint64_t set;

	while (file && !found && fgets(line, sizeof(line), file))
		found = sscanf(line, "CapEff: %" SCNx64, &set) == 1;
	if (file)
		fclose(file);
	if (found)
		*out = set >> CAP_IPC_LOCK_BIT & 1;
	return found;
}

static bool count_fds(pid_t pid, unsigned int *out)
{
	struct dirent *entry;
	char path[64];
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	dir = opendir(path);
	if (!dir)
		return false;
	*out = 0;
	while ((entry = readdir(dir)))
		*out += *entry->d_name != '.';
	closedir(dir);
	return true;
}

static void ask_limits(struct ivs_doctor_vm *vm)
{
	const pid_t pid = vm->qemu->pid;
	FILE *file = open_of(pid, "limits");

	if (file && find_limit(file, "Max open files", &vm->fds_max, &vm->fds_top) &&
	    find_limit(file, "Max locked memory", &vm->locked_max, &vm->locked_top) &&
	    find_capability(pid, &vm->may_lock) && count_fds(pid, &vm->fds_n))
		vm->knows |= IVS_DOCTOR_VM_LIMITS;
	if (file)
		fclose(file);
}

/* Without AppArmor as a security module, the attribute may be that of another module. */
static void ask_profile(struct ivs_doctor_vm *vm)
{
	const pid_t pid = vm->qemu->pid;
	const int len = sizeof(vm->profile);

	if (read_line(pid, "attr/apparmor/current", vm->profile, len) ||
	    (!access("/sys/module/apparmor", F_OK) &&
	     read_line(pid, "attr/current", vm->profile, len)))
		vm->knows |= IVS_DOCTOR_VM_PROFILE;
	else
		*vm->profile = '\0';
}

static void ask_program(struct ivs_doctor_vm *vm)
{
	char link[64];
	ssize_t len;

	snprintf(link, sizeof(link), "/proc/%d/exe", (int)vm->qemu->pid);
	len = readlink(link, vm->program, sizeof(vm->program) - 1);
	vm->program[len > 0 ? len : 0] = '\0';
	/* Other VMs do not matter enough to run their programs. */
	if (vm->named && *vm->program)
		vm_program_ask(link, vm);
}

static int examine(struct vm_links *links, struct ivs_doctor_vm *vm)
{
	struct stat st;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d", (int)vm->qemu->pid);
	if (stat(path, &st)) /* it has ended */
		return 0;
	vm->uid = st.st_uid;
	vm->gid = st.st_gid;
	if (!vm->qemu->unseen)
		vm->knows |= IVS_DOCTOR_VM_FILES;
	ask_limits(vm);
	ask_profile(vm);
	ask_program(vm);
	return vm_links_ask(links, vm);
}

static bool has_vfio_user(const struct ivs_host_vm *vm)
{
	for (size_t i = 0; i < vm->sockets_n; i++) {
		if (vm->sockets[i].vfio)
			return true;
	}
	return false;
}

/* Return: whether the process uses a file that is a region; @selected: one that is selected. */
static bool uses_region(const struct ivs_doctor_facts *facts, pid_t pid, bool selected)
{
	for (size_t i = 0; i < facts->regions_n; i++) {
		const struct ivs_host_region *region = facts->regions[i].host;

		if (selected ? !facts->regions[i].selected : !region->why)
			continue;
		for (size_t at = 0; at < region->users_n; at++) {
			if (region->users[at].pid == pid)
				return true;
		}
	}
	return false;
}

static bool is_selected(const struct scope *scope, const struct ivs_doctor_facts *facts,
			const struct ivs_host_qemu *qemu)
{
	if (scope->vm)
		return scope->vm == qemu->pid;
	if (scope->has_name)
		return uses_region(facts, qemu->pid, true);
	return scope_is_all(scope) && (qemu->vm.devices_n || has_vfio_user(&qemu->vm) ||
				       uses_region(facts, qemu->pid, false));
}

int collect_vms(const struct scope *scope, struct collected *out)
{
	struct ivs_doctor_facts *facts = &out->facts;
	struct vm_links links = {.host = &out->regions};
	int result = 0;

	facts->vms = calloc(out->regions.qemus_n + 1, sizeof(*facts->vms));
	if (!facts->vms)
		return -ENOMEM;
	facts->vms_n = out->regions.qemus_n;
	vm_links_start(&links);
	for (size_t i = 0; i < facts->vms_n && !result; i++) {
		struct ivs_doctor_vm *vm = &facts->vms[i];

		vm->qemu = &out->regions.qemus[i];
		vm->named = scope->vm && scope->vm == vm->qemu->pid;
		vm->selected = is_selected(scope, facts, vm->qemu);
		if (vm->selected)
			result = examine(&links, vm);
	}
	return result;
}

void collect_vms_deinit(struct collected *collected)
{
	for (size_t i = 0; i < collected->facts.vms_n; i++)
		free(collected->facts.vms[i].links);
	free(collected->facts.vms);
}
