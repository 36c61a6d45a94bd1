/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Files with a name are listed first; then one pass over /proc finds the processes that use them,
 * and regions without a name. Uses are grouped by file, so that each group is either one region or
 * none.
 */
#include "host/regions.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/statx.h"
#include "host/private.h"

#define PATH_LEN 4096

struct build {
	struct ivs_host_places places;
	struct ivs_host_scan scan;
	struct ivs_host_regions out;
	size_t room;
	size_t users_room;
	struct ivs_host_index
		index; /* inodes of the files with a name; paths of all regions that have one */
	struct ivs_host_file *extras; /* one for each path that the caller gave */
	size_t extras_n;
	dev_t memfd_dev;
};

/* Add a region. Return: the region; NULL if out of memory. */
static struct ivs_host_region *build_add(struct build *build, const char *path)
{
	struct ivs_host_regions *out = &build->out;
	struct ivs_host_region *region;

	if (out->n == build->room) {
		size_t room = build->room ? 2 * build->room : 64;
		struct ivs_host_region *list = reallocarray(out->list, room, sizeof(*list));

		if (!list)
			return NULL;
		out->list = list;
		build->room = room;
	}
	region = &out->list[out->n];
	*region = (struct ivs_host_region){.path = strdup(path)};
	if (!region->path)
		return NULL;
	out->n++;
	return region;
}

static int build_add_named(struct build *build, const char *path, enum ivs_host_kind kind,
			   uint64_t page_size, const struct statx *st)
{
	struct ivs_host_region *region = build_add(build, path);

	if (!region)
		return -ENOMEM;
	region->kind = kind;
	region->dev = makedev(st->stx_dev_major, st->stx_dev_minor);
	region->ino = st->stx_ino;
	region->known = true;
	region->size = st->stx_size;
	region->page_size = page_size;
	region->uid = st->stx_uid;
	region->gid = st->stx_gid;
	region->mode = st->stx_mode & 07777;
	return 0;
}

/* List a directory. @prefix: only names that start with it count. */
static int build_list(struct build *build, int fd, const char *directory, const char *prefix,
		      int (*take)(struct build *, const char *path, const struct statx *, void *),
		      void *context)
{
	IVS_OWNED_FD copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = copy < 0 ? NULL : fdopendir(copy);
	struct dirent *entry;
	char path[PATH_LEN];
	struct statx st;
	int result = 0;

	if (!dir)
		return 0; /* the directory is not readable; files in use are found by their users */
	ivs_fd_take(&copy);
	while (!result && (entry = readdir(dir))) {
		if (strncmp(entry->d_name, prefix, strlen(prefix)) != 0 ||
		    ivs_statx_at(dirfd(dir), entry->d_name, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS,
				 &st) ||
		    (size_t)snprintf(path, sizeof(path), "%s/%s", directory, entry->d_name) >=
			    sizeof(path))
			continue;
		result = take(build, path, &st, context);
	}
	closedir(dir);
	return result;
}

static int take_in_place(struct build *build, const char *path, const struct statx *st,
			 void *context)
{
	const struct ivs_host_place *place = context;

	if (!S_ISREG(st->stx_mode) || makedev(st->stx_dev_major, st->stx_dev_minor) != place->dev)
		return 0;
	return build_add_named(build, path, place->kind, place->page_size, st);
}

static int take_kvmfr(struct build *build, const char *path, const struct statx *st, void *context)
{
	int result = 0;

	(void)context;
	if (S_ISREG(st->stx_mode)) {
		result = build_add_named(build, path, IVS_HOST_FILE,
					 (uint64_t)sysconf(_SC_PAGESIZE), st);
		if (!result)
			build->out.list[build->out.n - 1].notes |= IVS_HOST_NOTE_KVMFR;
	} else if (S_ISCHR(st->stx_mode)) {
		result = build_add_named(build, path, IVS_HOST_DEVICE, 0, st);
	}
	if (!result && (S_ISREG(st->stx_mode) || S_ISCHR(st->stx_mode)))
		build->out.list[build->out.n - 1].why |= IVS_HOST_LIKELY;
	return result;
}

/* Add the file at a path that the caller gave, unless that path is in one of the places. */
static int build_list_extra(struct build *build, const char *path)
{
	struct statx st;

	if (ivs_statx_at(AT_FDCWD, path, 0, STATX_BASIC_STATS, &st) || !S_ISREG(st.stx_mode))
		return 0;
	for (size_t i = 0; i < build->out.n; i++) {
		if (build->out.list[i].ino == st.stx_ino && !strcmp(build->out.list[i].path, path))
			return 0;
	}
	build->extras[build->extras_n++] = (struct ivs_host_file){
		makedev(st.stx_dev_major, st.stx_dev_minor), st.stx_ino, path};
	return build_add_named(build, path, IVS_HOST_FILE, (uint64_t)sysconf(_SC_PAGESIZE), &st);
}

