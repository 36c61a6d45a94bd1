/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The pass over /proc. A process that ends in the meantime is left out. Only procfs is read, which
 * takes what it shows about a file from the kernel's memory: no user's file system (FUSE) is
 * queried.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/statx.h"
#include "base/text.h"
#include "host/private.h"

#define CMDLINE_MAX (256 * 1024) /* arguments beyond this length are ignored */
#define MAPS_LEN (64 * 1024)	 /* more than a line, or than one read(2) returns */
#define NAME_LEN 4200		 /* room for a path with " (deleted)" */
#define KERNEL_THREAD 0x00200000 /* PF_KTHREAD */
#define DELETED " (deleted)"
#define HELPER "ivshmem-closer" /* see daemon/closer_helper.c */

/* State of the pass: its current position and its buffers. */
struct pass {
	const struct ivs_host_filter *filter;
	struct ivs_host_scan *scan;
	size_t room;
	size_t processes_room;
	size_t first_use; /* index of the first use of this process */
	struct ivs_host_process process;
	int dir_fd; /* /proc/PID */
	char *buffer;
};

bool ivs_host_name_is(const char *name, const char *path)
{
	size_t len = strlen(path);

	return !strncmp(name, path, len) && (!name[len] || !strcmp(name + len, DELETED));
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* Read a file of /proc/PID to its end. Return: its length, or -errno. */
static ssize_t pass_read(struct pass *pass, const char *name, size_t max)
{
	IVS_OWNED_FD fd = openat(pass->dir_fd, name, O_RDONLY | O_CLOEXEC);
	size_t len = 0;

	if (fd < 0)
		return -errno;
	while (len < max) {
		ssize_t n = read(fd, pass->buffer + len, max - len);

		if (n < 0)
			return -errno;
		if (!n)
			break;
		len += (size_t)n;
	}
	pass->buffer[len] = '\0';
	return (ssize_t)len;
}

/*
 * Return: whether the process, whose files cannot be seen, has no memory: a kernel thread or a
 * zombie.
 */
static bool pass_is_empty(struct pass *pass)
{
	ssize_t len = pass_read(pass, "stat", MAPS_LEN);
	const char *name_end = len > 0 ? strrchr(pass->buffer, ')') : NULL;
	unsigned int flags;
	char state;

	return name_end && sscanf(name_end, ") %c %*d %*d %*d %*d %*d %u", &state, &flags) == 2 &&
	       (state == 'Z' || state == 'X' || (flags & KERNEL_THREAD));
}

/* Return: the value of an option with one of three names, NULL if there are fewer; "" if none. */
static const char *find_option(const char *const names[3], const char *cmdline, size_t len)
{
	const char *end = cmdline + len;

	for (const char *at = cmdline; at < end; at += strlen(at) + 1) {
		for (size_t i = 0; i < 3 && names[i]; i++) {
			size_t name_len = strlen(names[i]);
			const char *rest = at + name_len;

			if (strncmp(at, names[i], name_len) != 0)
				continue;
			if (!*rest)
				return rest + 1 < end ? rest + 1 : "";
			if (names[i][1] != '-' || *rest == '=')
				return rest + (*rest == '=');
		}
	}
	return "";
}

/* Set what the arguments of an ivshmem-server say. */
static void process_take_server(struct ivs_host_process *process, const char *cmdline, size_t len)
{
	static const char *const socket_names[3] = {"--socket-path", "--socket", "-S"};
	static const char *const control_names[3] = {"--control"};
	const char *control = find_option(control_names, cmdline, len);

	ivs_text_shown(find_option(socket_names, cmdline, len), process->socket,
		       sizeof(process->socket));
	if (*control == '/' && strlen(control) < sizeof(process->control))
		strcpy(process->control, control);
}

/* Return: whether the process helps a server, whose arguments it has, and which it outlives. */
static bool pass_is_helper(struct pass *pass)
{
	return pass_read(pass, "comm", MAPS_LEN) > 0 && !strcmp(pass->buffer, HELPER "\n");
}

static bool is_peer_program(const char *name)
{
	static const char *const names[] = {"ivshmem-client", "ivshmem-device", "ivshmem",
					    "looking-glass-client"};

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		if (!strcmp(name, names[i]))
			return true;
	}
	return false;
}

