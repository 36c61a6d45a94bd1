/* SPDX-License-Identifier: BSD-3-Clause */
/* Names of processes and users. What /proc does not show stays empty. */
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/text.h"
#include "tools/ivshmem/top_model.h"

#define CMDLINE_MAX (64 * 1024)

/* Read a file of a process, up to @max bytes, and add a NUL. Return: its length; -1: none. */
static ssize_t process_read(pid_t pid, const char *name, char *out, size_t max)
{
	IVS_OWNED_FD fd = -1;
	char path[64];
	ssize_t len;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	len = fd < 0 ? -1 : read(fd, out, max);
	out[len > 0 ? len : 0] = '\0';
	return len;
}

bool top_process_has_ended(pid_t pid)
{
	char text[512];
	const char *end;

	if (pid <= 0)
		return false;
	if (process_read(pid, "stat", text, sizeof(text) - 1) <= 0)
		return true;
	end = strrchr(text, ')');
	return end && end[1] == ' ' && (end[2] == 'Z' || end[2] == 'X');
}

/* Set the name of the VM, if the process is a QEMU and its arguments have a name. */
static void peer_find_vm(struct top_peer *peer)
{
	char *arguments = malloc(CMDLINE_MAX + 1);
	struct ivs_host_vm vm;
	ssize_t len;

	if (!arguments)
		return;
	len = process_read(peer->pid, "cmdline", arguments, CMDLINE_MAX);
	if (len > 0 && !ivs_host_vm_parse(arguments, (size_t)len, &vm)) {
		memcpy(peer->vm, vm.name, sizeof(peer->vm));
		ivs_host_vm_deinit(&vm);
	}
	free(arguments);
}

void top_names_fill(struct top_peer *peer)
{
	char name[TOP_NAME_LEN];
	const struct passwd *user;

	if (*peer->user)
		return;
	user = getpwuid(peer->uid);
	if (user)
		ivs_text_shown(user->pw_name, peer->user, sizeof(peer->user));
	else
		snprintf(peer->user, sizeof(peer->user), "%u", (unsigned int)peer->uid);
	if (peer->pid <= 0 || process_read(peer->pid, "comm", name, sizeof(name) - 1) <= 0)
		return;
	name[strcspn(name, "\n")] = '\0';
	ivs_text_shown(name, peer->program, sizeof(peer->program));
	peer_find_vm(peer);
}