static int build_list_all(struct build *build, const char *const *paths, size_t paths_n)
{
	IVS_OWNED_FD dev_fd = open("/dev", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int result = 0;

	for (size_t i = 0; i < build->places.n && !result; i++) {
		struct ivs_host_place *place = &build->places.list[i];

		result = build_list(build, place->fd, place->path, "", take_in_place, place);
	}
	if (!result)
		result = build_list(build, dev_fd, "/dev", "kvmfr", take_kvmfr, NULL);
	for (size_t i = 0; i < paths_n && !result; i++)
		result = build_list_extra(build, paths[i]);
	return result;
}

static bool is_extra(const struct build *build, const struct ivs_host_use *use)
{
	for (size_t i = 0; i < build->extras_n; i++) {
		const struct ivs_host_file *file = &build->extras[i];

		if (file->ino == use->ino &&
		    (file->dev == use->dev ||
		     (!use->exact && ivs_host_name_is(use->name, file->path))))
			return true;
	}
	return false;
}

static bool build_wanted(const void *context, const struct ivs_host_process *process,
			 const struct ivs_host_use *use)
{
	const struct build *build = context;

	if (is_extra(build, use))
		return true;
	if (!use->name)
		return use->chr || major(use->dev) == 0 || ivs_host_use_is_region(process, use);
	if (use->chr)
		return !strncmp(use->name, "/dev/kvmfr", 10);
	if (ivs_host_place_of(&build->places, use->dev, use->name))
		return true;
	return ivs_host_name_is_memfd(use->name) || ivs_host_use_is_region(process, use);
}

static int build_add_user(struct build *build, size_t region,
			  const struct ivs_host_process *process, const struct ivs_host_use *use,
			  bool copies)
{
	struct ivs_host_regions *out = &build->out;
	struct ivs_host_user *user;

	if (out->users_n == build->users_room) {
		size_t room = build->users_room ? 2 * build->users_room : 64;
		struct ivs_host_user *list = reallocarray(out->users, room, sizeof(*list));

		if (!list)
			return -ENOMEM;
		out->users = list;
		build->users_room = room;
	}
	user = &out->users[out->users_n++];
	*user = (struct ivs_host_user){.file = region, .named = !use, .copies = copies};
	if (copies)
		out->list[region].notes |= IVS_HOST_NOTE_PRIVATE;
	ivs_host_user_fill(user, process);
	if (use) {
		user->maps = use->maps;
		user->shared = use->shared;
		user->open = use->open;
	}
	return 0;
}

/*
 * Return: the index of the region with this file; out->n if there is none. @uses: one or more uses
 * of the file.
 */
static size_t build_find(const struct build *build, const struct ivs_host_use *use)
{
	const struct ivs_host_index *index = &build->index;

	for (size_t i = ivs_host_index_first(index, use->ino);
	     i < index->inodes_n && index->inodes[i].ino == use->ino; i++) {
		const struct ivs_host_region *region = &build->out.list[index->inodes[i].at];

		if (region->dev == use->dev ||
		    (!use->exact && ivs_host_name_is(use->name, region->path)))
			return index->inodes[i].at;
	}
	return build->out.n;
}

/*
 * Create a region from a group of uses whose file has no name here, or only names that were not
 * listed.
 */
static int build_add_nameless(struct build *build, const struct ivs_host_use *use)
{
	const struct ivs_host_place *place = ivs_host_place_of(&build->places, use->dev, use->name);
	struct ivs_host_region *region;
	char path[PATH_LEN];
	bool deleted = ivs_host_name_trim(use->name, path, sizeof(path));
	bool memfd = ivs_host_name_is_memfd(use->name);

	region = build_add(build, memfd ? path + 1 : path);
	if (!region)
		return -ENOMEM;
	region->kind = memfd ? IVS_HOST_MEMFD : place ? place->kind : IVS_HOST_FILE;
	region->dev = use->dev;
	region->ino = use->ino;
	region->known = use->known;
	region->size = use->known ? use->size : use->len;
	region->uid = use->uid;
	region->gid = use->gid;
	region->mode = use->mode & 07777;
	region->page_size = (uint64_t)sysconf(_SC_PAGESIZE);
	if (place)
		region->page_size = place->page_size;
	else if (memfd && use->dev != build->memfd_dev)
		region->page_size = use->known ? use->block : 0;
	if (memfd || ivs_host_name_is_unnamed(path))
		return 0;
	if (place && place->dev != use->dev)
		region->notes |= IVS_HOST_NOTE_ELSEWHERE;
	else if (deleted && (!use->known || !use->links))
		region->notes |= IVS_HOST_NOTE_REMOVED;
	return 0;
}

/* Return: whether a group of uses without a listed file counts as a region. */
static bool group_counts(const struct build *build, const struct ivs_host_use *const *uses,
			 size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (ivs_host_use_is_region(&build->scan.processes[uses[i]->process], uses[i]))
			return true;
	}
	return !ivs_host_name_is_memfd(uses[0]->name) &&
	       ivs_host_place_of(&build->places, uses[0]->dev, uses[0]->name);
}

