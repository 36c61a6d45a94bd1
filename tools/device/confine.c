/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/device/confine.h"

#include "daemon/control.h"
#include "daemon/log.h"
#include "daemon/sandbox.h"
#include "device/syscalls.h"
#include "region/watch.h"

/* Add @list, unless it has already been added for another device. */
static void add_list(const struct ivs_syscall **lists, unsigned int *n,
		     const struct ivs_syscall *list)
{
	for (unsigned int i = 0; i < *n; i++) {
		if (lists[i] == list)
			return;
	}
	lists[(*n)++] = list;
}

static void choose_lists(const struct settings *settings, const struct ivs_syscall **lists)
{
	const struct ivs_syscall *device_lists[IVS_DEVICE_SYSCALL_LISTS_MAX];
	unsigned int n = 0;

	if (settings->control.path) {
		lists[n++] = ivs_control_syscalls;
		lists[n++] = ivs_region_watch_syscalls; /* the status shows region changes */
	}
	for (unsigned int i = 0; i < settings->devices_n; i++) {
		unsigned int device_lists_n = ivs_device_syscall_lists_of(
			&settings->devices[i].opts, device_lists, 0);

		for (unsigned int j = 0; j < device_lists_n; j++)
			add_list(lists, &n, device_lists[j]);
	}
}

int confine(const struct settings *settings, struct ivs_error *err)
{
	const char *lacks = ivs_sandbox_lacks();
	struct ivs_sandbox_options opts = {
		.user = settings->user,
		.filter = settings->filter && !lacks,
		.always = ivs_device_syscall_lists,
	};
	unsigned int names_n = 0;

	choose_lists(settings, opts.lists);
	if (settings->control.path)
		opts.names[names_n++] = settings->control.path;
	for (unsigned int i = 0; i < settings->devices_n && names_n < IVS_SANDBOX_NAMES_MAX; i++) {
		if (settings->devices[i].opts.socket.path)
			opts.names[names_n++] = settings->devices[i].opts.socket.path;
	}
	if (!settings->filter)
		ivs_log(IVS_LOG_INFO, "no system call filter: --sandbox off");
	else if (lacks)
		ivs_log(IVS_LOG_INFO, "no system call filter: %s", lacks);
	return ivs_sandbox(&opts, err);
}
