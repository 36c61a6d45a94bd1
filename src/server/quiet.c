/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/quiet.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

IVS_SYSCALLS(ivs_quiet_syscalls, {"readlink"}, {"readlinkat"});

/* Return: whether the executable of process @pid has the name of QEMU's example client. */
static bool is_example(int self_fd, pid_t pid)
{
	static const char name[] = "ivshmem-client";
	char link[48];
	char path[PATH_MAX];
	const char *slash;
	ssize_t len;

	if (self_fd < 0 || pid <= 0)
		return false;
	/* After chroot(2), /proc is reached through the open /proc/self. */
	snprintf(link, sizeof(link), "../%d/exe", (int)pid);
	len = readlinkat(self_fd, link, path, sizeof(path) - 1);
	if (len <= 0)
		return false;
	path[len] = '\0';
	slash = strrchr(path, '/');
	return slash && !strcmp(slash + 1, name);
}

bool ivs_quiet_is(bool bound, int self_fd, const struct ucred *cred)
{
	return !bound && !is_example(self_fd, cred->pid);
}