static int build_take_group(struct build *build, const struct ivs_host_use *const *uses, size_t n)
{
	const struct ivs_host_use *best = uses[0];
	struct ivs_host_region *region;
	size_t at = build_find(build, uses[0]);
	int result = 0;

	for (size_t i = 1; i < n; i++)
		best = uses[i]->known && !best->known ? uses[i] : best;
	if (at == build->out.n) {
		if (!group_counts(build, uses, n))
			return 0;
		result = build_add_nameless(build, best);
	}
	for (size_t i = 0; i < n && !result; i++) {
		const struct ivs_host_process *process = &build->scan.processes[uses[i]->process];

		region = &build->out.list[at];
		if (ivs_host_use_is_region(process, uses[i]))
			region->why |= IVS_HOST_USED;
		result = build_add_user(build, at, process, uses[i],
					ivs_host_use_is_private(process, uses[i]));
	}
	return result;
}

static int compare_uses(const void *left, const void *right)
{
	const struct ivs_host_use *a = *(const struct ivs_host_use *const *)left;
	const struct ivs_host_use *b = *(const struct ivs_host_use *const *)right;

	if (a->ino != b->ino)
		return a->ino < b->ino ? -1 : 1;
	return a->dev == b->dev ? 0 : a->dev < b->dev ? -1 : 1;
}

static int build_take_uses(struct build *build)
{
	const struct ivs_host_scan *scan = &build->scan;
	const struct ivs_host_use **sorted = calloc(scan->uses_n + 1, sizeof(*sorted));
	size_t first = 0;
	int result = 0;

	if (!sorted)
		return -ENOMEM;
	for (size_t i = 0; i < scan->uses_n; i++)
		sorted[i] = &scan->uses[i];
	qsort(sorted, scan->uses_n, sizeof(*sorted), compare_uses);
	for (size_t i = 1; i <= scan->uses_n && !result; i++) {
		if (i < scan->uses_n && !compare_uses(&sorted[first], &sorted[i]))
			continue;
		result = build_take_group(build, sorted + first, i - first);
		first = i;
	}
	free(sorted);
	return result;
}

/* Index the paths of the regions that can be found at their path. */
static int build_index_paths(struct build *build)
{
	const unsigned int not_there = IVS_HOST_NOTE_REMOVED | IVS_HOST_NOTE_ELSEWHERE;
	int result = 0;

	for (size_t i = 0; i < build->out.n && !result; i++) {
		size_t at = i;

		if (!(build->out.list[i].notes & not_there))
			result = ivs_host_index_path(&build->index, build->out.list[i].path, &at);
	}
	return result;
}

/* Find or add the region at a path that tmpfiles.d or a VM's arguments name. */
static int build_name(struct build *build, const char *path, size_t *out)
{
	const struct ivs_host_place *place = ivs_host_place_of(&build->places, 0, path);
	struct ivs_host_region *region;

	if (ivs_host_index_has_path(&build->index, path, out))
		return 0;
	*out = build->out.n;
	region = build_add(build, path);
	if (!region)
		return -ENOMEM;
	region->kind = place ? place->kind : IVS_HOST_FILE;
	if (place)
		region->notes |= IVS_HOST_NOTE_ABSENT;
	return ivs_host_index_path(&build->index, region->path, out);
}

/* Add the files that the arguments of a VM name, if the files that the VM uses cannot be seen. */
static int build_take_arguments(struct build *build, const struct ivs_host_process *process)
{
	int result = 0;

	for (size_t i = 0; i < process->vm.memories_n && !result; i++) {
		const struct ivs_host_memory *memory = &process->vm.memories[i];
		size_t at;

		if (!memory->ivshmem || *memory->path != '/' || !process->unseen)
			continue;
		result = build_name(build, memory->path, &at);
		if (result)
			break;
		build->out.list[at].why |= IVS_HOST_NAMED;
		result = build_add_user(build, at, process, NULL, !memory->shared);
	}
	return result;
}

