/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation. The metrics are formatted once per interval. They are written if they differ
 * from the file, or if the file is old, because a recent file shows that the server is alive. A new
 * file is renamed over the old one, so that no reader sees an incomplete file. The directory is
 * held open, so that the file can be reached after chroot(2).
 */
#include "server/observe/metrics.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/shell.h"
#include "base/text.h"
#include "server/announce.h"
#include "server/flight.h"
#include "server/observe/status.h"

/* Allow opening files for writing only with O_EXCL, so that no existing file can be written to. */
#define OPENS_NEW                                                                                  \
	{                                                                                          \
		"openat",                                                                          \
		{                                                                                  \
			IVS_ARG_HAS(3, IVS_OPEN_WRITES | O_EXCL, O_WRONLY | O_CREAT | O_EXCL)      \
		}                                                                                  \
	}

IVS_SYSCALLS(ivs_metrics_syscalls, OPENS_NEW, IVS_CALL_FSTAT, IVS_CALL_LSTAT, {"getdents64"},
	     {"getdents"}, {"unlinkat", {IVS_ARG_IS(3, 0)}}, {"fchmod"}, {"write"}, {"renameat"},
	     {"renameat2", {IVS_ARG_IS(5, 0)}}, IVS_CALL_GETRLIMIT, {"close"}, {"lseek"},
	     IVS_CALL_GETFL, IVS_CALL_DUPFD_CLOEXEC);

#define OLD_INTERVALS 4 /* a file that is this old is replaced even if nothing has changed */
#define NAME_LEN 256
#define LABEL_LEN 512

/**
 * struct ivs_metrics - the metrics file
 * @fds:        /proc/self/fd, opened before the filter is loaded; NULL: not needed
 * @counted:    the fds have been counted before; the filter may now be loaded, and it does not
 *              allow opening @fds
 * @dir_fd:     the directory of the file
 * @name:       name of the file in the directory
 * @tmp:        name of a new file until it is complete
 * @text:       contents of the file, or NULL
 * @written_ns: when the file was last written
 * @failing:    the last attempt to write failed, and this has been logged
 * @ours:       the file that was last written; st_nlink is 0 if there is none
 * @timer:      sets @due when the file has to be updated
 * @step:       updates the file at the end of a round, if @due is set
 */
struct ivs_metrics {
	const char *path;
	int64_t interval_ns;
	DIR *fds;
	bool counted;
	int dir_fd;
	char name[NAME_LEN];
	char tmp[NAME_LEN + 8];
	char *text;
	int64_t written_ns;
	bool failing;
	struct stat ours;
	struct ivs_loop_timer timer;
	struct ivs_loop_step step;
	struct ivs_server *server;
	bool due;
};

/* Turn @text into the value of a label: valid UTF-8, with special characters escaped. */
static const char *escape_label(const char *text, char out[LABEL_LEN])
{
	char valid[LABEL_LEN / 2];
	size_t at = 0;

	ivs_text_valid(text, valid, sizeof(valid));
	for (const char *in = valid; *in; in++) {
		if (*in == '\\' || *in == '"' || *in == '\n')
			out[at++] = '\\';
		out[at++] = *in == '\n' ? 'n' : *in;
	}
	out[at] = '\0';
	return out;
}

static void put_head(FILE *out, const char *name, const char *type, const char *help)
{
	fprintf(out, "# HELP ivshmem_server_%s %s\n# TYPE ivshmem_server_%s %s\n", name, help, name,
		type);
}

