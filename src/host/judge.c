/* SPDX-License-Identifier: BSD-3-Clause */
/* Decides which files are regions, and what is wrong with them. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/parse.h"
#include "host/private.h"

#define MEMFD_PREFIX "/memfd:"
#define DELETED " (deleted)"
#define LIKELY_SIZE_MIN (1 << 20) /* the smallest BAR that libvirt creates */
#define PAGE_MIN 4096

static bool begins(const char *text, const char *with)
{
	return !strncmp(text, with, strlen(with));
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

bool ivs_host_name_is_memfd(const char *name)
{
	return begins(name, MEMFD_PREFIX);
}

bool ivs_host_name_trim(const char *name, char *out, size_t out_len)
{
	size_t len = strlen(name);
	size_t end_len = strlen(DELETED);
	bool deleted = len > end_len && !strcmp(name + len - end_len, DELETED);

	snprintf(out, out_len, "%.*s", (int)(deleted ? len - end_len : len), name);
	return deleted;
}

bool ivs_host_name_is_unnamed(const char *path)
{
	const char *name = base_name(path);

	return (begins(name, "ivshmem.") && strlen(name) == strlen("ivshmem.XXXXXX")) ||
	       begins(name, "qemu_back_mem.") || *name == '#';
}

/*
 * Return: whether @path is @name, or is the directory in which QEMU created and removed a file of
 * that name.
 */
static bool memory_has_name(const struct ivs_host_memory *memory, const struct ivs_host_use *use)
{
	size_t len;

	if (memory->memfd)
		return begins(use->name, MEMFD_PREFIX "memory-backend-memfd") &&
		       (!memory->size || memory->size == (use->known ? use->size : use->len));
	len = strlen(memory->path);
	return ivs_host_name_is(use->name, memory->path) ||
	       (begins(use->name, memory->path) && use->name[len] == '/' &&
		begins(use->name + len + 1, "qemu_back_mem."));
}

/* Return: what the VM's arguments say about the file; NULL if they say nothing. */
static const struct ivs_host_memory *vm_memory(const struct ivs_host_vm *vm,
					       const struct ivs_host_use *use)
{
	for (size_t i = 0; i < vm->memories_n; i++) {
		if (memory_has_name(&vm->memories[i], use))
			return &vm->memories[i];
	}
	return NULL;
}

static bool vm_has_server(const struct ivs_host_vm *vm)
{
	for (size_t i = 0; i < vm->sockets_n; i++) {
		if (vm->sockets[i].doorbell || vm->sockets[i].vfio)
			return true;
	}
	return false;
}

static bool has_region_size(const struct ivs_host_use *use)
{
	uint64_t size = use->known ? use->size : use->len;

	return size >= PAGE_MIN && ivs_is_power_of_two(size);
}

/* Return: whether the name belongs to a program's private memory rather than to a region. */
static bool is_own_memory(const char *name)
{
	static const char *const names[] = {"/dev/zero", "/SYSV", MEMFD_PREFIX "ivshmem-",
					    "/anon_hugepage"};

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		if (begins(name, names[i]))
			return true;
	}
	return false;
}

/* The arguments do not contain devices that were plugged in later. */
static bool qemu_uses(const struct ivs_host_process *process, const struct ivs_host_use *use)
{
	const struct ivs_host_memory *memory = vm_memory(&process->vm, use);

	if (memory)
		return memory->ivshmem;
	if (!use->maps || !use->shared || begins(use->name, MEMFD_PREFIX "memory-backend"))
		return false;
	return begins(use->name, MEMFD_PREFIX "ivshmem") || begins(use->name, "/dev/shm/") ||
	       (vm_has_server(&process->vm) && has_region_size(use));
}

bool ivs_host_use_is_region(const struct ivs_host_process *process, const struct ivs_host_use *use)
{
	if (!use->name) /* ask again once the name is known */
		return process->qemu || process->server || process->peer;
	if (is_own_memory(use->name))
		return false;
	if (use->chr)
		return true;
	if (process->qemu)
		return qemu_uses(process, use);
	if (process->server)
		return has_region_size(use) || begins(use->name, MEMFD_PREFIX);
	return process->peer && use->maps && use->shared &&
	       (begins(use->name, MEMFD_PREFIX "ivshmem") || begins(use->name, "/dev/shm/"));
}

bool ivs_host_use_is_private(const struct ivs_host_process *process, const struct ivs_host_use *use)
{
	return process->qemu && use->maps && !use->shared && !use->chr &&
	       ivs_host_use_is_region(process, use);
}

/* Return: whether other programs give such names to their files in /dev/shm and hugetlbfs. */
static bool has_name_of_others(const char *name)
{
	static const char *const names[] = {
		"sem.",
		"pulse-shm-",
		".org.chromium.",
		"org.chromium.",
		".com.google.Chrome.",
		"jack-",
		"lttng-ust-",
		"PostgreSQL.",
		"wayland-",
		".xshm",
		"rtemap_",
		"qemu_back_mem.",
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		if (begins(name, names[i]))
			return true;
	}
	return false;
}

/*
 * Return: whether the documentation of Looking Glass, Proxmox, Scream or this project gives such a
 * name to regions.
 */
static bool has_name_of_regions(const char *name)
{
	static const char *const names[] = {"looking-glass", "pve-shm-", "scream", "ivshmem"};

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		if (begins(name, names[i]))
			return true;
	}
	return false;
}