static int take_boot(void *context, const char *path, const char *conf)
{
	struct build *build = context;
	size_t at;
	int result;

	if (!ivs_host_place_of(&build->places, 0, path))
		return 0;
	result = build_name(build, path, &at);
	if (result)
		return result;
	build->out.list[at].why |= IVS_HOST_BOOT;
	if (!build->out.list[at].boot)
		build->out.list[at].boot = strdup(conf);
	return build->out.list[at].boot ? 0 : -ENOMEM;
}

static void build_find_memfd_device(struct build *build)
{
	IVS_OWNED_FD fd = memfd_create("ivshmem-list", MFD_CLOEXEC);
	struct statx st;

	if (fd >= 0 && !ivs_statx(fd, STATX_BASIC_STATS, &st))
		build->memfd_dev = makedev(st.stx_dev_major, st.stx_dev_minor);
}

static int build_take_servers(struct build *build)
{
	const struct ivs_host_scan *scan = &build->scan;
	struct ivs_host_regions *out = &build->out;

	out->servers = calloc(scan->processes_n + 1, sizeof(*out->servers));
	if (!out->servers)
		return -ENOMEM;
	for (size_t i = 0; i < scan->processes_n; i++) {
		const struct ivs_host_process *process = &scan->processes[i];
		struct ivs_host_server *server = &out->servers[out->servers_n];

		if (!process->server)
			continue;
		out->servers_n++;
		server->pid = process->pid;
		memcpy(server->socket, process->socket, sizeof(server->socket));
		memcpy(server->control, process->control, sizeof(server->control));
	}
	return 0;
}

/* Called last, because it takes what the arguments of the VMs say. */
static int build_take_qemus(struct build *build)
{
	struct ivs_host_scan *scan = &build->scan;
	struct ivs_host_regions *out = &build->out;

	out->qemus = calloc(scan->processes_n + 1, sizeof(*out->qemus));
	if (!out->qemus)
		return -ENOMEM;
	for (size_t i = 0; i < scan->processes_n; i++) {
		struct ivs_host_process *process = &scan->processes[i];

		if (!process->qemu)
			continue;
		out->qemus[out->qemus_n++] = (struct ivs_host_qemu){
			.pid = process->pid, .unseen = process->unseen, .vm = process->vm};
		process->vm = (struct ivs_host_vm){0};
	}
	return 0;
}

static int build_run(struct build *build, const char *const *paths, size_t paths_n)
{
	const struct ivs_host_filter filter = {build_wanted, build};
	int result = build_list_all(build, paths, paths_n);

	if (!result)
		result = ivs_host_index_inodes(&build->index, &build->out);
	if (!result)
		result = ivs_host_scan_run(&filter, &build->scan);
	if (!result)
		result = build_take_uses(build);
	if (!result)
		result = build_index_paths(build);
	for (size_t i = 0; i < build->scan.processes_n && !result; i++)
		result = build_take_arguments(build, &build->scan.processes[i]);
	if (!result)
		result = ivs_host_boot_read(take_boot, build);
	if (!result)
		result = build_take_servers(build);
	if (!result)
		result = build_take_qemus(build);
	build->out.unseen_n = build->scan.unseen_n;
	build->out.crowded_n = build->scan.crowded_n;
	build->out.hidden = build->scan.hidden;
	return result ? result : ivs_host_regions_judge(&build->out);
}

int ivs_host_regions_find(const char *const *paths, size_t paths_n, struct ivs_host_regions *out)
{
	struct build build = {0};
	int result;

	build.extras = calloc(paths_n + 1, sizeof(*build.extras));
	if (!build.extras)
		return -ENOMEM;
	ivs_host_places_open(&build.places);
	build_find_memfd_device(&build);
	result = build_run(&build, paths, paths_n);
	free(build.extras);
	ivs_host_places_close(&build.places);
	ivs_host_scan_deinit(&build.scan);
	ivs_host_index_deinit(&build.index);
	if (result)
		ivs_host_regions_deinit(&build.out);
	else
		*out = build.out;
	return result;
}

void ivs_host_regions_deinit(struct ivs_host_regions *regions)
{
	for (size_t i = 0; i < regions->n; i++) {
		free(regions->list[i].path);
		free(regions->list[i].boot);
	}
	free(regions->list);
	free(regions->users);
	free(regions->servers);
	for (size_t i = 0; i < regions->qemus_n; i++)
		ivs_host_vm_deinit(&regions->qemus[i].vm);
	free(regions->qemus);
	*regions = (struct ivs_host_regions){0};
}