/* Print the metrics that have a single value. */
static void put_numbers(const struct ivs_server *server, uint64_t open_fds, FILE *out)
{
	uint64_t behind = 0;
	uint64_t behind_max = 0;
	unsigned int blocked_n = 0;
	struct rlimit limit = {0};
	char socket[LABEL_LEN];

	for (unsigned int id = 0; id < server->ids_end; id++) {
		uint64_t n = server->clients[id] ? ivs_roster_behind(server->roster, id) : 0;

		behind += n;
		behind_max = n > behind_max ? n : behind_max;
		blocked_n += server->clients[id] && server->clients[id]->blocked;
	}
	getrlimit(RLIMIT_NOFILE, &limit);
	escape_label(server->listener.path, socket);

	const struct {
		const char *name;
		const char *type;
		uint64_t value;
		const char *help;
	} numbers[] = {
		{"up", "gauge", 1, "1 while the server runs; it removes this file when it ends."},
		{"vectors", "gauge", server->vectors_n, "Doorbells of each client."},
		{"region_bytes", "gauge", ivs_region_size(server->region), "Size of the region."},
		{"peers", "gauge", ivs_roster_peers(server->roster), "Clients that are connected."},
		{"peers_blocked", "gauge", blocked_n, "Clients that do not read their messages."},
		{"behind_messages", "gauge", behind,
		 "Messages that still have to be sent, in total for all clients."},
		{"behind_messages_max", "gauge", behind_max,
		 "Messages that still have to be sent to the client furthest behind."},
		{"waiting", "gauge", ivs_server_is_waiting(server),
		 "1 while the kernel refuses more file descriptors in flight."},
		{"ids_left", "gauge", ivs_roster_unknown(server->roster),
		 "Ids that are not in use and that no connected client knows."},
		{"vacant_ids", "gauge", server->seats_n,
		 "Ids of clients that have left, kept for newcomers because a QEMU knows them."},
		{"in_flight_fds", "gauge", ivs_flight_total(server),
		 "Upper bound on the file descriptors that have been sent to clients but not "
		 "read."},
		{"open_fds", "gauge", open_fds, "File descriptors that the server has open."},
		{"max_fds", "gauge", limit.rlim_cur,
		 "File descriptors that the server may have open."},
		{"joined_total", "counter", server->totals.joined, "Clients that have joined."},
		{"messages_total", "counter", server->totals.messages,
		 "Messages that have been sent to clients."},
		{"waits_total", "counter", server->totals.waits,
		 "How often the kernel refused more file descriptors in flight."},
	};

	for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++) {
		put_head(out, numbers[i].name, numbers[i].type, numbers[i].help);
		fprintf(out, "ivshmem_server_%s{socket=\"%s\"} %" PRIu64 "\n", numbers[i].name,
			socket, numbers[i].value);
	}
}

/* Print the metrics that have more labels than the socket's path, or are not integers. */
static void put_labelled(const struct ivs_server *server, FILE *out)
{
	char socket[LABEL_LEN];
	char region[LABEL_LEN];

	escape_label(server->listener.path, socket);
	put_head(out, "info", "gauge", "Version and region of the server; always 1.");
	fprintf(out, "ivshmem_server_info{socket=\"%s\",version=\"%s\",region=\"%s\"} 1\n", socket,
		IVS_VERSION, escape_label(server->region_address, region));
	put_head(out, "start_time_seconds", "gauge",
		 "When the server started, in seconds since 1970.");
	fprintf(out, "ivshmem_server_start_time_seconds{socket=\"%s\"} %" PRId64 ".%03d\n", socket,
		server->since_ms / 1000, (int)(server->since_ms % 1000));
	put_head(out, "left_total", "counter", "Clients that have left, by reason.");
	for (unsigned int why = 0; why < DROPS_N; why++)
		fprintf(out, "ivshmem_server_left_total{socket=\"%s\",reason=\"%s\"} %" PRIu64 "\n",
			socket, ivs_drop_name(why), server->totals.left[why]);
	put_head(out, "refused_total", "counter", "Connections that have been refused, by reason.");
	for (unsigned int why = 0; why < REFUSALS_N; why++)
		fprintf(out,
			"ivshmem_server_refused_total{socket=\"%s\",reason=\"%s\"} %" PRIu64 "\n",
			socket, ivs_refusal_name(why), server->totals.refused[why]);
}

static DIR *open_fds(const struct ivs_server *server)
{
	int fd = openat(server->proc_self_fd, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);

	if (!dir)
		ivs_fd_close(&fd);
	return dir;
}

