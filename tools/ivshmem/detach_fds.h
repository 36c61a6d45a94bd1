/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Placeholders for file descriptors. Without KVM, QEMU up to 10.0 keeps polling the numbers of an
 * unplugged doorbell device's eventfds: it uses a whole core, and dies when one of these numbers is
 * reused for a file that is readable. So QEMU is given an eventfd that is never readable for each
 * of these numbers.
 */
#ifndef TOOLS_IVSHMEM_DETACH_FDS_H
#define TOOLS_IVSHMEM_DETACH_FDS_H

#include "tools/ivshmem/monitor.h"

#define FDS_FILL_MAX 16384 /* maximum number of placeholders that fds_fill() sends */

/**
 * struct fds - the numbers of a process's open fds
 * @numbers: in ascending order
 */
struct fds {
	int *numbers;
	size_t n;
};

/** fds_read() - read /proc/PID/fd. Return: 0 or -errno. Free @out with fds_deinit(). */
IVS_MUST_USE int fds_read(pid_t pid, struct fds *out);

void fds_deinit(struct fds *fds);

/** fds_highest() - the highest number; -1: there is none */
int fds_highest(const struct fds *fds);

/** fds_highest_gone() - the highest number in @before that is not in @after; -1: there is none */
int fds_highest_gone(const struct fds *before, const struct fds *after);

/** fds_room() - how many more fds a process may open, at most; -1: unknown */
long fds_room(pid_t pid);

/**
 * fds_fill() - have QEMU keep a placeholder for each unused number up to @highest
 * @filled_n: increased by the number of placeholders
 *
 * Return: 0, or an exit status after printing the reason.
 */
int fds_fill(struct monitor *monitor, const char *id, int highest, unsigned int *filled_n);

#endif