static bool is_likely(const struct ivs_host_region *region)
{
	const char *name = base_name(region->path);

	if (has_name_of_others(name))
		return false;
	return has_name_of_regions(name) || !region->size ||
	       (region->size >= LIKELY_SIZE_MIN && ivs_is_power_of_two(region->size));
}

static int compare_regions(const void *left, const void *right)
{
	const struct ivs_host_region *a = left;
	const struct ivs_host_region *b = right;
	int order = strcmp(a->path, b->path);
	unsigned int a_removed = a->notes & IVS_HOST_NOTE_REMOVED;
	unsigned int b_removed = b->notes & IVS_HOST_NOTE_REMOVED;

	if (order || a_removed != b_removed)
		return order ? order : (int)a_removed - (int)b_removed;
	return a->ino == b->ino ? 0 : a->ino < b->ino ? -1 : 1;
}

static int compare_users(const void *left, const void *right)
{
	const struct ivs_host_user *a = left;
	const struct ivs_host_user *b = right;

	if (a->file != b->file)
		return a->file < b->file ? -1 : 1;
	return a->pid == b->pid ? 0 : a->pid < b->pid ? -1 : 1;
}

/* Sort the regions, and assign each of them its users. */
static int regions_sort(struct ivs_host_regions *regions)
{
	size_t *places = calloc(regions->n + 1, sizeof(*places));

	if (!places)
		return -ENOMEM;
	for (size_t i = 0; i < regions->n; i++)
		regions->list[i].users_n = i; /* the region's index before sorting */
	if (regions->n)
		qsort(regions->list, regions->n, sizeof(*regions->list), compare_regions);
	for (size_t i = 0; i < regions->n; i++) {
		places[regions->list[i].users_n] = i;
		regions->list[i].users_n = 0;
	}
	for (size_t i = 0; i < regions->users_n; i++)
		regions->users[i].file = places[regions->users[i].file];
	free(places);
	if (regions->users_n)
		qsort(regions->users, regions->users_n, sizeof(*regions->users), compare_users);
	for (size_t i = regions->users_n; i-- > 0;) {
		struct ivs_host_region *region = &regions->list[regions->users[i].file];

		region->users = &regions->users[i];
		region->users_n++;
	}
	return 0;
}

/*
 * When sorted by path, a removed file follows the file that now has its name. If the two are in
 * different file systems, the removed one had its name in another mount namespace.
 */
static void judge_replaced(struct ivs_host_region *named, struct ivs_host_region *removed)
{
	const unsigned int not_here = IVS_HOST_NOTE_REMOVED | IVS_HOST_NOTE_ABSENT |
				      IVS_HOST_NOTE_ELSEWHERE;

	if (strcmp(named->path, removed->path) != 0 || (named->notes & not_here) ||
	    (named->known && removed->known && named->dev != removed->dev))
		return;
	removed->notes &= ~(unsigned int)IVS_HOST_NOTE_REMOVED;
	removed->notes |= IVS_HOST_NOTE_REPLACED;
	named->notes |= IVS_HOST_NOTE_SPLIT;
	named->why |= removed->why & (IVS_HOST_USED | IVS_HOST_LIKELY);
}

int ivs_host_regions_judge(struct ivs_host_regions *regions)
{
	size_t named = 0;
	int result = regions_sort(regions);

	for (size_t i = 0; i < regions->n && !result; i++) {
		struct ivs_host_region *region = &regions->list[i];
		bool has_size = region->known && region->kind != IVS_HOST_DEVICE;

		if (has_size && !region->size)
			region->notes |= IVS_HOST_NOTE_EMPTY;
		else if (has_size && !ivs_is_power_of_two(region->size))
			region->notes |= IVS_HOST_NOTE_SIZE;
		if (has_size && is_likely(region))
			region->why |= IVS_HOST_LIKELY;
		if (!(region->notes & (IVS_HOST_NOTE_REMOVED | IVS_HOST_NOTE_ELSEWHERE)))
			named = i;
		else if (region->notes & IVS_HOST_NOTE_REMOVED && i != named)
			judge_replaced(&regions->list[named], region);
	}
	return result;
}

const char *ivs_host_kind_name(enum ivs_host_kind kind)
{
	static const char *const names[] = {"shm", "file", "hugetlb", "memfd", "device"};

	return names[kind];
}

const char *ivs_host_note_name(unsigned int i)
{
	static const char *const names[IVS_HOST_NOTES_N] = {
		"size",	   "empty", "removed", "replaced",  "split",
		"private", "kvmfr", "absent",  "elsewhere",
	};

	return names[i];
}

const char *ivs_host_region_address(const struct ivs_host_region *region, char *out, size_t out_len)
{
	const char *prefix = "file:";
	const char *path = region->path;

	if (region->kind == IVS_HOST_SHM && begins(path, "/dev/shm/") &&
	    !strchr(path + strlen("/dev/shm/"), '/')) {
		prefix = "shm:";
		path += strlen("/dev/shm/");
	} else if (region->kind == IVS_HOST_MEMFD || region->kind == IVS_HOST_DEVICE) {
		prefix = "";
	}
	snprintf(out, out_len, "%s%s", prefix, path);
	return out;
}