/* Set what the arguments say about the process. Return: 0, -errno. */
static int pass_identify(struct pass *pass)
{
	struct ivs_host_process *process = &pass->process;
	ssize_t len = pass_read(pass, "cmdline", CMDLINE_MAX);
	const char *name;
	int result;

	if (len <= 0) { /* the file is not readable, or the process has no arguments */
		len = pass_read(pass, "comm", CMDLINE_MAX);
		if (len > 0)
			pass->buffer[len - 1] = '\0';
	}
	if (len <= 0)
		return 0;
	name = base_name(pass->buffer);
	ivs_text_shown(name, process->program, sizeof(process->program));
	process->server = !strcmp(name, "ivshmem-server");
	process->peer = is_peer_program(name);
	if (process->server)
		process_take_server(process, pass->buffer, (size_t)len);
	result = ivs_host_vm_parse(pass->buffer, (size_t)len, &process->vm);
	process->qemu = !result;
	process->server = process->server && !pass_is_helper(pass);
	return result < 0 ? result : 0;
}

/* Add a use by the process, unless it has too many. */
static int pass_add(struct pass *pass, const struct ivs_host_use *use)
{
	struct ivs_host_scan *scan = pass->scan;

	if (scan->uses_n - pass->first_use == IVS_HOST_USES_MAX) {
		scan->crowded_n += !pass->process.crowded;
		pass->process.crowded = true;
		return 0;
	}
	if (scan->uses_n == pass->room) {
		size_t room = pass->room ? 2 * pass->room : 64;
		struct ivs_host_use *uses = reallocarray(scan->uses, room, sizeof(*uses));

		if (!uses)
			return -ENOMEM;
		scan->uses = uses;
		pass->room = room;
	}
	scan->uses[scan->uses_n] = *use;
	scan->uses[scan->uses_n].process = scan->processes_n;
	scan->uses[scan->uses_n].name = strdup(use->name);
	return scan->uses[scan->uses_n++].name ? 0 : -ENOMEM;
}

static bool take_hex(const char **at, char after, uint64_t *out)
{
	const char *text = *at;

	for (*out = 0; isxdigit((unsigned char)*text); text++)
		*out = *out << 4 | (uint64_t)(*text <= '9' ? *text - '0' : (*text & 7) + 9);
	if (text == *at || *text != after)
		return false;
	*at = text + 1;
	return true;
}

/*
 * Parse a line of the form "START-END rwxs OFFSET MAJOR:MINOR INODE   NAME". Return: whether the
 * process maps a file that it can write to or that it shares.
 */
static bool parse_mapping(const char *line, struct ivs_host_use *use)
{
	uint64_t start;
	uint64_t end;
	uint64_t offset;
	uint64_t major_n;
	uint64_t minor_n;
	const char *flags;
	char *rest;

	if (!take_hex(&line, '-', &start) || !take_hex(&line, ' ', &end) || strlen(line) < 5)
		return false;
	flags = line;
	line += 5;
	if (!take_hex(&line, ' ', &offset) || !take_hex(&line, ':', &major_n) ||
	    !take_hex(&line, ' ', &minor_n))
		return false;
	*use = (struct ivs_host_use){.maps = true, .len = offset + (end - start)};
	use->dev = makedev((unsigned int)major_n, (unsigned int)minor_n);
	use->ino = strtoul(line, &rest, 10);
	use->shared = flags[3] == 's';
	use->name = rest + strspn(rest, " ");
	return use->ino && *use->name;
}

static void use_fill(struct ivs_host_use *use, const struct statx *st)
{
	use->exact = use->known = true;
	use->dev = makedev(st->stx_dev_major, st->stx_dev_minor);
	use->ino = st->stx_ino;
	use->size = st->stx_size;
	use->mode = st->stx_mode;
	use->uid = st->stx_uid;
	use->gid = st->stx_gid;
	use->block = st->stx_blksize;
	use->links = st->stx_nlink;
	use->chr = S_ISCHR(st->stx_mode);
}

/*
 * Return: whether the link to a mapped file has the file name that is in the line for the mapping.
 */
static bool pass_link_is(const struct pass *pass, const char *link, const char *name)
{
	char target[NAME_LEN];
	ssize_t len = readlinkat(pass->dir_fd, link, target, sizeof(target));

	return len > 0 && (size_t)len == strlen(name) && !memcmp(target, name, (size_t)len);
}

/*
 * Find out what only root can see of a mapped file: its real device, size and owner. On overlayfs,
 * its inode, too, may differ from the one in the line. Return: false if the mapping is no longer
 * there, or is now a different one.
 */