/*
 * Since Linux 6.2, the size of the directory is the number of fds. For older kernels the directory
 * is opened at the first call, which is before the filter is loaded, and stays open.
 *
 * Return: the number of open fds; 0 if unknown.
 */
static uint64_t count_fds(const struct ivs_server *server)
{
	struct ivs_metrics *metrics = server->metrics;
	uint64_t n = 0;
	struct stat st;

	if (server->proc_self_fd < 0 || fstatat(server->proc_self_fd, "fd", &st, 0))
		return 0;
	if (st.st_size > 0)
		return (uint64_t)st.st_size;
	if (!metrics->counted)
		metrics->fds = open_fds(server);
	metrics->counted = true;
	if (!metrics->fds)
		return 0;
	rewinddir(metrics->fds);
	for (const struct dirent *entry; (entry = readdir(metrics->fds));)
		n += *entry->d_name != '.';
	return n;
}

/* Return: the text; NULL: out of memory. */
static char *print_metrics(const struct ivs_server *server)
{
	uint64_t open_fds = count_fds(server);
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);
	bool bad;

	if (!out)
		return NULL;
	put_numbers(server, open_fds, out);
	put_labelled(server, out);
	bad = ferror(out);
	if (!fclose(out) && !bad)
		return text;
	free(text);
	return NULL;
}

static int write_all(int fd, const char *text)
{
	size_t left = strlen(text);

	while (left) {
		ssize_t n = write(fd, text, left);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		text += n;
		left -= (size_t)n;
	}
	return 0;
}

/* Return: 0 or -errno. */
static int write_file(struct ivs_metrics *metrics, int fd, const char *text)
{
	int result = fchmod(fd, 0644) ? -errno : 0;

	if (!result)
		result = write_all(fd, text);
	if (!result && fstat(fd, &metrics->ours))
		result = -errno;
	return result;
}

/* Return: 0; -errno: the old file is unchanged. */
static int replace_file(struct ivs_metrics *metrics, const char *text)
{
	const int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
	struct stat before = metrics->ours;
	int result;
	int fd;

	unlinkat(metrics->dir_fd, metrics->tmp, 0); /* a killed server may have left this file */
	fd = openat(metrics->dir_fd, metrics->tmp, flags, 0600);
	if (fd < 0)
		return -errno;
	result = write_file(metrics, fd, text);
	if (close(fd) && !result) /* some file systems report ENOSPC only here */
		result = -errno;
	if (!result && renameat(metrics->dir_fd, metrics->tmp, metrics->dir_fd, metrics->name))
		result = -errno;
	if (!result)
		return 0;
	metrics->ours = before;
	unlinkat(metrics->dir_fd, metrics->tmp, 0);
	return result;
}

/* Log the first failure, and the first success after failures. */
static void log_change(struct ivs_metrics *metrics, int result)
{
	if (result && !metrics->failing)
		ivs_log(IVS_LOG_WARNING,
			"cannot write the metrics file %s: %s; retrying until it succeeds",
			metrics->path, strerrordesc_np(-result));
	else if (!result && metrics->failing)
		ivs_log(IVS_LOG_WARNING, "the metrics file %s can be written again", metrics->path);
	metrics->failing = result;
}

/* Write the file if necessary, and take ownership of @text. */
static void update_file(struct ivs_metrics *metrics, char *text)
{
	int64_t now = ivs_clock_ns();
	bool old = now - metrics->written_ns >= OLD_INTERVALS * metrics->interval_ns;
	int result = -ENOMEM;

	if (text && metrics->text && !old && !metrics->failing && !strcmp(text, metrics->text)) {
		free(text);
		return;
	}
	if (text)
		result = replace_file(metrics, text);
	log_change(metrics, result);
	if (result) {
		free(text);
		return;
	}
	free(metrics->text);
	metrics->text = text;
	metrics->written_ns = now;
}

