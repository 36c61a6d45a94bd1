/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/server/confine.h"

#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "daemon/control.h"
#include "daemon/log.h"
#include "daemon/process_syscalls.h"
#include "daemon/sandbox.h"
#include "roster_page/writer.h"
#include "server/observe/metrics.h"
#include "server/observe/status.h"
#include "server/syscalls.h"

/* Return: whether @path is @root or below it; @rest is then the path relative to @root. */
static bool is_below(const char *path, const char *root, const char **rest)
{
	size_t len = strcmp(root, "/") ? strlen(root) : 0;

	if (strncmp(path, root, len) || (path[len] && path[len] != '/'))
		return false;
	*rest = path + len + strspn(path + len, "/");
	return true;
}

/*
 * Write to @out a path of the file that is also valid after chroot(2), if the file is below @root.
 * The directory of the file must exist, but the file itself need not exist.
 */
static int name_file(const char *path, const char *root, char *out, size_t out_len)
{
	char copy[PATH_MAX];
	char dir[PATH_MAX];
	const char *base = strrchr(path, '/');
	const char *rest;
	int len;

	snprintf(copy, sizeof(copy), "%s", path);
	base = base ? base + 1 : path;
	if (!realpath(dirname(copy), dir))
		len = snprintf(out, out_len, "%s", path); /* opening it will report the error */
	else if (is_below(dir, root, &rest))
		len = snprintf(out, out_len, "%s%s%s", rest, *rest ? "/" : "", base);
	else
		len = snprintf(out, out_len, "%s/%s", dir, base);
	return len < (int)out_len ? 0 : -ENAMETOOLONG;
}

/* Replace *@name, unless it is NULL, with the path that name_file() writes to @out. */
static int rename_file(const char **name, const char *root, char *out, size_t out_len)
{
	int result = *name ? name_file(*name, root, out, out_len) : 0;

	if (*name && !result)
		*name = out;
	return result;
}

/*
 * Write to @out an address of the region that is valid when @root is the working directory. A file:
 * address is also valid after chroot(2), so that the file can be removed. A shm: region is then out
 * of reach, and a dir: region has no name to remove.
 */
static int name_region(const char *address, const char *root, char *out, size_t out_len)
{
	char dir[PATH_MAX];

	if (!strncmp(address, "file:", 5) && address[5]) {
		memcpy(out, "file:", 5);
		return name_file(address + 5, root, out + 5, out_len - 5);
	}
	if (!strncmp(address, "dir:", 4) && realpath(address + 4, dir))
		snprintf(out, out_len, "dir:%s", dir);
	else
		snprintf(out, out_len, "%s", address);
	return 0;
}

int enter_root(const struct settings *settings, struct names *names, struct ivs_error *err)
{
	const size_t len = sizeof(names->buffers[0]);
	const char *root = settings->root;

	names->socket = settings->server_opts.socket.path;
	names->pidfile = settings->pidfile;
	names->region = settings->region;
	names->control = settings->server_opts.control.path;
	names->metrics = settings->server_opts.metrics;
	if (!*root)
		return 0;
	if (rename_file(&names->socket, root, names->buffers[0], len) ||
	    rename_file(&names->pidfile, root, names->buffers[1], len) ||
	    rename_file(&names->control, root, names->buffers[2], len) ||
	    rename_file(&names->metrics, root, names->buffers[3], len) ||
	    name_region(names->region, root, names->buffers[4], len))
		return ivs_error_errno(err, ENAMETOOLONG, "cannot name files below %s", root);
	names->region = names->buffers[4];
	if (chdir(root))
		return ivs_error_errno(err, errno, "cannot enter %s", root);
	return 0;
}

bool may_upgrade(const struct settings *settings)
{
	return !*settings->root && settings->sandbox != SANDBOX_STRICT;
}

/* Choose the lists of system calls that depend on options. */
static void choose_lists(const struct settings *settings, const struct ivs_syscall **lists)
{
	unsigned int n = 0;

	if (!settings->foreground)
		lists[n++] = ivs_log_syslog_syscalls;
	if (settings->server_opts.control.path) {
		lists[n++] = ivs_control_syscalls;
		lists[n++] = ivs_status_syscalls;
	}
	if (settings->server_opts.metrics)
		lists[n++] = ivs_metrics_syscalls;
	if (settings->server_opts.roster_peers)
		lists[n++] = ivs_roster_page_writer_syscalls;
	if (may_upgrade(settings))
		lists[n++] = ivs_start_syscalls;
}

static void log_filter(const struct settings *settings, const char *lacks)
{
	if (lacks && settings->sandbox != SANDBOX_OFF)
		ivs_log(IVS_LOG_INFO, "no system call filter: %s", lacks);
	else if (settings->sandbox == SANDBOX_OFF)
		ivs_log(IVS_LOG_INFO, "no system call filter: --sandbox off");
}

/* Record the filter for a program that replaces this one, because the filter stays in force. */
static int note_filter(const struct ivs_sandbox_options *opts, struct ivs_handover_notes *notes,
		       struct ivs_error *err)
{
	char *text = NULL;
	int result = ivs_sandbox_list(opts->always, opts->lists, &text);

	if (!result && strlen(text) >= sizeof(notes->filter))
		result = -E2BIG;
	if (!result)
		strcpy(notes->filter, text);
	free(text);
	return result ? ivs_error_errno(err, -result, "cannot record the system call filter") : 0;
}

int confine(const struct settings *settings, const struct names *names,
	    const struct ivs_region *region, const struct ivs_handover *handover,
	    struct ivs_error *err)
{
	struct ivs_handover_notes *notes = ivs_handover_notes(handover);
	const char *lacks = ivs_sandbox_lacks();
	struct ivs_sandbox_options opts = {
		.root = *settings->root ? settings->root : NULL,
		.user = settings->user,
		.filter = settings->sandbox != SANDBOX_OFF && !lacks,
		.always = ivs_server_syscall_lists,
		.in_force = handover->in_place ? notes->filter : NULL,
	};
	unsigned int names_n = 0;
	int result;

	choose_lists(settings, opts.lists);
	opts.names[names_n++] = names->socket;
	if (names->pidfile)
		opts.names[names_n++] = names->pidfile;
	if (names->control)
		opts.names[names_n++] = names->control;
	if (ivs_region_created(region) && *ivs_region_path(region))
		opts.names[names_n++] = ivs_region_path(region);
	log_filter(settings, lacks);
	result = ivs_sandbox(&opts, err);
	if (!result && opts.filter)
		result = note_filter(&opts, notes, err);
	return result;
}

int confine_suffices(const struct settings *settings, const char *in_force, struct ivs_error *err)
{
	const struct ivs_syscall *lists[IVS_SANDBOX_LISTS_MAX] = {NULL};
	char *needed;
	int result;

	if (!*in_force)
		return 0;
	choose_lists(settings, lists);
	result = ivs_sandbox_list(ivs_server_syscall_lists, lists, &needed);
	if (result)
		return ivs_error_errno(err, -result, "cannot compare system call filters");
	result = ivs_sandbox_suffices(in_force, needed, err);
	free(needed);
	return result;
}