static bool pass_confirm(const struct pass *pass, const char *line, struct ivs_host_use *use)
{
	char path[64];
	struct statx st;

	snprintf(path, sizeof(path), "map_files/%.*s", (int)strcspn(line, " "), line);
	if (ivs_statx_at(pass->dir_fd, path, 0, STATX_BASIC_STATS, &st))
		return errno == EPERM || errno == EACCES ||
		       faccessat(pass->dir_fd, "map_files", F_OK, 0);
	if (st.stx_ino != use->ino && !pass_link_is(pass, path, use->name))
		return false;
	use_fill(use, &st);
	return true;
}

static int pass_take_line(struct pass *pass, const char *line)
{
	struct ivs_host_scan *scan = pass->scan;
	struct ivs_host_use *last = NULL;
	struct ivs_host_use use;

	if (!parse_mapping(line, &use))
		return 0;
	if (!strncmp(base_name(use.name), "libivshmem.so", strlen("libivshmem.so")))
		pass->process.peer = true;
	if (scan->uses_n > pass->first_use)
		last = &scan->uses[scan->uses_n - 1];
	if (last && last->ino == use.ino && !strcmp(last->name, use.name)) {
		last->shared |= use.shared;
		last->len = use.len > last->len ? use.len : last->len;
		return 0;
	}
	if (!pass->filter->wanted(pass->filter->context, &pass->process, &use) ||
	    !pass_confirm(pass, line, &use))
		return 0;
	if (use.exact && !pass->filter->wanted(pass->filter->context, &pass->process, &use))
		return 0;
	return pass_add(pass, &use);
}

/*
 * Read the maps in large pieces. The path of a file may be longer than such a piece. Another user
 * may have chosen the path, so the rest of its line must not be parsed as separate lines.
 * Return: 0; -errno from open(2), or -ENOMEM.
 */
static int pass_take_maps(struct pass *pass)
{
	IVS_OWNED_FD fd = openat(pass->dir_fd, "maps", O_RDONLY | O_CLOEXEC);
	char *buffer = pass->buffer;
	bool skips = false; /* the line that begins in the buffer is the rest of a longer one */
	size_t kept = 0;
	int result = 0;

	if (fd < 0)
		return -errno;
	while (!result) {
		ssize_t n = read(fd, buffer + kept, MAPS_LEN - kept);
		char *line = buffer;
		char *end;

		if (n <= 0)
			break;
		buffer[kept + (size_t)n] = '\0';
		while (!result && (end = strchr(line, '\n'))) {
			*end = '\0';
			result = skips ? 0 : pass_take_line(pass, line);
			skips = false;
			line = end + 1;
		}
		kept = strlen(line);
		if (kept == MAPS_LEN) {
			skips = true;
			kept = 0;
		}
		memmove(buffer, line, kept);
	}
	return result;
}

static int pass_take_fd(struct pass *pass, int dir_fd, const char *number)
{
	const struct ivs_host_filter *filter = pass->filter;
	struct ivs_host_use use = {.open = true};
	char name[NAME_LEN];
	struct statx st;
	ssize_t len;

	if (ivs_statx_at(dir_fd, number, 0, STATX_BASIC_STATS, &st) ||
	    (!S_ISREG(st.stx_mode) && !S_ISCHR(st.stx_mode)))
		return 0;
	use_fill(&use, &st);
	if (!filter->wanted(filter->context, &pass->process, &use))
		return 0;
	len = readlinkat(dir_fd, number, name, sizeof(name) - 1);
	if (len <= 0)
		return 0;
	name[len] = '\0';
	use.name = name;
	if (!filter->wanted(filter->context, &pass->process, &use))
		return 0;
	return pass_add(pass, &use);
}

