/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/ivshmem/doctor/regions.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/access.h"
#include "base/clock.h"
#include "tools/ivshmem/doctor/bounded.h"
#include "tools/ivshmem/doctor/trust.h"

#define BLOCK_LEN 512 /* unit of st_blocks */
#define ALL_MS 15000  /* for all regions: any user can create many files */

/* Find out whether this user may read and write the file. */
static void ask_access(const char *path, struct ivs_doctor_region *out)
{
	out->knows |= IVS_DOCTOR_ACCESS;
	out->is_denied = faccessat(AT_FDCWD, path, R_OK | W_OK, AT_EACCESS) && errno == EACCES;
	if (out->is_denied)
		ivs_access_explain(path, R_OK | W_OK, out->denied_why);
}

static void ask_directory(const char *path, struct ivs_doctor_region *out)
{
	char copy[PATH_MAX];
	struct stat st;

	snprintf(copy, sizeof(copy), "%s", path);
	if (stat(dirname(copy), &st))
		return;
	out->is_sticky = (st.st_mode & S_ISVTX) && (st.st_mode & S_IWOTH);
	out->dir_uid = st.st_uid;
}

static void ask_space(const char *path, const struct stat *st, struct ivs_doctor_region *out)
{
	struct statfs fs;

	if (statfs(path, &fs))
		return;
	out->knows |= IVS_DOCTOR_SPACE;
	out->allocated = (uint64_t)st->st_blocks * BLOCK_LEN;
	out->free_len = (uint64_t)fs.f_bavail * (uint64_t)fs.f_bsize;
	out->total_len = (uint64_t)fs.f_blocks * (uint64_t)fs.f_bsize;
	if (!fs.f_blocks) /* a file system without a limit */
		out->free_len = UINT64_MAX;
}

static bool is_enforcing(void)
{
	FILE *file = fopen("/sys/fs/selinux/enforce", "re");
	int value = file ? fgetc(file) : '0';

	if (file)
		fclose(file);
	return value == '1';
}

static void ask_label(const char *path, struct ivs_doctor_region *out)
{
	ssize_t len;

	if (!is_enforcing())
		return;
	len = getxattr(path, "security.selinux", out->label, sizeof(out->label) - 1);
	out->label[len > 0 ? len : 0] = '\0';
	out->knows |= IVS_DOCTOR_LABELS;
}

/* Runs in a child process, because a file system may not answer. */
static bool ask_file(const void *question, void *answer)
{
	const struct ivs_host_region *host = question;
	struct ivs_doctor_region *out = answer;
	struct stat st;

	ask_access(host->path, out);
	if (stat(host->path, &st))
		return true;
	out->is_safe = trust_path(host->path);
	ask_directory(host->path, out);
	ask_space(host->path, &st, out);
	ask_label(host->path, out);
	return true;
}

/* Pages of a hugetlbfs come from the machine's pool, so its own limit is not the only one. */
static void limit_to_pool(struct ivs_doctor_region *out)
{
	uint64_t page_len = out->host->page_size;
	unsigned long long values[3] = {0};
	static const char *const names[] = {"nr_hugepages", "free_hugepages", "resv_hugepages"};

	out->knows &= ~(unsigned int)IVS_DOCTOR_SPACE;
	for (unsigned int i = 0; i < 3; i++) {
		char path[128];
		FILE *file;
		int n;

		snprintf(path, sizeof(path), "/sys/kernel/mm/hugepages/hugepages-%llukB/%s",
			 (unsigned long long)page_len / 1024, names[i]);
		file = fopen(path, "re");
		n = file ? fscanf(file, "%llu", &values[i]) : 0;
		if (file)
			fclose(file);
		if (n != 1)
			return;
	}
	out->total_len = values[0] * page_len;
	out->free_len = (values[1] > values[2] ? values[1] - values[2] : 0) * page_len;
	out->knows |= IVS_DOCTOR_SPACE;
}

static void examine(const struct ivs_host_region *host, struct ivs_doctor_region *out)
{
	const unsigned int none = IVS_HOST_NOTE_REMOVED | IVS_HOST_NOTE_REPLACED |
				  IVS_HOST_NOTE_ABSENT | IVS_HOST_NOTE_ELSEWHERE;

	if (host->known)
		out->knows |= IVS_DOCTOR_FILE;
	if (host->kind == IVS_HOST_MEMFD || host->notes & none)
		return;
	(void)bounded_run(ask_file, host, out, sizeof(*out));
	if (host->kind == IVS_HOST_HUGETLB)
		limit_to_pool(out);
}

void collect_region(struct ivs_doctor_region *region)
{
	if (!region->selected)
		examine(region->host, region);
	region->selected = true;
}

/* Return: whether the process uses the region. */
static bool is_used_by(const struct ivs_host_region *host, pid_t pid)
{
	for (size_t i = 0; i < host->users_n; i++) {
		if (host->users[i].pid == pid)
			return true;
	}
	return false;
}

static bool is_wanted(const struct scope *scope, const struct ivs_host_region *host)
{
	if (scope->vm)
		return host->why && is_used_by(host, scope->vm);
	return scope_is_all(scope) && host->why;
}

int collect_regions(const struct scope *scope, struct collected *out)
{
	const char *paths[] = {scope->has_name ? scope->name.path : NULL};
	int64_t deadline_ns = ivs_clock_deadline(ALL_MS);
	struct ivs_host_regions *host = &out->regions;
	int result = ivs_host_regions_find(paths, paths[0] ? 1 : 0, host);

	if (result)
		return result;
	ivs_host_users_unseen(host->unseen_n, host->hidden, out->unseen);
	out->facts.regions = calloc(host->n + 1, sizeof(*out->facts.regions));
	if (!out->facts.regions)
		return -ENOMEM;
	out->facts.regions_n = host->n;
	for (size_t i = 0; i < host->n; i++) {
		struct ivs_doctor_region *region = &out->facts.regions[i];

		region->host = &host->list[i];
		region->named = scope->has_name && region_name_is(&host->list[i], &scope->name);
		region->selected = region->named || is_wanted(scope, &host->list[i]);
		if (!region->selected)
			continue;
		if (ivs_clock_left_ms(deadline_ns) > 0 || region->named) {
			examine(&host->list[i], region);
		} else {
			region->selected = false;
			out->regions_left_n++;
		}
	}
	return 0;
}