void ivs_metrics_update(struct ivs_server *server)
{
	struct ivs_metrics *metrics = server->metrics;

	if (!metrics)
		return;
	/* Clients may have taken all other fds, so release the reserved one for opening files. */
	ivs_fd_close(&server->reserve_fd);
	update_file(metrics, print_metrics(server));
	ivs_server_reserve(server);
	ivs_loop_set_timer(&server->loop, &metrics->timer, ivs_clock_ns() + metrics->interval_ns);
}

static void note_due(struct ivs_loop_timer *timer)
{
	IVS_CONTAINER_OF(timer, struct ivs_metrics, timer)->due = true;
}

static void update_due(struct ivs_loop_step *step)
{
	struct ivs_metrics *metrics = IVS_CONTAINER_OF(step, struct ivs_metrics, step);

	if (metrics->due)
		ivs_metrics_update(metrics->server);
	metrics->due = false;
}

/* Open the directory of @path. A @path that is a device or a socket must not be replaced. */
static int open_dir(struct ivs_metrics *metrics, const char *path, struct ivs_error *err)
{
	const char *slash = strrchr(path, '/');
	const char *name = slash ? slash + 1 : path;
	char dir[4096];
	struct stat st;

	if (!*name || strlen(name) >= sizeof(metrics->name) || strlen(path) >= sizeof(dir))
		return ivs_error_set(err, IVS_METRICS_E_PATH,
				     "\"%s\" is not a valid name for the metrics file: use a path "
				     "such as /run/ivshmem.prom",
				     path);
	snprintf(dir, sizeof(dir), "%.*s", slash ? (int)(name - path) : 1, slash ? path : ".");
	snprintf(metrics->name, sizeof(metrics->name), "%s", name);
	snprintf(metrics->tmp, sizeof(metrics->tmp), ".%s.tmp", name);
	metrics->dir_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (metrics->dir_fd < 0 && errno == ENOENT) {
		ivs_error_errno(err, ENOENT, "cannot open %s, the directory of the metrics file",
				dir);
		ivs_shell_add_error(err, ": mkdir -p ", dir, "");
		return -ENOENT;
	}
	if (metrics->dir_fd < 0)
		return ivs_error_errno(err, errno,
				       "cannot open %s, the directory of the metrics file", dir);
	if (!fstatat(metrics->dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) && !S_ISREG(st.st_mode))
		return ivs_error_set(
			err, IVS_METRICS_E_PATH,
			"%s exists and is not a file: use another path for the metrics", path);
	return 0;
}

int ivs_metrics_open(struct ivs_server *server, const char *path, unsigned int interval_ms,
		     struct ivs_error *err)
{
	struct ivs_metrics *metrics = calloc(1, sizeof(*metrics));

	if (!metrics)
		return ivs_error_errno(err, ENOMEM, "cannot provide metrics");
	metrics->dir_fd = -1;
	metrics->path = path;
	metrics->interval_ns = (int64_t)interval_ms * IVS_NS_PER_MS;
	metrics->timer.handle = note_due;
	metrics->step.run = update_due;
	metrics->server = server;
	ivs_loop_add_step(&server->loop, &metrics->step);
	server->metrics = metrics;
	return open_dir(metrics, path, err);
}

void ivs_metrics_close(struct ivs_server *server)
{
	struct ivs_metrics *metrics = server->metrics;
	struct stat there;

	if (!metrics)
		return;
	if (metrics->ours.st_nlink &&
	    !fstatat(metrics->dir_fd, metrics->name, &there, AT_SYMLINK_NOFOLLOW) &&
	    ivs_stat_same(&there, &metrics->ours))
		unlinkat(metrics->dir_fd, metrics->name, 0);
	ivs_loop_cancel_timer(&metrics->timer);
	ivs_loop_remove_step(&server->loop, &metrics->step);
	ivs_fd_close(&metrics->dir_fd);
	if (metrics->fds)
		closedir(metrics->fds);
	free(metrics->text);
	free(metrics);
	server->metrics = NULL;
}