/* Return: 0; -errno from open(2), or -ENOMEM. */
static int pass_take_fds(struct pass *pass)
{
	int fd = openat(pass->dir_fd, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;
	int result = 0;

	if (!dir) {
		result = -errno;
		ivs_fd_close(&fd);
		return result;
	}
	while (!result && (entry = readdir(dir))) {
		if (*entry->d_name != '.')
			result = pass_take_fd(pass, dirfd(dir), entry->d_name);
	}
	closedir(dir);
	return result;
}

/* Sort the uses so that those of the same file are adjacent. */
static int compare_uses(const void *left, const void *right)
{
	const struct ivs_host_use *a = left;
	const struct ivs_host_use *b = right;

	if (a->ino != b->ino)
		return a->ino < b->ino ? -1 : 1;
	return a->dev == b->dev ? 0 : a->dev < b->dev ? -1 : 1;
}

/* Add @use to @to, which is a use of the same file. */
static void merge_use(struct ivs_host_use *to, const struct ivs_host_use *use)
{
	struct ivs_host_use known = use->known ? *use : *to;

	known.maps = to->maps || use->maps;
	known.shared = to->shared || use->shared;
	known.open = to->open || use->open;
	known.len = to->len > use->len ? to->len : use->len;
	known.name = to->name;
	free((char *)use->name);
	*to = known;
}

/*
 * If only one of the devices is exact, files with the same inode and name count as the same file.
 */
static bool is_same_use(const struct ivs_host_use *a, const struct ivs_host_use *b)
{
	return a->ino == b->ino &&
	       (a->dev == b->dev || (a->exact != b->exact && !strcmp(a->name, b->name)));
}

/* Merge all uses of the same file into one. */
static void pass_merge(struct pass *pass)
{
	struct ivs_host_scan *scan = pass->scan;
	struct ivs_host_use *uses = scan->uses + pass->first_use;
	size_t n = scan->uses_n - pass->first_use;
	size_t kept = 0;

	if (!n)
		return;
	qsort(uses, n, sizeof(*uses), compare_uses);
	for (size_t i = 1; i < n; i++) {
		if (is_same_use(&uses[kept], &uses[i]))
			merge_use(&uses[kept], &uses[i]);
		else
			uses[++kept] = uses[i];
	}
	scan->uses_n = pass->first_use + kept + 1;
}

static void process_deinit(struct ivs_host_process *process)
{
	ivs_host_vm_deinit(&process->vm);
	*process = (struct ivs_host_process){0};
}

/* Keep the process if it has uses, or if it matters even without uses. */
static int pass_keep(struct pass *pass)
{
	struct ivs_host_scan *scan = pass->scan;
	const struct ivs_host_process *process = &pass->process;

	if (scan->uses_n == pass->first_use && !process->qemu && !process->server)
		return 0;
	if (scan->processes_n == pass->processes_room) {
		size_t room = pass->processes_room ? 2 * pass->processes_room : 16;
		struct ivs_host_process *grown = reallocarray(scan->processes, room,
							      sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		scan->processes = grown;
		pass->processes_room = room;
	}
	scan->processes[scan->processes_n++] = *process;
	pass->process = (struct ivs_host_process){0};
	return 0;
}

/* Return: whether the error means that the process has ended. */
static bool has_ended(int result)
{
	return result == -ENOENT || result == -ESRCH;
}

static int pass_take_process(struct pass *pass)
{
	int result = pass_identify(pass);

	if (!result)
		result = pass_take_maps(pass);
	if (!result)
		result = pass_take_fds(pass);
	if (has_ended(result))
		return 0;
	if (result == -EACCES || result == -EPERM) {
		result = 0;
		if (pass_is_empty(pass))
			return 0;
		pass->process.unseen = true;
		pass->scan->unseen_n++;
	}
	pass_merge(pass);
	return result ? result : pass_keep(pass);
}

static int pass_take_pid(struct pass *pass, int proc_fd, const char *name)
{
	IVS_OWNED_FD fd = -1;
	int result;

	pass->process = (struct ivs_host_process){.pid = atoi(name)};
	if (!isdigit((unsigned char)*name) || pass->process.pid == getpid())
		return 0;
	fd = openat(proc_fd, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return has_ended(-errno) ? 0 : -errno;
	pass->dir_fd = fd;
	pass->first_use = pass->scan->uses_n;
	result = pass_take_process(pass);
	process_deinit(&pass->process);
	return result;
}

int ivs_host_scan_run(const struct ivs_host_filter *filter, struct ivs_host_scan *out)
{
	struct ivs_host_scan scan = {0};
	struct pass pass = {.filter = filter, .scan = &scan};
	DIR *dir = opendir("/proc");
	struct dirent *entry;
	int result = 0;

	if (!dir)
		return -errno;
	pass.buffer = malloc(CMDLINE_MAX + 1);
	if (!pass.buffer)
		result = -ENOMEM;
	scan.hidden = faccessat(dirfd(dir), "1", F_OK, 0) && errno == ENOENT;
	while (!result && (entry = readdir(dir)))
		result = pass_take_pid(&pass, dirfd(dir), entry->d_name);
	free(pass.buffer);
	closedir(dir);
	if (result)
		ivs_host_scan_deinit(&scan);
	else
		*out = scan;
	return result;
}

void ivs_host_scan_deinit(struct ivs_host_scan *scan)
{
	for (size_t i = 0; i < scan->processes_n; i++)
		process_deinit(&scan->processes[i]);
	for (size_t i = 0; i < scan->uses_n; i++)
		free((char *)scan->uses[i].name);
	free(scan->processes);
	free(scan->uses);
	*scan = (struct ivs_host_scan){0};
}
